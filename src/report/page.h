#pragma once
// Parts of the HTML page, each valid on its own.

#include <string>
#include <string_view>

#include "report/comparison.h"
#include "report/figures.h"

namespace artel {

/// The page up to the body's contents, and from there to its end. `title` is plain text.
std::string page_start(const std::string& title);
std::string page_end();

/// A figure with its caption and the buttons that save it.
std::string figure_html(const Figure& figure, size_t number);

struct PageColumn {
  std::string title;     ///< markup
  bool is_text = false;  ///< words stand left, numbers right
};
PageColumn text_column(std::string title);
PageColumn number_column(std::string title);
/// Cells hold markup; whoever fills them escapes what users wrote.
std::string table_html(const std::vector<PageColumn>& columns, const std::vector<std::vector<std::string>>& rows);

/// A JSON document, folded away.
std::string json_section(const Json& json);

/// Style of the page, and style of the figures, which goes into a saved figure as well.
std::string_view page_style();
std::string_view figure_style();

/// Adds what needs a script: values under the pointer, saving figures as SVG and their numbers as CSV.
std::string_view page_script();

/// Sentences that say what came out.
std::string verdict_list(const Comparison& comparison);

/// Sizes, compute and final losses, a row per group.
std::string groups_html(const Comparison& comparison);
/// Differences of the final loss with their tests; empty for a single group.
std::string differences_html(const Comparison& comparison);
/// What each group needs to reach another's final loss; empty without losses to compare.
std::string reach_html(const Comparison& comparison);
/// Final losses by validation set, and their differences; empty without sets.
std::string sets_html(const Comparison& comparison);
/// Final scores, bits per byte and accuracies; empty without any.
std::string scores_html(const Comparison& comparison);
/// Validation losses over time, folded away.
std::string validation_html(const Comparison& comparison);
/// Config keys, those that differ first.
std::string config_html(const Comparison& comparison);
/// The runs, one row each.
std::string runs_html(const Comparison& comparison);
/// What limits the comparison; folded away when it is long.
std::string notes_html(const Comparison& comparison);

/// The colour and shape of a group, as in the figures.
std::string group_key(size_t group);

}  // namespace artel

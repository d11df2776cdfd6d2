#include <cmath>

#include "report/comparison.h"
#include "report/figures.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

std::string bold(const std::string& text) {
  return concat("<b>", escape_html(text), "</b>");
}

// A line does not end between a number and its sign, or between p and its value.
std::string unbroken(std::string text) {
  constexpr std::string_view hard_space = "\u00a0";
  for (const std::string_view sign : {" %", " =", "= ", " &lt;", "&lt; "}) {
    for (size_t at = text.find(sign); at != std::string::npos; at = text.find(sign, at + 1)) {
      text.replace(at + sign.find(' '), 1, hard_space);
    }
  }
  return text;
}

std::string reach_sentence(const Comparison& comparison, size_t runner, size_t other, const Reach& reach) {
  if (!reach.tokens) return {};
  const Group& target = comparison.groups[other];
  return concat(" ", escape_html(comparison.groups[runner].name), " reached ", escape_html(target.name),
                "’s final loss with ", format_share(*reach.tokens, target.tokens), " of its tokens and ",
                format_share(*reach.flops, target.flops), " of its FLOPs.");
}

std::string verdict_sentence(const Comparison& comparison, const Difference& difference) {
  const std::string& a = comparison.groups[difference.a].name;
  const std::string& b = comparison.groups[difference.b].name;
  if (!difference.loss.delta) return concat(bold(a), " and ", bold(b), ": ", difference.verdict, '.');
  const bool a_wins = *difference.loss.delta < 0.0;
  std::string out = concat(bold(a), " ends ", format_fixed(std::abs(*difference.loss.delta), 4), " nats ",
                           a_wins ? "below " : "above ", bold(b));
  if (difference.loss.ci95) {
    out +=
        concat(" (95 % CI of the difference ", format_interval(difference.loss.ci95), ", ", difference.method, ", p ",
               *difference.loss.p_value < 0.001 ? "" : "= ", escape_html(format_p(difference.loss.p_value)), ")");
  }
  out += concat(difference.loss.ci95 ? ": " : "; ", difference.verdict, '.');
  return out + (a_wins ? reach_sentence(comparison, difference.a, difference.b, difference.a_reaches_b)
                       : reach_sentence(comparison, difference.b, difference.a, difference.b_reaches_a));
}

std::string section_tables(const Comparison& comparison, const std::string& id) {
  if (id == "loss") return validation_html(comparison);
  if (id == "differences") return differences_html(comparison);
  if (id == "sets") return sets_html(comparison);
  return {};
}

std::string figure_sections(const Comparison& comparison) {
  std::string out;
  size_t number = 0;
  for (const FigureSection& section : make_figures(comparison)) {
    out += concat("<section id=\"", section.id, "\"><h2>", section.heading, "</h2>\n<div class=\"figures\">\n");
    for (const Figure& figure : section.figures) out += figure_html(figure, ++number);
    if (section.id == "differences") out += concat("<div>", reach_html(comparison), "</div>\n");
    out += concat("</div>\n", section_tables(comparison, section.id), "</section>\n");
  }
  return out;
}

std::string title_of(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const Group& group : comparison.groups) names.push_back(group.name);
  return join(names, " · ");
}

constexpr std::string_view kSwitch = R"html(
<input class="choice" type="radio" name="axis" id="axis-tokens" value="tokens" checked>
<input class="choice" type="radio" name="axis" id="axis-flops" value="flops">
<input class="choice" type="radio" name="axis" id="axis-seconds" value="seconds">
)html";

constexpr std::string_view kSwitchLabels = R"html(
<div class="switch"><div><span>Curves against</span><label for="axis-tokens">Tokens</label>
<label for="axis-flops">FLOPs</label><label for="axis-seconds">Time</label></div></div>
)html";

constexpr std::string_view kFooter = R"html(
<footer><p>Losses are cross-entropies in nats per token. FLOPs are those of training, forward and backward, of the
matrix products: tokens × FLOPs per token. Runs that differ only in seed are one group. Groups are compared at the last
number of tokens that all their runs validated at; where that is more than 2 % before the end of either there is no
verdict. Differences of groups that share two or more seeds are tested by a paired t test over these seeds, others with two or more seeds each by Welch’s t test;
with one seed there is an observed difference and no verdict. p (Holm) allows for looking at all pairs at once.
Equivalence is shown by two one-sided tests at 5 %. Loss reached: first crossing of the mean validation curve,
interpolated linearly.</p>
)html";

}  // namespace

std::string verdict_list(const Comparison& comparison) {
  if (comparison.differences.empty()) return {};
  std::string out = "<ul class=\"verdicts\">\n";
  for (const Difference& difference : comparison.differences) {
    const bool found = difference.loss.significant.value_or(false);
    out +=
        concat(found ? "<li class=\"found\">" : "<li>", unbroken(verdict_sentence(comparison, difference)), "</li>\n");
  }
  return out + "</ul>\n";
}

std::string comparison_html(const Comparison& comparison) {
  const std::string title = title_of(comparison);
  std::string out = concat(page_start(title + " · Artel comparison"), kSwitch, "<header><h1>", escape_html(title),
                           "</h1>\n", verdict_list(comparison), groups_html(comparison), notes_html(comparison));
  out += concat("</header>\n", kSwitchLabels, "<main>\n", figure_sections(comparison));
  out += scores_html(comparison);
  out += concat("<section id=\"config\"><h2>Configuration</h2>\n", config_html(comparison), "</section>\n",
                "<section id=\"runs\"><h2>Runs</h2>\n", runs_html(comparison), "</section>\n");
  return concat(out, json_section(comparison_json(comparison)), "</main>\n", kFooter, "<p>Artel ", ARTEL_VERSION,
                "</p></footer>\n", page_end());
}

}  // namespace artel

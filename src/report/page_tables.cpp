#include <algorithm>
#include <cmath>
#include <map>

#include "report/differences.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

std::string named_group(const Comparison& comparison, size_t group) {
  return group_key(group) + escape_html(comparison.groups[group].name);
}

std::string pair_name(const Comparison& comparison, const Difference& difference) {
  return concat(named_group(comparison, difference.a), " − ", named_group(comparison, difference.b));
}

std::string duration(double seconds) {
  return std::isfinite(seconds) ? format_duration(seconds) : "-";
}

std::string seeds_of(const Group& group, const std::vector<Run>& runs) {
  std::vector<std::string> seeds;
  for (const size_t run : group.runs) seeds.push_back(concat(runs[run].seed));
  return shortened(join(seeds, ", "), 40);
}

std::string amount_and_share(const std::string& amount, double part, double whole) {
  return concat(amount, " (", format_share(part, whole), ")");
}

std::vector<std::string> reach_row(const Comparison& comparison, size_t runner, size_t other, const Reach& reach) {
  const Group& target = comparison.groups[other];
  std::vector<std::string> row = {named_group(comparison, runner),
                                  concat(named_group(comparison, other), " ", format_loss(reach.target))};
  if (!reach.tokens) {
    row.insert(row.end(), {"not reached", "not reached", "-"});
    return row;
  }
  row.push_back(amount_and_share(format_count(*reach.tokens), *reach.tokens, target.tokens));
  row.push_back(amount_and_share(format_flops(*reach.flops), *reach.flops, target.flops));
  row.push_back(reach.seconds ? duration(*reach.seconds) : "-");
  return row;
}

// Which test each difference comes from; one line when it is the same for all.
std::string methods_html(const Comparison& comparison) {
  std::map<std::string, std::vector<std::string>> pairs;
  for (const Difference& difference : comparison.differences) {
    if (!difference.method.empty()) pairs[difference.method].push_back(pair_name(comparison, difference));
  }
  std::vector<std::string> parts;
  for (const auto& item : pairs) {
    parts.push_back(pairs.size() == 1 ? item.first : concat(item.first, ": ", join(item.second, ", ")));
  }
  return parts.empty() ? std::string() : concat("<p class=\"muted\">Test: ", join(parts, "; "), ".</p>\n");
}

std::vector<std::string> names_in(const Comparison& comparison, std::vector<SetLosses> Group::*member) {
  std::vector<std::string> names;
  for (const Group& group : comparison.groups) {
    for (const SetLosses& set : group.*member) {
      if (std::find(names.begin(), names.end(), set.name) == names.end()) names.push_back(set.name);
    }
  }
  return names;
}

std::string set_differences(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows;
  for (const Difference& difference : comparison.differences) {
    for (const auto& set : difference.sets) {
      const LossDifference& loss = set.second;
      const std::string verdict = !loss.significant   ? why_no_verdict(difference)
                                  : *loss.significant ? "significant"
                                                      : "not significant";
      rows.push_back({escape_html(set.first), pair_name(comparison, difference), format_delta(loss.delta),
                      format_interval(loss.ci95), escape_html(format_p(loss.p_value)), verdict});
    }
  }
  if (rows.empty()) return {};
  return concat("<details><summary>Differences by set</summary>",
                table_html({text_column("Set"), text_column("First − second"), number_column("Nats"),
                            number_column("95 % CI"), number_column("p"), text_column("Verdict")},
                           rows),
                "</details>\n");
}

std::string event_counts(const Run& run) {
  std::map<std::string, size_t> counts;
  for (const Json& event : run.events) {
    const Json& kind = event["event"];
    ++counts[kind.is_string() ? kind.get<std::string>() : "event"];
  }
  std::vector<std::string> parts;
  for (const auto& item : counts) {
    parts.push_back(item.second == 1 ? item.first : concat(item.first, " × ", item.second));
  }
  return join(parts, ", ");
}

std::string config_table(const Comparison& comparison, bool differing) {
  std::vector<PageColumn> columns = {text_column("Key")};
  for (size_t g = 0; g < (differing ? comparison.groups.size() : 1); ++g) {
    columns.push_back(text_column(differing ? named_group(comparison, g) : "Value"));
  }
  std::vector<std::vector<std::string>> rows;
  for (const ConfigRow& row : comparison.config) {
    if (row.differs != differing) continue;
    std::vector<std::string> cells = {concat("<code>", escape_html(row.key), "</code>")};
    for (size_t g = 0; g < (differing ? row.values.size() : 1); ++g) cells.push_back(escape_html(row.values[g]));
    rows.push_back(cells);
  }
  return rows.empty() ? std::string() : table_html(columns, rows);
}

}  // namespace

std::string group_key(size_t group) {
  SvgWriter svg(14.0, 14.0, "key", "");
  svg.marker(group, 7.0, 7.0, 4.8, series_class(group) + " fill");
  return svg.finish();
}

std::string groups_html(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows;
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    const Group& group = comparison.groups[g];
    rows.push_back({named_group(comparison, g),
                    format_mean(group.final_losses.mean(), group.final_losses.standard_deviation()),
                    format_count(static_cast<double>(group.total_parameters)),
                    format_count(static_cast<double>(group.active_parameters)), format_flops(group.flops_per_token),
                    format_count(group.tokens), format_flops(group.flops), duration(group.seconds),
                    std::isfinite(group.tokens_per_second) ? format_count(group.tokens_per_second) : "-",
                    escape_html(group.routing), seeds_of(group, comparison.runs)});
  }
  return table_html(
      {text_column("Run"), number_column("Final validation<br>loss (nats)"), number_column("Parameters"),
       number_column("Active"), number_column("FLOPs<br>per token"), number_column("Tokens"), number_column("FLOPs"),
       number_column("Time"), number_column("Tokens/s"), text_column("Routing"), text_column("Seeds")},
      rows);
}

std::string differences_html(const Comparison& comparison) {
  if (comparison.differences.empty()) return {};
  const auto& margin = comparison.options.equivalence_margin;
  std::vector<PageColumn> columns = {text_column("First − second"), number_column("Nats"), number_column("95 % CI"),
                                     number_column("p"), number_column("p (Holm)")};
  if (margin) {
    columns.push_back(number_column("90 % CI"));
    columns.push_back(number_column(concat("p of ±", *margin, "<br>or more")));
  }
  columns.push_back(text_column("Verdict on the first"));
  std::vector<std::vector<std::string>> rows;
  for (const Difference& difference : comparison.differences) {
    std::vector<std::string> row = {
        pair_name(comparison, difference), format_delta(difference.loss.delta), format_interval(difference.loss.ci95),
        escape_html(format_p(difference.loss.p_value)), escape_html(format_p(difference.p_holm))};
    if (margin) {
      const auto& test = difference.equivalence;
      row.push_back(test ? format_interval(test->ci90) : "-");
      row.push_back(test ? escape_html(format_p(test->p_value)) : "-");
    }
    row.push_back(difference.verdict);
    rows.push_back(row);
  }
  return table_html(columns, rows) + methods_html(comparison);
}

std::string reach_html(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows;
  for (const Difference& difference : comparison.differences) {
    if (!difference.loss.delta) continue;
    rows.push_back(reach_row(comparison, difference.a, difference.b, difference.a_reaches_b));
    rows.push_back(reach_row(comparison, difference.b, difference.a, difference.b_reaches_a));
  }
  if (rows.empty()) return {};
  return "<h3>Reaching another’s final loss</h3>\n" +
         table_html({text_column("Run"), text_column("reaches the loss of"), number_column("at tokens"),
                     number_column("at FLOPs"), number_column("after")},
                    rows) +
         "<p class=\"muted\">In brackets: share of what the other was given.</p>\n";
}

namespace {

// A row for each name, a column for each group.
std::string means_html(const Comparison& comparison, const std::string& what, const std::vector<std::string>& names,
                       std::vector<SetLosses> Group::*member) {
  std::vector<PageColumn> columns = {text_column(what)};
  for (size_t g = 0; g < comparison.groups.size(); ++g) columns.push_back(number_column(named_group(comparison, g)));
  std::vector<std::vector<std::string>> rows;
  for (const std::string& name : names) {
    std::vector<std::string> row = {escape_html(name)};
    for (const Group& group : comparison.groups) {
      const auto same = [&](const SetLosses& set) { return set.name == name; };
      const std::vector<SetLosses>& sets = group.*member;
      const auto found = std::find_if(sets.begin(), sets.end(), same);
      row.push_back(found == sets.end() ? "-" : format_mean(found->losses.mean(), found->losses.standard_deviation()));
    }
    rows.push_back(row);
  }
  return table_html(columns, rows);
}

}  // namespace

std::string sets_html(const Comparison& comparison) {
  const std::vector<std::string> names = names_in(comparison, &Group::sets);
  if (names.empty()) return {};
  return means_html(comparison, "Set", names, &Group::sets) + set_differences(comparison);
}

std::string scores_html(const Comparison& comparison) {
  const std::vector<std::string> names = names_in(comparison, &Group::scores);
  if (names.empty()) return {};
  return concat(
      "<section id=\"scores\"><h2>Scores</h2>\n", means_html(comparison, "Score", names, &Group::scores),
      "<p class=\"muted\">At the end of the runs. Accuracies are shares of the examples; per token and per byte: "
      "log-probabilities of completions divided by their length.</p></section>\n");
}

std::string validation_html(const Comparison& comparison) {
  std::map<double, std::vector<std::string>> rows;
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    const AlignedTracks& curve = comparison.groups[g].validation;
    for (size_t i = 0; i < curve.num_points(); ++i) {
      auto& cells = rows.try_emplace(curve.x[i], comparison.groups.size(), "-").first->second;
      cells[g] = format_loss(curve.mean(i));
      if (curve.values.size() > 1) {
        cells[g] += concat(" [", format_loss(curve.lowest(i)), ", ", format_loss(curve.highest(i)), ']');
      }
    }
  }
  if (rows.empty()) return {};
  std::vector<PageColumn> columns = {number_column("Tokens")};
  for (size_t g = 0; g < comparison.groups.size(); ++g) columns.push_back(number_column(named_group(comparison, g)));
  std::vector<std::vector<std::string>> cells;
  for (const auto& item : rows) {
    cells.push_back({format_fixed(item.first, 0)});
    cells.back().insert(cells.back().end(), item.second.begin(), item.second.end());
  }
  return concat("<details><summary>Validation loss in numbers: mean over seeds [lowest, highest]</summary>",
                table_html(columns, cells), "</details>\n");
}

std::string config_html(const Comparison& comparison) {
  const std::string differing = config_table(comparison, true);
  const std::string same = config_table(comparison, false);
  std::string out = differing;
  if (differing.empty() && comparison.groups.size() > 1) out = "<p>No key differs.</p>\n";
  if (same.empty()) return out;
  return concat(out, "<details><summary>Keys with one value for all</summary>", same, "</details>\n");
}

std::string runs_html(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows;
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    for (const size_t index : comparison.groups[g].runs) {
      const Run& run = comparison.runs[index];
      rows.push_back({concat(group_key(g), "<code>", escape_html(run.directory), "</code>"), concat(run.seed),
                      concat(run.last_step()), concat(run.last_tokens()), duration(run.last_seconds()),
                      run.validation.empty() ? "-" : format_loss(run.validation.back().val_loss),
                      escape_html(concat(run.device, ' ', run.precision)), concat(run.threads),
                      concat(run.num_attempts), escape_html(event_counts(run))});
    }
  }
  return table_html({text_column("Directory"), number_column("Seed"), number_column("Steps"), number_column("Tokens"),
                     number_column("Time"), number_column("Last validation<br>loss"), text_column("Device"),
                     number_column("Threads"), number_column("Attempts"), text_column("Events")},
                    rows);
}

std::string notes_html(const Comparison& comparison) {
  constexpr size_t most_unfolded = 6;
  if (comparison.notes.empty()) return {};
  std::string list = "<ul class=\"notes\">";
  for (const std::string& note : comparison.notes) list += concat("<li>", escape_html(note), "</li>");
  list += "</ul>\n";
  if (comparison.notes.size() <= most_unfolded) return list;
  return concat("<details><summary>", comparison.notes.size(), " notes on these runs</summary>", list, "</details>\n");
}

}  // namespace artel

#include <algorithm>
#include <cmath>

#include "report/comparison.h"
#include "report/format.h"
#include "report/text_table.h"
#include "util/text.h"

namespace artel {
namespace {

std::string groups_table(const Comparison& comparison) {
  TextTable table;
  table.add_column("run", Align::left, true);
  for (const char* title :
       {"seeds", "params", "active", "FLOPs/token", "tokens", "FLOPs", "tokens/s", "val loss (nats)"}) {
    table.add_column(title, Align::right);
  }
  for (const Group& group : comparison.groups) {
    table.add_row({group.name, concat(group.runs.size()), format_count(static_cast<double>(group.total_parameters)),
                   format_count(static_cast<double>(group.active_parameters)), format_flops(group.flops_per_token),
                   format_count(group.tokens), format_flops(group.flops), format_flops(group.tokens_per_second),
                   format_mean(group.final_losses.mean(), group.final_losses.standard_deviation())});
  }
  return table.render();
}

std::string differences_table(const Comparison& comparison) {
  TextTable table;
  table.add_column("a", Align::left, true);
  table.add_column("b", Align::left, true);
  table.add_column("delta", Align::right);
  table.add_column("95 % CI", Align::left);
  table.add_column("p", Align::right);
  const bool several = comparison.differences.size() > 1;
  if (several) table.add_column("p Holm", Align::right);
  table.add_column("verdict on a", Align::left);
  for (const Difference& difference : comparison.differences) {
    std::vector<std::string> row = {comparison.groups[difference.a].name, comparison.groups[difference.b].name,
                                    format_delta(difference.loss.delta), format_interval(difference.loss.ci95),
                                    format_p(difference.loss.p_value)};
    if (several) row.push_back(format_p(difference.p_holm));
    row.push_back(difference.verdict);
    table.add_row(row);
  }
  return table.render();
}

// Two one-sided tests against the margin; empty without a margin or without intervals.
std::string equivalence_table(const Comparison& comparison) {
  TextTable table;
  table.add_column("a", Align::left, true);
  table.add_column("b", Align::left, true);
  table.add_column("90 % CI", Align::left);
  table.add_column("p", Align::right);
  table.add_column("within the margin", Align::left);
  bool any = false;
  for (const Difference& difference : comparison.differences) {
    if (!difference.equivalence) continue;
    any = true;
    table.add_row({comparison.groups[difference.a].name, comparison.groups[difference.b].name,
                   format_interval(difference.equivalence->ci90), format_p(difference.equivalence->p_value),
                   difference.equivalence->equivalent ? "shown" : "not shown"});
  }
  if (!any) return {};
  return concat("\nEquivalence: difference smaller than ", *comparison.options.equivalence_margin, " nats\n",
                table.render());
}

std::string methods_line(const Comparison& comparison) {
  std::vector<std::string> methods;
  for (const Difference& difference : comparison.differences) {
    const bool known = std::find(methods.begin(), methods.end(), difference.method) != methods.end();
    if (!difference.method.empty() && !known) methods.push_back(difference.method);
  }
  return methods.empty() ? std::string() : concat("  (", join(methods, "; "), ")\n");
}

void add_reach(TextTable& table, const Comparison& comparison, size_t runner, size_t other, const Reach& reach) {
  const Group& target = comparison.groups[other];
  std::vector<std::string> row = {comparison.groups[runner].name, target.name, format_loss(reach.target)};
  if (reach.tokens) {
    row.push_back(concat(format_count(*reach.tokens), " (", format_share(*reach.tokens, target.tokens), ")"));
    row.push_back(concat(format_flops(*reach.flops), " (", format_share(*reach.flops, target.flops), ")"));
    row.push_back(reach.seconds ? format_duration(*reach.seconds) : "?");
  } else {
    row.insert(row.end(), {"not reached", "not reached", "-"});
  }
  table.add_row(row);
}

std::string reach_table(const Comparison& comparison) {
  TextTable table;
  table.add_column("run", Align::left, true);
  table.add_column("reaches the loss of", Align::left, true);
  table.add_column("loss", Align::right);
  for (const char* title : {"at tokens", "at FLOPs", "after"}) table.add_column(title, Align::right);
  for (const Difference& difference : comparison.differences) {
    if (!difference.loss.delta) continue;
    add_reach(table, comparison, difference.a, difference.b, difference.a_reaches_b);
    add_reach(table, comparison, difference.b, difference.a, difference.b_reaches_a);
  }
  return table.render();
}

// Validation sets or other scores in rows, groups in columns by number, as many side by side as fit.
std::string sets_table(const Comparison& comparison, const char* title, const char* what,
                       std::vector<SetLosses> Group::*member) {
  constexpr size_t groups_per_block = 6;
  std::vector<std::string> names;
  for (const Group& group : comparison.groups) {
    for (const SetLosses& set : group.*member) {
      if (std::find(names.begin(), names.end(), set.name) == names.end()) names.push_back(set.name);
    }
  }
  if (names.empty()) return {};
  std::string out = concat("\n", title, "\n");
  for (size_t begin = 0; begin < comparison.groups.size(); begin += groups_per_block) {
    const size_t end = std::min(begin + groups_per_block, comparison.groups.size());
    TextTable table;
    table.add_column(what, Align::left, true);
    for (size_t g = begin; g < end; ++g) table.add_column(shortened(comparison.groups[g].name, 14), Align::right);
    for (const std::string& name : names) {
      std::vector<std::string> row = {name};
      for (size_t g = begin; g < end; ++g) {
        const auto& sets = comparison.groups[g].*member;
        const auto found =
            std::find_if(sets.begin(), sets.end(), [&](const SetLosses& set) { return set.name == name; });
        row.push_back(found == sets.end() ? "-" : format_loss(found->losses.mean()));
      }
      table.add_row(row);
    }
    out += table.render();
  }
  return out;
}

std::string config_lines(const Comparison& comparison) {
  std::string out;
  for (const ConfigRow& row : comparison.config) {
    if (row.differs) out += shortened(concat("  ", row.key, ": ", join(row.values, " | ")), kMaxColumns) + "\n";
  }
  return out.empty() ? out : "\nConfig keys that differ\n" + out;
}

std::string note_lines(const std::vector<std::string>& notes) {
  std::string out = notes.empty() ? "" : "\nNotes\n";
  for (const std::string& note : notes) {
    std::string rest = note;
    std::string indent = "  - ";
    while (display_width(rest) > kMaxColumns - indent.size()) {
      size_t cut = rest.rfind(' ', kMaxColumns - indent.size());
      if (cut == std::string::npos || cut == 0) break;  // a word longer than a line stays whole, as a path must
      out += indent + rest.substr(0, cut) + "\n";
      rest.erase(0, cut + 1);
      indent = "    ";
    }
    out += indent + rest + "\n";
  }
  return out;
}

}  // namespace

std::string comparison_table(const Comparison& comparison) {
  std::string out = groups_table(comparison);
  if (!comparison.differences.empty()) {
    out += concat("\nDifference of final validation loss, a - b: below zero, a is better\n",
                  differences_table(comparison), methods_line(comparison));
    out += equivalence_table(comparison);
    out += concat("\nReaching the other's final loss (share of what the other was given)\n", reach_table(comparison));
  }
  out += sets_table(comparison, "Final validation loss by set", "set", &Group::sets);
  out += sets_table(comparison, "Final scores", "score", &Group::scores);
  return out + config_lines(comparison) + note_lines(comparison.notes);
}

}  // namespace artel

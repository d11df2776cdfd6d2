#include "cli/usage_error.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "util/nearest_name.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* inner : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(inner->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// `word` was left over in `command`, called `name`; empty: nothing was.
std::string explain(const CLI::App& command, const std::string& name, const std::string& word) {
  const std::vector<std::string> commands = command_names(command);
  const bool is_option = word.size() > 1 && word[0] == '-';
  if (word.empty() && commands.empty()) return {};
  const std::string nearest =
      is_option ? nearest_name(word.substr(0, word.find('=')), option_names(command)) : nearest_name(word, commands);
  const std::string found = word.empty() ? "none" : one_line(word, 60);
  const std::string proposal = nearest.empty() ? "" : concat("; did you mean ", nearest, "?");
  if (is_option) return concat("required an option of ", name, ", found ", found, proposal);
  if (commands.empty()) return concat("required no further argument of ", name, ", found ", found);
  return concat("required a command of ", name, " (", join(commands, ", "), "), found ", found, proposal);
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  // An unknown word is also the reason for what is missing: "train --confg x" has no --config.
  const bool leaves_words =
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr || dynamic_cast<const CLI::ExtrasError*>(&error);
  const CLI::App* command = &app;
  std::string name = app.get_name(), text;
  while (true) {
    const std::vector<std::string> words = command->remaining();
    const std::vector<CLI::App*> inner = command->get_subcommands();
    const bool misses_command = inner.empty() && !command_names(*command).empty();
    if (leaves_words && (!words.empty() || misses_command)) {
      text = explain(*command, name, words.empty() ? std::string() : words.front());
      break;
    }
    if (inner.empty()) break;
    command = inner.front();
    name += " " + command->get_name();
  }
  return concat(text.empty() ? error.what() : text, "; see ", name, " --help");
}

}  // namespace artel

#include "support/emulator_options.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "emulator/emulator.h"

namespace artel {
namespace {

using emulator::Order;
using emulator::Streams;

template <class E, std::size_t num_choices>
bool choose(std::string_view text, const std::pair<const char*, E> (&choices)[num_choices], E& chosen) {
  for (const auto& [name, value] : choices) {
    if (text != name) continue;
    chosen = value;
    return true;
  }
  return false;
}

template <class T>
bool read(const std::string& text, T (*parse)(const char*, char**), T& value) {
  char* end = nullptr;
  value = parse(text.c_str(), &end);
  return !text.empty() && *end == 0;
}

std::uint64_t parse_integer(const char* text, char** end) {
  return std::strtoull(text, end, 10);
}

int parse_number(const char* text, char** end) {
  return static_cast<int>(std::strtol(text, end, 10));
}

bool set_option(std::string_view option, const std::string& value) {
  emulator::Config& config = emulator::config();
  if (option == "--emulator-seed") return read(value, parse_integer, config.seed);
  if (option == "--emulator-preempt") return read(value, std::strtod, config.preempt);
  if (option == "--emulator-devices") return read(value, parse_number, config.num_devices);
  if (option == "--emulator-order") {
    return choose<Order>(
        value, {{"ascending", Order::ascending}, {"random", Order::random}, {"descending", Order::descending}},
        config.order);
  }
  if (option == "--emulator-streams") {
    return choose<Streams>(value, {{"eager", Streams::eager}, {"lazy", Streams::lazy}, {"random", Streams::random}},
                           config.streams);
  }
  return false;
}

}  // namespace

std::vector<char*> take_emulator_options(int argc, char** argv) {
  std::vector<char*> others;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.rfind("--emulator-", 0) != 0) {
      others.push_back(argv[i]);
      continue;
    }
    const std::string value = ++i < argc ? argv[i] : "";
    if (set_option(argument, value)) continue;
    std::fprintf(stderr, "%s %s: required an option of tests/support/emulator_options.h\n",
                 std::string(argument).c_str(), value.c_str());
    std::exit(1);
  }
  return others;
}

}  // namespace artel

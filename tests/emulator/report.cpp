#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <utility>

#include "emulator/execution.h"

namespace emulator {

namespace {

struct Reports {
  std::mutex mutex;
  std::vector<Error> errors;
  std::set<std::pair<const void*, int>> sites;
};

Reports& reports() {
  static Reports instance;
  return instance;
}

struct Chance {
  std::uint64_t seed = 0;
  std::uint64_t state = 0;
};

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

// Constants at first, so that they are there before anything is constructed.
Config& config() {
  static constinit Config instance;
  return instance;
}

Stats& stats() {
  static constinit Stats instance;
  return instance;
}

std::string to_string(const Place& place) {
  return place.file.empty() ? "unknown line" : base_name(place.file) + ":" + std::to_string(place.line);
}

std::string to_string(const Error& error) {
  const std::string place = error.file.empty() ? "" : " at " + error.file + ":" + std::to_string(error.line);
  return error.kind + ": " + error.text + place;
}

const std::vector<Error>& errors() {
  return reports().errors;
}

void clear_errors() {
  const std::lock_guard lock(reports().mutex);
  reports().errors.clear();
  reports().sites.clear();
}

void report(const char* kind, const Place& place, const std::string& text) {
  constexpr std::size_t max_errors = 1000;
  Error error{kind, text, place.file, place.line};
  if (in_kernel) error.text += ", in " + kernel_context();
  if (!config().collect) {
    std::fprintf(stderr, "emulator: %s\n", to_string(error).c_str());
    std::abort();
  }
  const std::lock_guard lock(reports().mutex);
  if (reports().errors.size() < max_errors) reports().errors.push_back(std::move(error));
}

void error(const char* kind, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  report(kind, {}, text);
}

bool first_report(const void* pc, int rule) {
  const std::lock_guard lock(reports().mutex);
  return reports().sites.insert({pc, rule}).second;
}

void report_at(const void* pc, int rule, const char* kind, const std::string& text) {
  if (first_report(pc, rule)) report(kind, place_of(pc), text);
}

Place place_of(const Waiting& collective) {
  Place place = place_of(collective.pc);
  if (place.line == 0 && collective.at.file != nullptr) place = {collective.at.file, collective.at.number};
  return place;
}

void report_at(const Waiting& collective, int rule, const char* kind, const std::string& text) {
  if (first_report(collective.pc, rule)) report(kind, place_of(collective), text);
}

void check_alignment(const void* p, std::size_t alignment, const void* pc) {
  if (!in_kernel || reinterpret_cast<std::uintptr_t>(p) % alignment == 0) return;
  constexpr int rule = 13;
  report_at(pc, rule, "memcheck",
            "misaligned access, the address is no multiple of " + std::to_string(alignment) + " bytes");
}

std::uint64_t random_bits() {
  static Chance sequence;
  const std::uint64_t seed = config().seed;
  if (sequence.state == 0 || sequence.seed != seed) {
    // Also for seed 0 the state is not 0, which would stay.
    sequence = {seed, (seed + 1) * 0x9e3779b97f4a7c15U | 1U};
  }
  std::uint64_t& x = sequence.state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x * 0x2545f4914f6cdd1dU >> 11;
}

bool chance(double p) {
  return static_cast<double>(random_bits()) * 0x1p-53 < p;
}

}  // namespace emulator

#include "cli/text_options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "cli/option_checks.h"
#include "util/error.h"
#include "util/host.h"
#include "util/text.h"

namespace artel {
namespace {

int hex_value(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char small = static_cast<char>(letter | 0x20);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

// \n, \r, \t, \0, \\ and \xNN, as util's escape_text writes them.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char kind = i + 1 < text.size() ? text[++i] : '\0';
    constexpr std::string_view letters = "nrt0\\", bytes("\n\r\t\0\\", 5);
    if (const size_t at = letters.find(kind); at != std::string_view::npos) {
      out += bytes[at];
      continue;
    }
    const int high = kind == 'x' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) fail("data", concat("--separator required \\n, \\r, \\t, \\0, \\\\ or \\xNN, found ", text));
    out += static_cast<char>(16 * high + low);
    i += 2;
  }
  return out;
}

}  // namespace

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void add_text_options(CLI::App& command, TextArguments& arguments) {
  command.add_option("files", arguments.inputs, "Files of text or JSONL, plain or packed by gzip or zstd, in order")
      ->required()
      ->check(not_empty());
  command.add_flag("--jsonl", arguments.jsonl, "Each line is a JSON object, a field of which is a document");
  command.add_option("--field", arguments.field, "The field of --jsonl")->capture_default_str();
  command.add_option("--separator", arguments.separator,
                     "What stands between the documents of a text file (\\n, \\0, \\xNN …); default: a file is one");
  command.add_option("--invalid", arguments.invalid, "Bytes that are no UTF-8: keep, or replace by U+FFFD")
      ->capture_default_str()
      ->check(CLI::IsMember({"keep", "replace"}));
  command.add_option("--threads", arguments.threads, "Threads; 0: the cores that the process may run on")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
}

TextFormat text_format(const TextArguments& arguments) {
  if (arguments.jsonl && !arguments.separator.empty()) {
    fail("data", "required --jsonl or --separator, found both: the documents of JSONL are its lines");
  }
  return {arguments.jsonl, arguments.field, unescape(arguments.separator), arguments.invalid == "replace"};
}

int num_threads(const TextArguments& arguments) {
  if (arguments.threads > 0) return static_cast<int>(arguments.threads);
  return available_cores();
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& name, Log& log) {
  std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(name);
  if (const size_t missing = tokenizer->missing_bytes().size(); missing > 0) {
    log.warn(concat(name, " has no token for ", missing,
                    " of the 256 bytes: they become its unknown token or are left out, as by the reference library"));
  }
  return tokenizer;
}

TextProgress::TextProgress()
    : start_(monotonic_seconds()), last_shown_(start_), terminal_(isatty(STDERR_FILENO) == 1) {}

void TextProgress::update(std::int64_t stored_bytes_read, std::int64_t stored_bytes, std::int64_t text_bytes,
                          const std::string& rest) {
  const double now = monotonic_seconds();
  if (now - last_shown_ < (terminal_ ? 0.2 : 10.0)) return;
  last_shown_ = now;
  const double seconds = now - start_;
  const double done = static_cast<double>(stored_bytes_read) / static_cast<double>(std::max<int64_t>(1, stored_bytes));
  const double left = done > 0 ? seconds * (1 - done) / done : 0;
  const std::string text =
      concat(format_fixed(100 * done, 1), "%  ", format_bytes(static_cast<double>(text_bytes)), " of text  ",
             format_bytes(static_cast<double>(text_bytes) / seconds), "/s", rest, "  ", format_duration(left), " left");
  std::fputs(concat(terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n").c_str(), stderr);
  line_open_ = terminal_;
}

void TextProgress::finish_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

}  // namespace artel

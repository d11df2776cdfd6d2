#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace artel {

/// What of a log is shown on standard error.
enum class Screen { all, warnings, none };

/// Messages for people: to standard error (never to standard output, which belongs to results) and, with a time stamp,
/// to a file that is appended to. Owned by the runtime and passed down; there is no global logger. Safe from any
/// thread.
class Log {
 public:
  /// `path`: the log file, created if absent, which receives everything; empty: standard error only. Throws Error when
  /// the file cannot be opened.
  explicit Log(const std::string& path = "", Screen screen = Screen::all);
  ~Log();
  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;

  void info(std::string_view text);
  void warn(std::string_view text);   ///< shown as `warning: text`
  void error(std::string_view text);  ///< shown as `error: text`

 private:
  struct Sinks;
  std::unique_ptr<Sinks> sinks_;
};

}  // namespace artel

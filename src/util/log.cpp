#include "util/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>

#include "util/error.h"
#include "util/text.h"

namespace artel {

struct Log::Sinks {
  spdlog::logger screen{"screen"};
  std::unique_ptr<spdlog::logger> file;

  void write(spdlog::level::level_enum level, std::string_view prefix, std::string_view text) {
    screen.log(level, spdlog::string_view_t(concat(prefix, text)));
    if (file != nullptr) file->log(level, spdlog::string_view_t(text.data(), text.size()));
  }
};

Log::Log(const std::string& path, Screen screen) : sinks_(std::make_unique<Sinks>()) {
  const auto screen_sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  screen_sink->set_pattern("%v");
  sinks_->screen.sinks().push_back(screen_sink);
  sinks_->screen.set_level(screen == Screen::all        ? spdlog::level::info
                           : screen == Screen::warnings ? spdlog::level::warn
                                                        : spdlog::level::off);
  sinks_->screen.flush_on(spdlog::level::info);
  if (path.empty()) return;
  try {
    const auto file_sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    file_sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    sinks_->file = std::make_unique<spdlog::logger>("file", file_sink);
    sinks_->file->flush_on(spdlog::level::info);
    // A full disk must not fill the screen as well: one line, and messages go on to standard error.
    const auto told = std::make_shared<std::atomic<bool>>(false);
    sinks_->file->set_error_handler([screen = &sinks_->screen, path, told](const std::string& reason) {
      if (!told->exchange(true)) screen->warn(concat("warning: the log file ", path, " cannot be written: ", reason));
    });
  } catch (const spdlog::spdlog_ex& error) {
    fail("log", concat("required a log file that can be written, found ", path, ": ", error.what()));
  }
}

Log::~Log() = default;
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;

void Log::info(std::string_view text) {
  sinks_->write(spdlog::level::info, "", text);
}
void Log::warn(std::string_view text) {
  sinks_->write(spdlog::level::warn, "warning: ", text);
}
void Log::error(std::string_view text) {
  sinks_->write(spdlog::level::err, "error: ", text);
}

}  // namespace artel

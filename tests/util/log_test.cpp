#include "util/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "util/files.h"

using namespace artel;

namespace {

// Sends one of the process's standard streams into a file for the length of a scope.
class Redirect {
 public:
  Redirect(int stream, const std::string& path) : stream_(stream), saved_(::dup(stream)) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(file, stream);
    ::close(file);
  }
  ~Redirect() {
    ::dup2(saved_, stream_);
    ::close(saved_);
  }
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;

 private:
  int stream_;
  int saved_;
};

struct Streams {
  std::string output, error;
};

template <typename Action>
Streams captured(const TemporaryDirectory& directory, Action&& action) {
  {
    const Redirect output(STDOUT_FILENO, directory.file("out"));
    const Redirect error(STDERR_FILENO, directory.file("err"));
    action();
  }
  return {read_file(directory.file("out")), read_file(directory.file("err"))};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("Log writes to standard error and, with a time stamp, to its file; never to standard output") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("log.txt");
  const Streams streams = captured(directory, [&] {
    Log log(path);
    log.info("100 % {} of %v");
    log.warn("low");
    log.error("broken");
  });
  CHECK(streams.output.empty());
  CHECK(streams.error == "100 % {} of %v\nwarning: low\nerror: broken\n");
  const auto lines = lines_of(read_file(path));
  REQUIRE(lines.size() == 3);
  const std::string stamp = R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} )";
  CHECK(std::regex_match(lines[0], std::regex(stamp + "info 100 % \\{\\} of %v")));
  CHECK(std::regex_match(lines[1], std::regex(stamp + "warning low")));
  CHECK(std::regex_match(lines[2], std::regex(stamp + "error broken")));
}

TEST_CASE("A quiet log keeps information off standard error only, and a log file is appended to") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("log.txt");
  const Streams streams = captured(directory, [&] {
    Log(path, Screen::warnings).info("first");
    Log log(path, Screen::warnings);
    log.info("second");
    log.warn("third");
  });
  CHECK(streams.error == "warning: third\n");
  const auto lines = lines_of(read_file(path));
  REQUIRE(lines.size() == 3);
  CHECK(contains(lines[0], "first"));
  CHECK(contains(lines[1], "second"));
}

TEST_CASE("Log takes lines from several threads whole") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("log.txt");
  captured(directory, [&] {
    Log log(path);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log] {
        for (int i = 0; i < 50; ++i) log.info("one whole line");
      });
    }
    for (auto& thread : threads) thread.join();
  });
  const auto lines = lines_of(read_file(path));
  REQUIRE(lines.size() == 200);
  for (const auto& line : lines) REQUIRE(line.substr(line.size() - 14) == "one whole line");
}

TEST_CASE("A log file on a full disk costs one line on standard error, and messages go on there") {
  if (::access("/dev/full", W_OK) != 0) return;
  const TemporaryDirectory directory;
  const Streams streams = captured(directory, [] {
    Log log("/dev/full");
    for (int i = 0; i < 3; ++i) log.info("still here");
  });
  CHECK(streams.output.empty());
  const auto lines = lines_of(streams.error);
  REQUIRE(lines.size() == 4);
  CHECK(std::count(lines.begin(), lines.end(), "still here") == 3);
  CHECK(contains(streams.error, "warning: the log file /dev/full cannot be written: "));
}

TEST_CASE("A log file that cannot be opened is an error naming it") {
  const TemporaryDirectory directory;
  write_file_atomic(*std::make_unique<PosixFileLayer>(), directory.file("plain"), "x");
  CHECK(contains(error_text([&] { Log log(directory.file("plain/log.txt")); }), directory.file("plain/log.txt")));
}

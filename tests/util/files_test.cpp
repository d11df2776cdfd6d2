#include "util/files.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/failing_file_layer.h"
#include "support/temporary_directory.h"

using namespace artel;

TEST_CASE("The file layer writes, appends, lists, renames and removes") {
  const TemporaryDirectory directory;
  PosixFileLayer layer;
  const std::string deep = directory.file("a/b/c");
  layer.make_directory(deep);
  layer.make_directory(deep);
  CHECK(layer.is_directory(deep));
  for (const char* part : {"one", "two"}) {
    OutputFile file = layer.open_append(deep + "/f");
    layer.write(file, part, 3);
    layer.fsync(file);
    layer.close(file);
    CHECK_FALSE(file.is_open());
    layer.close(file);
  }
  CHECK(layer.read(deep + "/f") == "onetwo");
  OutputFile file = layer.open_write(deep + "/f");
  layer.write(file, nullptr, 0);
  layer.close(file);
  CHECK(layer.read(deep + "/f").empty());
  layer.rename(deep + "/f", deep + "/e");
  layer.make_directory(deep + "/d");
  layer.fsync_directory(deep);
  CHECK(layer.list(deep) == std::vector<std::string>{"d", "e"});
  CHECK(layer.exists(deep + "/e"));
  CHECK_FALSE(layer.exists(deep + "/f"));
  CHECK_FALSE(layer.is_directory(deep + "/e"));
  layer.remove(directory.file("a"));
  layer.remove(directory.file("a"));
  CHECK_FALSE(layer.exists(directory.file("a")));
}

TEST_CASE("Every failing operation names the operation, the path and the reason") {
  const TemporaryDirectory directory;
  PosixFileLayer layer;
  const std::string missing = directory.file("missing/x");
  const std::string reason = missing + ": No such file or directory";
  CHECK(error_text([&] { layer.open_write(missing); }) == "[files] cannot open for writing " + reason);
  CHECK(error_text([&] { layer.open_append(missing); }) == "[files] cannot open for writing " + reason);
  CHECK(error_text([&] { layer.read(missing); }) == "[files] cannot open " + reason);
  CHECK(error_text([&] { layer.list(missing); }) == "[files] cannot list " + reason);
  CHECK(error_text([&] { layer.fsync_directory(missing); }) == "[files] cannot open directory " + reason);
  CHECK(error_text([&] { MappedFile file(missing); }) == "[files] cannot open " + reason);
  CHECK(error_text([&] { layer.rename(missing, directory.file("y")); }) ==
        "[files] cannot rename " + missing + " to " + directory.file("y") + ": No such file or directory");
  write_file_atomic(layer, directory.file("plain"), "x");
  CHECK(contains(error_text([&] { layer.make_directory(directory.file("plain/sub")); }), directory.file("plain/sub")));
  CHECK(contains(error_text([&] { read_file(directory.path()); }), directory.path() + ": Is a directory"));
  CHECK(contains(error_text([&] { MappedFile file(directory.path()); }), directory.path() + ": Is a directory"));
  CHECK(contains(error_text([&] { MappedFile file("/dev/null"); }), "required a regular file to map, found /dev/null"));
}

TEST_CASE("A full disk is an error naming the file and what to do") {
  PosixFileLayer layer;
  if (!layer.exists("/dev/full")) return;
  OutputFile file = layer.open_write("/dev/full");
  CHECK(error_text([&] { layer.write(file, "x", 1); }) ==
        "[files] cannot write /dev/full: No space left on device; free some space on that device");
}

TEST_CASE("A short write is continued and its failure reported") {
  const TemporaryDirectory directory;
  PosixFileLayer layer;
  struct rlimit saved {};
  ::getrlimit(RLIMIT_FSIZE, &saved);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit limited = saved;
  limited.rlim_cur = 1000;  // the first write is cut to 1000 bytes, the next one fails
  ::setrlimit(RLIMIT_FSIZE, &limited);
  std::string text;
  {
    OutputFile file = layer.open_write(directory.file("f"));
    const std::string bytes(3000, 'x');
    text = error_text([&] { layer.write(file, bytes.data(), bytes.size()); });
  }
  ::setrlimit(RLIMIT_FSIZE, &saved);
  std::signal(SIGXFSZ, handler);
  CHECK(contains(text, "cannot write " + directory.file("f") + ": File too large"));
  CHECK(read_file(directory.file("f")).size() == 1000);
}

TEST_CASE("Writes that signals cut short arrive whole and in order") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("fifo");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::string bytes(1 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 256);
  struct sigaction action {
  }, saved{};
  action.sa_handler = [](int) {};  // without SA_RESTART a blocked write returns what it has written so far
  REQUIRE(::sigaction(SIGUSR1, &action, &saved) == 0);

  std::string received;
  const pthread_t writer = ::pthread_self();
  std::thread reader([&] {
    const int descriptor = ::open(path.c_str(), O_RDONLY);
    char part[10000];
    for (ssize_t size = 1; size > 0;) {
      size = ::read(descriptor, part, sizeof part);
      if (size > 0) received.append(part, static_cast<size_t>(size));
      // Several signals to a full pipe: some interrupt a write after part of it, some before its first byte.
      for (int i = 0; i < 4 && received.size() < bytes.size(); ++i) {
        ::pthread_kill(writer, SIGUSR1);
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
    ::close(descriptor);
  });
  PosixFileLayer layer;
  std::string text;
  {
    OutputFile file = layer.open_write(path);
    text = error_text([&] { layer.write(file, bytes.data(), bytes.size()); });
  }
  reader.join();
  ::sigaction(SIGUSR1, &saved, nullptr);
  CHECK(text == "(no error)");
  CHECK((received == bytes));
}

TEST_CASE("write_file_atomic leaves the old or the new contents wherever the process dies") {
  const std::string before(1000, 'a'), after(2000, 'b');
  for (const auto fault : {FailingFileLayer::Fault::kill, FailingFileLayer::Fault::error}) {
    bool ended = false;
    bool was_new = false;
    for (int64_t call = 0; !ended; ++call) {
      REQUIRE(call < 20);
      const TemporaryDirectory directory;
      const std::string path = directory.file("latest");
      PosixFileLayer disk;
      write_file_atomic(disk, path, before);
      FailingFileLayer layer(disk, call, fault);
      try {
        write_file_atomic(layer, path, after);
        ended = true;
      } catch (const Killed&) {
        CHECK(fault == FailingFileLayer::Fault::kill);
      } catch (const Error&) {
        CHECK(fault == FailingFileLayer::Fault::error);
      }
      layer.lose_unsynced();
      const std::string found = read_file(path);
      CHECK((found == before || found == after));
      CHECK((found == after || !was_new));  // once committed, later deaths do not undo it
      was_new = found == after;
      if (ended) CHECK(found == after);
      write_file_atomic(disk, path, "again");  // a left-over temporary file is no obstacle
      CHECK(read_file(path) == "again");
    }
  }
}

TEST_CASE("write_file_atomic syncs the file before the rename and the directory after it") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  PosixFileLayer disk;
  FailingFileLayer layer(disk);
  write_file_atomic(layer, path, "x");
  CHECK(layer.calls() == std::vector<std::string>{"open_write " + path + ".tmp", "write " + path + ".tmp",
                                                  "fsync " + path + ".tmp", "close " + path + ".tmp",
                                                  "rename " + path + ".tmp to " + path,
                                                  "fsync_directory " + directory.path()});
}

TEST_CASE("write_file_atomic that fails leaves no temporary file behind, and a directory of that name alone") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  PosixFileLayer disk;
  write_file_atomic(disk, path, "old");
  for (int64_t call = 1; call <= 4; ++call) {  // write, fsync, close, rename
    FailingFileLayer layer(disk, call, FailingFileLayer::Fault::error);
    CHECK(contains(error_text([&] { write_file_atomic(layer, path, "new"); }), "injected"));
    CHECK(disk.list(directory.path()) == std::vector<std::string>{"f"});
    CHECK(read_file(path) == "old");
  }
  disk.make_directory(path + ".tmp/inside");
  CHECK(error_text([&] { write_file_atomic(disk, path, "new"); }) != "(no error)");
  CHECK(disk.exists(path + ".tmp/inside"));
}

TEST_CASE("require_output takes what a file can be written to") {
  const TemporaryDirectory directory;
  PosixFileLayer disk;
  write_file_atomic(disk, directory.file("there"), "x");
  const auto error = [](const std::string& path) { return error_text([&] { require_output("--output", path); }); };
  CHECK(error(directory.file("new")) == "(no error)");
  CHECK(error(directory.file("there")) == "(no error)");
  CHECK(error("in_the_working_directory") == "(no error)");
  CHECK(contains(error(directory.file("a/b")), "[--output] required the path of a file to write, found no directory"));
  CHECK(contains(error(directory.file("there/b")), "which is no directory"));
  CHECK(contains(error(directory.path()), "found the directory " + directory.path()));
  CHECK(contains(error("/dev/null"), "found /dev/null, which is no regular file"));
}

TEST_CASE("read_file reads files of every size, also those that report none") {
  const TemporaryDirectory directory;
  PosixFileLayer layer;
  for (const size_t size : {0u, 1u, 65535u, 65536u, 65537u, 200000u}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 256);
    write_file_atomic(layer, directory.file("f"), bytes);
    CHECK(read_file(directory.file("f")) == bytes);
    const MappedFile mapped(directory.file("f"));
    REQUIRE(mapped.size() == size);
    CHECK(std::string(reinterpret_cast<const char*>(mapped.data()), mapped.size()) == bytes);
  }
  CHECK(contains(read_file("/proc/self/status"), "VmRSS"));
}

TEST_CASE("An empty mapped file has no bytes, and mappings move") {
  const TemporaryDirectory directory;
  PosixFileLayer layer;
  write_file_atomic(layer, directory.file("empty"), "");
  write_file_atomic(layer, directory.file("full"), "abc");
  MappedFile empty(directory.file("empty"));
  CHECK(empty.size() == 0);
  CHECK(empty.data() == nullptr);
  MappedFile full(directory.file("full"));
  MappedFile moved(std::move(full));
  empty = std::move(moved);
  CHECK(empty.size() == 3);
  CHECK(empty.data()[2] == 'c');
  CHECK(empty.path() == directory.file("full"));
}

TEST_CASE("Paths are split and joined") {
  CHECK(parent_directory("a/b/c") == "a/b");
  CHECK(parent_directory("c") == ".");
  CHECK(parent_directory("/c") == "/");
  CHECK(join_path("a", "b") == "a/b");
  CHECK(join_path("a/", "b") == "a/b");
}

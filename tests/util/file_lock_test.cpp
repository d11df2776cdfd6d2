#include "util/file_lock.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"

using namespace artel;

TEST_CASE("A lock has one holder at a time") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("lock");
  std::optional<FileLock> first = FileLock::try_acquire(path);
  REQUIRE(first);
  CHECK_FALSE(FileLock::try_acquire(path));
  FileLock moved = std::move(*first);
  first.reset();
  CHECK_FALSE(FileLock::try_acquire(path));
  {
    const FileLock inner = std::move(moved);
    CHECK_FALSE(FileLock::try_acquire(path));
  }
  CHECK(FileLock::try_acquire(path));
}

TEST_CASE("A process that inherits a lock holds it as long as it lives") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("lock");
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::optional<FileLock> lock = FileLock::try_acquire(path);
  REQUIRE(lock);
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    ::close(ends[1]);
    _exit(::read(ends[0], &byte, 1) == 0 ? 0 : 1);  // until the other end is closed
  }
  ::close(ends[0]);
  lock.reset();
  CHECK_FALSE(FileLock::try_acquire(path));
  ::close(ends[1]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(FileLock::try_acquire(path));
}

TEST_CASE("A lock in a directory that is not there is an error that names it") {
  const TemporaryDirectory directory;
  CHECK(contains(error_text([&] { FileLock::try_acquire(directory.file("none/lock")); }), "none/lock"));
}

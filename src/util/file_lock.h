#pragma once

#include <optional>
#include <string>

namespace artel {

/// A lock on a file, held by this process and by the processes that inherit its descriptor, until the last of them ends
/// or lets go. Between processes of one machine, and across machines where the file system carries locks.
class FileLock {
 public:
  /// Creates `path` if absent and locks it; none when another process holds it. Throws Error when the file cannot be
  /// opened or its file system has no locks.
  static std::optional<FileLock> try_acquire(const std::string& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

  int descriptor() const { return descriptor_; }

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace artel

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// A file open for writing: descriptor and path. Closes itself without looking at the outcome when it is destroyed
/// while open; use FileLayer::close to hear about errors.
class OutputFile {
 public:
  OutputFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;

  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }
  bool is_open() const { return descriptor_ >= 0; }
  /// Gives the descriptor away; the file counts as closed.
  int release();

 private:
  int descriptor_;
  std::string path_;
};

/// Every operation on files that must survive a crash: checkpoints, metrics, manifests. Passed explicitly, so that a
/// test can make any call fail. All methods throw Error naming the operation, the path and the system's reason.
class FileLayer {
 public:
  virtual ~FileLayer() = default;

  /// Creates or truncates `path` for writing.
  virtual OutputFile open_write(const std::string& path) = 0;
  /// Opens `path` for appending, creating it if absent.
  virtual OutputFile open_append(const std::string& path) = 0;
  /// Writes all of `size` bytes.
  virtual void write(OutputFile& file, const void* data, size_t size) = 0;
  /// Shortens the file to its first `size` bytes.
  virtual void truncate(OutputFile& file, size_t size) = 0;
  /// Returns once the contents of the file are on the device.
  virtual void fsync(OutputFile& file) = 0;
  virtual void close(OutputFile& file) = 0;
  /// Replaces `to` atomically; a directory can only replace an empty directory or nothing.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  /// Creates `path` and its missing parents; an existing directory is no error.
  virtual void make_directory(const std::string& path) = 0;
  /// Removes a file, or a directory with all that it holds; a missing path is no error.
  virtual void remove(const std::string& path) = 0;
  /// Returns once the names in the directory `path` are on the device.
  virtual void fsync_directory(const std::string& path) = 0;

  /// Names in the directory `path`, sorted, without "." and "..".
  virtual std::vector<std::string> list(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  virtual bool is_directory(const std::string& path) = 0;
  /// All bytes of the file `path`.
  virtual std::string read(const std::string& path) = 0;
};

/// The file system of the machine. Short writes and interrupted calls are continued.
class PosixFileLayer : public FileLayer {
 public:
  OutputFile open_write(const std::string& path) override;
  OutputFile open_append(const std::string& path) override;
  void write(OutputFile& file, const void* data, size_t size) override;
  void truncate(OutputFile& file, size_t size) override;
  void fsync(OutputFile& file) override;
  void close(OutputFile& file) override;
  void rename(const std::string& from, const std::string& to) override;
  void make_directory(const std::string& path) override;
  void remove(const std::string& path) override;
  void fsync_directory(const std::string& path) override;
  std::vector<std::string> list(const std::string& path) override;
  bool exists(const std::string& path) override;
  bool is_directory(const std::string& path) override;
  std::string read(const std::string& path) override;
};

/// Replaces `path` by `bytes` so that a crash at any moment leaves either the old or the new contents: writes
/// `path`.tmp, fsyncs it, renames it, fsyncs the directory. An error leaves no `path`.tmp behind.
void write_file_atomic(FileLayer& layer, const std::string& path, std::string_view bytes);

/// Removes `path` in the course of an error that is already on its way, and keeps silent when that fails too.
void remove_quietly(FileLayer& layer, const std::string& path);

/// For a file that will be written at the end of long work: finds out before whether it can be. Throws Error naming
/// `option` unless `path` is a regular file or absent, in a directory that is there and may be written to.
void require_output(std::string_view option, const std::string& path);

/// All bytes of a file of the machine. Throws Error naming the path and the reason.
std::string read_file(const std::string& path);

/// The files that `path` names: itself when it is there, else those that it matches as a pattern of the shell (`*`,
/// `?`,
/// `[…]`), sorted; none when nothing is there.
std::vector<std::string> matching_files(const std::string& path);

/// The directory part of `path`: "." when there is none.
std::string parent_directory(const std::string& path);

/// `directory`/`name`.
std::string join_path(std::string_view directory, std::string_view name);

/// A regular file open for reading anywhere in it, from any thread. Unlike a mapping, which ends the process, it says
/// so when the file was shortened meanwhile or its device fails.
class InputFile {
 public:
  /// Throws Error naming the path and the reason when it is missing, unreadable or no regular file.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;

  /// Bytes, when it was opened.
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// out[0..size) = the bytes from `begin` on. Throws Error naming path, byte and reason.
  void read(uint64_t begin, size_t size, void* out) const;

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::string path_;
};

/// A regular file mapped read-only into memory for the life of the object. An empty file has size 0 and data() null.
/// The file must not be shortened while it is mapped.
class MappedFile {
 public:
  /// Throws Error naming the path and the reason when it is missing, unreadable or no regular file.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const unsigned char* data() const { return static_cast<const unsigned char*>(data_); }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

}  // namespace artel

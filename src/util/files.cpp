#include "util/files.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

[[noreturn]] void fail_system(const char* operation, const std::string& path, int error) {
  const std::string reason = std::generic_category().message(error);
  const char* advice = error == ENOSPC || error == EDQUOT ? "; free some space on that device" : "";
  fail("files", concat("cannot ", operation, " ", path, ": ", reason, advice));
}

// Closes on scope exit; for descriptors that are only read, where closing cannot lose anything.
class Descriptor {
 public:
  Descriptor(const char* operation, const std::string& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (value_ < 0) fail_system(operation, path, errno);
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }
  /// Gives the descriptor away.
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

OutputFile open_output(const std::string& path, int flags) {
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) fail_system("open for writing", path, errno);
  return OutputFile(descriptor, path);
}

int fsync_retrying(int descriptor) {
  int result;
  do {
    result = ::fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  return result;
}

struct stat regular_file_status(int descriptor, const std::string& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_system("examine", path, errno);
  if (S_ISDIR(status.st_mode)) fail_system("read", path, EISDIR);
  return status;
}

// Of what a link leads to; what cannot be examined counts as absent.
std::filesystem::file_status file_status(const std::string& path) {
  std::error_code error;
  return std::filesystem::status(path, error);
}

}  // namespace

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

int OutputFile::release() {
  return std::exchange(descriptor_, -1);
}

OutputFile PosixFileLayer::open_write(const std::string& path) {
  return open_output(path, O_TRUNC);
}

OutputFile PosixFileLayer::open_append(const std::string& path) {
  return open_output(path, O_APPEND);
}

void PosixFileLayer::write(OutputFile& file, const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file.descriptor(), bytes, std::min(size, size_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_system("write", file.path(), errno);
    }
    bytes += written;
    size -= static_cast<size_t>(written);
  }
}

void PosixFileLayer::truncate(OutputFile& file, size_t size) {
  int result;
  do {
    result = ::ftruncate(file.descriptor(), static_cast<off_t>(size));
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail_system("truncate", file.path(), errno);
}

void PosixFileLayer::fsync(OutputFile& file) {
  if (fsync_retrying(file.descriptor()) != 0) fail_system("fsync", file.path(), errno);
}

void PosixFileLayer::close(OutputFile& file) {
  // Linux releases the descriptor even when close is interrupted, so EINTR is not retried.
  if (file.is_open() && ::close(file.release()) != 0 && errno != EINTR) fail_system("close", file.path(), errno);
}

void PosixFileLayer::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_system("rename", concat(from, " to ", to), errno);
}

void PosixFileLayer::make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail_system("create directory", path, error.value());
}

void PosixFileLayer::remove(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) fail_system("remove", path, error.value());
}

void PosixFileLayer::fsync_directory(const std::string& path) {
  const Descriptor directory("open directory", path, O_RDONLY | O_DIRECTORY);
  // Some network file systems cannot fsync a directory and say EINVAL; they order names themselves.
  if (fsync_retrying(directory.value()) != 0 && errno != EINVAL) fail_system("fsync directory", path, errno);
}

std::vector<std::string> PosixFileLayer::list(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) fail_system("list", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

bool PosixFileLayer::exists(const std::string& path) {
  std::error_code error;
  const bool found = std::filesystem::exists(path, error);
  if (error) fail_system("examine", path, error.value());
  return found;
}

bool PosixFileLayer::is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

std::string PosixFileLayer::read(const std::string& path) {
  return read_file(path);
}

void write_file_atomic(FileLayer& layer, const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  OutputFile file = layer.open_write(temporary);
  try {
    layer.write(file, bytes.data(), bytes.size());
    layer.fsync(file);
    layer.close(file);
    layer.rename(temporary, path);
  } catch (const Error&) {
    remove_quietly(layer, temporary);
    throw;
  }
  layer.fsync_directory(parent_directory(path));
}

void remove_quietly(FileLayer& layer, const std::string& path) {
  try {
    layer.remove(path);
  } catch (const Error&) {  // the error that led here says more
  }
}

void require_output(std::string_view option, const std::string& path) {
  const std::filesystem::file_status parent = file_status(parent_directory(path));
  const std::filesystem::file_status there = file_status(path);
  std::string found;
  if (!std::filesystem::exists(parent)) {
    found = concat("no directory ", parent_directory(path));
  } else if (!std::filesystem::is_directory(parent)) {
    found = concat(parent_directory(path), ", which is no directory");
  } else if (std::filesystem::is_directory(there)) {
    found = concat("the directory ", path);
  } else if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    found = concat(path, ", which is no regular file");
  } else if (::access(parent_directory(path).c_str(), W_OK | X_OK) != 0) {
    found = concat("the directory ", parent_directory(path), ", which this user may not write to");
  } else {
    return;
  }
  fail(option,
       concat("required the path of a file to write, found ", found, "; give a file in a directory that is there"));
}

std::string read_file(const std::string& path) {
  const Descriptor file("open", path, O_RDONLY);
  const struct stat status = regular_file_status(file.value(), path);
  std::string bytes(static_cast<size_t>(std::max<off_t>(status.st_size, 0)), '\0');
  size_t size = 0;
  while (true) {
    // One spare byte at the end: a read of 0 is then the end of the file, also for files that report no size.
    if (size == bytes.size()) bytes.resize(size + (size == static_cast<size_t>(status.st_size) ? 1 : 65536));
    const ssize_t got = ::read(file.value(), bytes.data() + size, std::min(bytes.size() - size, size_t{1} << 30));
    if (got < 0) {
      if (errno == EINTR) continue;
      fail_system("read", path, errno);
    }
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

std::string parent_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string join_path(std::string_view directory, std::string_view name) {
  return (std::filesystem::path(directory) / name).string();
}

std::vector<std::string> matching_files(const std::string& path) {
  std::error_code status;
  if (std::filesystem::exists(path, status)) return {path};
  if (path.find_first_of("*?[") == std::string::npos) return {};
  glob_t found{};
  const int outcome = ::glob(path.c_str(), GLOB_ERR, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + (outcome == 0 ? found.gl_pathc : 0));
  ::globfree(&found);
  if (outcome != 0 && outcome != GLOB_NOMATCH) fail("files", concat("cannot list what matches ", path));
  std::sort(paths.begin(), paths.end());  // by bytes, whatever the locale
  return paths;
}

InputFile::InputFile(const std::string& path) : path_(path) {
  Descriptor file("open", path, O_RDONLY);
  const struct stat status = regular_file_status(file.value(), path);
  if (!S_ISREG(status.st_mode)) fail("files", concat("required a regular file, found ", path));
  size_ = static_cast<uint64_t>(status.st_size);
  descriptor_ = file.release();
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

void InputFile::read(uint64_t begin, size_t size, void* out) const {
  auto* bytes = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor_, bytes, std::min(size, size_t{1} << 30), static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system(concat("read byte ", begin, " of").c_str(), path_, errno);
    if (got == 0) {
      fail("files",
           concat(path_, ": required ", size, " bytes from byte ", begin,
                  " on, found the end of the file; was it shortened? It had ", size_, " bytes when it was opened"));
    }
    bytes += got;
    begin += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Descriptor file("open", path, O_RDONLY);
  const struct stat status = regular_file_status(file.value(), path);
  if (!S_ISREG(status.st_mode)) fail("files", concat("required a regular file to map, found ", path));
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value(), 0);
  if (address == MAP_FAILED) fail_system("map", path, errno);
  data_ = address;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

}  // namespace artel

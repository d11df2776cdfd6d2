#include "data/megatron_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

constexpr int64_t header_bytes = 34;
constexpr std::string_view magic("MMIDIDX\0\0", 9);
constexpr std::string_view old_magic("TNTIDX\0\0", 8);
constexpr int64_t elements_at_once = 65536;

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("data", concat(path, ": ", text));
}

template <class T>
T value_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

TokenType type_of_code(int code, const std::string& path) {
  switch (code) {
    case 1:
      return TokenType::uint8;
    case 2:
      return TokenType::int8;
    case 3:
      return TokenType::int16;
    case 4:
      return TokenType::int32;
    case 5:
      return TokenType::int64;
    case 8:
      return TokenType::uint16;
    default:
      break;
  }
  const char* name = code == 6 ? " (float64, which holds no ids)" : code == 7 ? " (float32, which holds no ids)" : "";
  fail_file(path, concat("required a type code of integers, 1 to 5 or 8, at byte 17, found ", code, name));
}

/// A list of the file, read from front to back, a part at a time.
template <class T>
class List {
 public:
  List(const InputFile& file, int64_t begin, int64_t size) : file_(file), begin_(begin), size_(size) {}

  T next() {
    if (at_ == part_begin_ + static_cast<int64_t>(part_.size())) load();
    return part_[static_cast<size_t>(at_++ - part_begin_)];
  }

 private:
  void load() {
    part_begin_ = at_;
    part_.resize(static_cast<size_t>(std::min(elements_at_once, size_ - at_)));
    file_.read(static_cast<uint64_t>(begin_) + static_cast<uint64_t>(at_) * sizeof(T), part_.size() * sizeof(T),
               part_.data());
  }

  const InputFile& file_;
  int64_t begin_;
  int64_t size_;
  int64_t at_ = 0;
  int64_t part_begin_ = 0;
  std::vector<T> part_;
};

List<int32_t> lengths(const InputFile& file, int64_t num_sequences) {
  return {file, header_bytes, num_sequences};
}
List<int64_t> pointers(const InputFile& file, int64_t num_sequences) {
  return {file, header_bytes + 4 * num_sequences, num_sequences};
}
List<int64_t> bounds(const InputFile& file, int64_t num_sequences, int64_t num_bounds) {
  return {file, header_bytes + 12 * num_sequences, num_bounds};
}

}  // namespace

MegatronIndex::MegatronIndex(const std::string& path) : file_(path) {
  const auto bytes = static_cast<int64_t>(file_.size());
  char header[header_bytes] = {};
  file_.read(0, static_cast<size_t>(std::min(bytes, header_bytes)), header);
  const std::string_view start(header, sizeof header);
  if (start.substr(0, old_magic.size()) == old_magic) {
    fail_file(path, "required an index of version 1 (MMIDIDX), found one of the old format TNTIDX; convert it");
  }
  if (start.substr(0, std::min<size_t>(magic.size(), file_.size())) != magic.substr(0, file_.size()) || bytes == 0) {
    fail_file(path,
              "required the index of the .bin beside it, which begins with MMIDIDX, found another file; rename "
              "it if it does not belong to the .bin");
  }
  if (bytes < header_bytes) {
    fail_file(path, concat("required a header of ", header_bytes, " bytes, found ", bytes, ": the file is cut off"));
  }
  if (const auto version = value_at<uint64_t>(header + 9); version != 1) {
    fail_file(path, concat("required version 1 at byte 9, found ", version));
  }
  type_ = type_of_code(static_cast<unsigned char>(header[17]), path);
  const auto num_sequences = value_at<uint64_t>(header + 18);
  const auto num_bounds = value_at<uint64_t>(header + 26);
  const auto limit = static_cast<uint64_t>(bytes);
  if (num_sequences > limit || num_bounds > limit) {
    fail_file(path, concat("required ", num_sequences, " sequences and ", num_bounds,
                           " bounds of documents (bytes 18 "
                           "and 26), found ",
                           bytes, " bytes: the file is cut off or no index"));
  }
  num_sequences_ = static_cast<int64_t>(num_sequences);
  num_bounds_ = static_cast<int64_t>(num_bounds);
  const int64_t expected = header_bytes + 12 * num_sequences_ + 8 * num_bounds_;
  if (num_sequences_ > 0 && bytes == expected + num_sequences_) {
    fail_file(path,
              "required text, found a data set of several modes (one byte more for every sequence), which is "
              "not supported");
  }
  if (bytes != expected) {
    fail_file(path, concat("required ", expected, " bytes (", num_sequences_, " sequences and ", num_bounds_,
                           " bounds by its header), found ", bytes, ": the file ",
                           bytes < expected ? "is cut off" : "has bytes that do not belong"));
  }
  if (num_sequences_ < 1 || num_bounds_ < 2) {
    fail_file(path, concat("required at least 1 sequence in 1 document, found ", num_sequences_, " in ",
                           std::max<int64_t>(num_bounds_ - 1, 0)));
  }
}

void MegatronIndex::require_ids(const std::string& bin_path, int64_t num_bytes) const {
  const int64_t width = token_type_size(type_);
  auto length = lengths(file_, num_sequences_);
  auto pointer = pointers(file_, num_sequences_);
  int64_t end = 0;
  for (int64_t i = 0; i < num_sequences_; ++i) {
    const int64_t begin = pointer.next();
    const int64_t size = length.next();
    if (begin != end || size < 0) {
      fail_file(file_.path(), concat("required sequence ", i, " of ", bin_path, " to begin at byte ", end,
                                     ", behind the one before, found byte ", begin, " and length ", size));
    }
    end += size * width;
  }
  if (end != num_bytes) {
    fail_file(file_.path(), concat("required the ", end, " bytes of its ", num_sequences_, " sequences of ",
                                   token_type_name(type_), " ids in ", bin_path, ", found ", num_bytes,
                                   "; the two are not of one data set, or one is cut off"));
  }
  auto bound = bounds(file_, num_sequences_, num_bounds_);
  int64_t last = 0;
  for (int64_t i = 0; i < num_bounds_; ++i) {
    const int64_t now = bound.next();
    if (now < last || now > num_sequences_ || (i == 0 && now != 0) || (i == num_bounds_ - 1 && now != num_sequences_)) {
      fail_file(file_.path(), concat("required bounds of documents that rise from 0 to the ", num_sequences_,
                                     " sequences of ", bin_path, ", found ", now, " as number ", i));
    }
    last = now;
  }
}

std::vector<int64_t> MegatronIndex::sequence_starts() const {
  auto length = lengths(file_, num_sequences_);
  std::vector<int64_t> starts(static_cast<size_t>(num_sequences_) + 1, 0);
  for (size_t i = 0; i + 1 < starts.size(); ++i) starts[i + 1] = starts[i] + length.next();
  return starts;
}

std::vector<int64_t> MegatronIndex::document_starts() const {
  auto length = lengths(file_, num_sequences_);
  auto bound = bounds(file_, num_sequences_, num_bounds_);
  std::vector<int64_t> starts(static_cast<size_t>(num_bounds_), 0);
  int64_t sequence = 0, position = 0;
  for (int64_t& start : starts) {
    for (const int64_t first = bound.next(); sequence < first; ++sequence) position += length.next();
    start = position;
  }
  return starts;
}

}  // namespace artel

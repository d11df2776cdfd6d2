#include "data/npy.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "data/byte_stream.h"
#include "util/error.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr uint32_t max_header_bytes = 1 << 20;

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("data", concat(path, ": ", text));
}

/// What stands behind `'key':` in the header's text, up to the comma or brace that ends it.
std::string_view member(std::string_view text, std::string_view key, const std::string& path) {
  const std::string quoted = concat('\'', key, '\'');
  size_t begin = text.find(quoted);
  if (begin == std::string_view::npos) {
    fail_file(path, concat("required ", quoted, " in the header of the array, found none"));
  }
  begin = text.find_first_not_of(" :", begin + quoted.size());
  if (begin == std::string_view::npos) return {};
  const char first = text[begin];
  const size_t end = first == '('   ? text.find(')', begin) + 1
                     : first == '[' ? text.find(']', begin) + 1
                                    : text.find_first_of(",}", begin);
  return text.substr(begin, end - begin);
}

TokenType type_of_descr(std::string_view descr, const std::string& path) {
  struct Known {
    std::string_view descr;
    TokenType type;
  };
  constexpr Known known[] = {{"'|u1'", TokenType::uint8},  {"'<u1'", TokenType::uint8}, {"'<u2'", TokenType::uint16},
                             {"'<u4'", TokenType::uint32}, {"'<i4'", TokenType::int32}, {"'<i8'", TokenType::int64}};
  for (const Known& one : known) {
    if (descr == one.descr) return one.type;
  }
  fail_file(path, concat("required an array of '|u1', '<u2', '<u4', '<i4' or '<i8' (little-endian integers), found ",
                         one_line(descr, 60)));
}

// The one dimension of "(5,)".
std::optional<int64_t> size_of_shape(std::string_view shape) {
  if (shape.size() < 3 || shape.front() != '(') return std::nullopt;
  int64_t size = 0;
  const auto [end, error] = std::from_chars(shape.data() + 1, shape.data() + shape.size(), size);
  const std::string_view rest(end, static_cast<size_t>(shape.data() + shape.size() - end));
  const bool one_dimension = rest == ",)" || rest == ", )";
  return error == std::errc() && one_dimension && size >= 0 ? std::optional(size) : std::nullopt;
}

/// The lines of a text that may be packed.
class Lines {
 public:
  explicit Lines(const std::string& path) : stream_(path) {}

  /// False at the end. The line holds until the next call. Errors: those of ByteStream, a line without an end in sight.
  bool next(std::string_view& line) {
    size_t end = text_.find('\n', used_);
    while (end == std::string::npos && !at_end_) {
      text_.erase(0, used_);
      used_ = 0;
      const size_t size = text_.size();
      if (size > max_line_bytes) fail_file(stream_.path(), "required lines of at most 1 MiB, found a longer one");
      text_.resize(size + part_bytes);
      const size_t got = stream_.read(text_.data() + size, part_bytes);
      text_.resize(size + got);
      at_end_ = got < part_bytes;
      end = text_.find('\n', size);
    }
    if (used_ == text_.size()) return false;
    line = std::string_view(text_).substr(used_, std::min(end, text_.size()) - used_);
    used_ = end == std::string::npos ? text_.size() : end + 1;
    return true;
  }

 private:
  static constexpr size_t part_bytes = 65536;
  static constexpr size_t max_line_bytes = 1 << 20;

  ByteStream stream_;
  std::string text_;
  size_t used_ = 0;
  bool at_end_ = false;
};

// "12,34,…" as numbers.
std::optional<std::pair<int64_t, int64_t>> range_of(std::string_view line) {
  int64_t begin = 0, end = 0;
  const char* const last = line.data() + line.size();
  const auto first = std::from_chars(line.data(), last, begin);
  if (first.ec != std::errc() || first.ptr == last || *first.ptr != ',') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, last, end);
  if (second.ec != std::errc()) return std::nullopt;
  if (second.ptr != last && std::string_view(",\r\n").find(*second.ptr) == std::string_view::npos) return std::nullopt;
  return std::pair(begin, end);
}

}  // namespace

NpyHeader read_npy_header(const InputFile& file) {
  const std::string& path = file.path();
  unsigned char start[12] = {};
  const size_t size = std::min<size_t>(sizeof start, file.size());
  file.read(0, size, start);
  if (start[6] < 1 || start[6] > 3) {
    fail_file(path, concat("required a NumPy array of format version 1, 2 or 3, found ", int{start[6]}));
  }
  const bool is_short = start[6] == 1;
  uint32_t length = start[8] | static_cast<uint32_t>(start[9]) << 8;
  if (!is_short) length |= static_cast<uint32_t>(start[10]) << 16 | static_cast<uint32_t>(start[11]) << 24;
  const uint32_t text_begin = is_short ? 10 : 12;
  if (size < text_begin || length > max_header_bytes || text_begin + length > file.size()) {
    fail_file(path, concat("required the header of a NumPy array, found ", file.size(),
                           " bytes: the file is cut off or damaged"));
  }
  std::string text(length, '\0');
  file.read(text_begin, length, text.data());
  NpyHeader header;
  header.body = static_cast<int64_t>(text_begin) + length;
  header.type = type_of_descr(member(text, "descr", path), path);
  const std::string_view order = member(text, "fortran_order", path);
  if (order != "False") fail_file(path, concat("required fortran_order False, found ", one_line(order, 40)));
  const std::string_view shape = member(text, "shape", path);
  const auto num_ids = size_of_shape(shape);
  if (!num_ids) {
    fail_file(path, concat("required an array of one dimension, found shape ", one_line(shape, 60)));
  }
  if (*num_ids > static_cast<int64_t>(file.size())) {
    fail_file(path,
              concat("required ", *num_ids, " ids by its header, found ", file.size(), " bytes: the file is cut off"));
  }
  header.size = *num_ids;
  return header;
}

std::vector<int64_t> read_document_table(const std::string& path, const std::string& ids_path, int64_t num_tokens) {
  Lines lines(path);
  std::vector<int64_t> starts;
  int64_t end = 0;
  std::string_view line;
  for (int64_t number = 1; lines.next(line); ++number) {
    const auto range = range_of(line);
    if (!range) {
      fail_file(path, concat("line ", number, " required start,end of a document of ", ids_path, ", found ",
                             one_line(line, 60)));
    }
    if (range->first != end || range->second < range->first || range->second > num_tokens) {
      fail_file(path, concat("line ", number, " required a document from id ", end, " on that ends within the ",
                             num_tokens, " ids of ", ids_path, ", found ids ", range->first, " to ", range->second));
    }
    starts.push_back(range->first);
    end = range->second;
  }
  if (end != num_tokens) {
    fail_file(path, concat("required documents up to the end of the ", num_tokens, " ids of ", ids_path,
                           ", found their end at ", end));
  }
  starts.push_back(num_tokens);
  return starts;
}

}  // namespace artel

#include "data/text_blocks.h"

#include <algorithm>
#include <filesystem>

#include "util/error.h"
#include "util/json.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {
namespace {

constexpr size_t max_block_bytes = size_t{1} << 30;

std::string document_of_line(std::string_view line, const TextFormat& format, const std::string& where) {
  const Json row = parse_json(line, where);
  const auto found = row.is_object() ? row.find(format.field) : row.end();
  if (found == row.end() || !found->is_string()) {
    fail("data", concat(where, ": required an object with a text \"", format.field, "\", found ", excerpt_json(row),
                        "; name the field with --field"));
  }
  return found->get<std::string>();
}

int64_t for_each_line(const TextBlock& block, const TextFormat& format, const std::string& path,
                      const std::function<void(std::string_view)>& add) {
  int64_t num_empty = 0;
  int64_t number = block.begin.line;
  std::string_view rest = block.bytes;
  for (; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string document = document_of_line(line, format, concat(path, ":", number));
    if (document.empty()) {
      ++num_empty;
    } else {
      add(document);
    }
  }
  return num_empty;
}

}  // namespace

TextBlockReader::TextBlockReader(std::vector<std::string> inputs, TextFormat format,
                                 std::function<size_t(std::string_view)> safe_cut, BlockPosition start)
    : inputs_(std::move(inputs)), format_(std::move(format)), safe_cut_(std::move(safe_cut)), position_(start) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    std::error_code error;
    const auto size = std::filesystem::file_size(inputs_[i], error);
    if (error) fail("data", concat("cannot open ", inputs_[i], ": ", error.message()));
    stored_bytes_ += static_cast<int64_t>(size);
    if (static_cast<int64_t>(i) < position_.input) finished_bytes_ += static_cast<int64_t>(size);
  }
}

int64_t TextBlockReader::stored_bytes_read() const {
  return finished_bytes_ + (stream_ ? stream_->stored_bytes() : 0);
}

bool TextBlockReader::open_input() {
  if (position_.input >= static_cast<int64_t>(inputs_.size())) return false;
  stream_.emplace(inputs_[static_cast<size_t>(position_.input)]);
  stream_->skip(position_.offset);
  buffer_.clear();
  at_end_ = false;
  return true;
}

// Reads until the buffer has `size` bytes or the file ends; true: it has ended.
bool TextBlockReader::fill(size_t size) {
  while (!at_end_ && buffer_.size() < size) {
    const size_t before = buffer_.size();
    buffer_.resize(size);
    const size_t got = stream_->read(buffer_.data() + before, size - before);
    buffer_.resize(before + got);
    at_end_ = got == 0;
  }
  return at_end_;
}

// Whether a separator, or the beginning of one, stands over `place`.
bool TextBlockReader::cuts_separator(size_t place) const {
  const std::string_view separator = format_.separator;
  for (size_t i = 1; i < separator.size(); ++i) {
    if (place < i) continue;
    const std::string_view seen = std::string_view(buffer_).substr(place - i, separator.size());
    if (seen == separator.substr(0, seen.size())) return true;
  }
  return false;
}

// Where the next block may end within the buffer; 0: nowhere.
size_t TextBlockReader::cut_place() const {
  if (format_.jsonl) {
    const size_t line_end = buffer_.rfind('\n');
    return line_end == std::string::npos ? 0 : line_end + 1;
  }
  if (!format_.separator.empty()) {
    const size_t last = buffer_.rfind(format_.separator);
    if (last != std::string::npos) return last + format_.separator.size();
  }
  std::string_view rest = buffer_;
  size_t place = safe_cut_(rest);
  while (place > 0 && cuts_separator(place)) place = safe_cut_(rest = rest.substr(0, place));
  return place;
}

bool TextBlockReader::next(TextBlock& block) {
  while (true) {
    if (!stream_ && !open_input()) return false;
    size_t cut = 0;
    for (size_t size = block_bytes_; !fill(size) && (cut = cut_place()) == 0; size *= 2) {
      if (size < max_block_bytes) continue;
      fail("data", concat(stream_->path(), ": required ", format_.jsonl ? "a line end" : "a place to cut", " within ",
                          max_block_bytes, " bytes from byte ", position_.offset, ", found none"));
    }
    const bool ends = cut == 0;
    block.begin = position_;
    block.ends_input = ends;
    block.bytes.assign(buffer_, 0, ends ? buffer_.size() : cut);
    if (!ends) {
      const bool separated = !format_.separator.empty() && block.bytes.ends_with(format_.separator);
      buffer_.erase(0, cut);
      position_.offset += static_cast<int64_t>(cut);
      position_.line += std::count(block.bytes.begin(), block.bytes.end(), '\n');
      position_.in_document = !format_.jsonl && !separated;
    } else {
      finished_bytes_ += stream_->stored_bytes();
      stream_.reset();
      position_ = {position_.input + 1, 0, 1, false};
    }
    block.end = position_;
    if (!block.bytes.empty() || block.begin.in_document) return true;
  }
}

int64_t for_each_document(const TextBlock& block, const TextFormat& format, const std::string& path,
                          const std::function<void(const DocumentPart&)>& add) {
  std::string replaced;
  const auto part = [&](std::string_view text, bool begins, bool ends) {
    if (format.replace_invalid && utf8_valid_bytes(text) != text.size()) {
      replaced = replace_invalid_utf8(text);
      text = replaced;
    }
    add({text, begins, ends});
  };
  if (format.jsonl) {
    return for_each_line(block, format, path, [&](std::string_view document) { part(document, true, true); });
  }
  int64_t num_empty = 0;
  bool inside = block.begin.in_document;
  std::string_view rest = block.bytes;
  while (!format.separator.empty()) {
    const size_t end = rest.find(format.separator);
    if (end == std::string_view::npos) break;
    if (end > 0 || inside) {
      part(rest.substr(0, end), !inside, true);
    } else {
      ++num_empty;
    }
    inside = false;
    rest.remove_prefix(end + format.separator.size());
  }
  if (!rest.empty() || (block.ends_input && inside)) part(rest, !inside, block.ends_input);
  return num_empty;
}

}  // namespace artel

#include "data/token_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include "data/megatron_index.h"
#include "data/npy.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int64_t ids_at_once = 4096;

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("data", concat(path, ": ", text));
}

/// Converts ids and returns the largest, of which a negative one counts as larger than any other.
template <class T, class Out>
uint64_t widen(const unsigned char* bytes, int64_t count, Out* out) {
  uint64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    T id;
    std::memcpy(&id, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof id);
    const int64_t wide = +id;
    largest = std::max(largest, static_cast<uint64_t>(wide));
    out[i] = static_cast<Out>(wide);
  }
  return largest;
}

template <class Out>
uint64_t widen(TokenType type, const unsigned char* bytes, int64_t count, Out* out) {
  switch (type) {
    case TokenType::uint8:
      return widen<uint8_t>(bytes, count, out);
    case TokenType::uint16:
      return widen<uint16_t>(bytes, count, out);
    case TokenType::uint32:
      return widen<uint32_t>(bytes, count, out);
    case TokenType::int8:
      return widen<int8_t>(bytes, count, out);
    case TokenType::int16:
      return widen<int16_t>(bytes, count, out);
    case TokenType::int32:
      return widen<int32_t>(bytes, count, out);
    case TokenType::int64:
      break;
  }
  return widen<int64_t>(bytes, count, out);
}

/// Reads ids a part at a time; each(position of the part, its bytes, its ids, where they go) sees every part.
template <class Out, class Each>
void read_parts(const InputFile& file, const TokenLayout& layout, int64_t begin, int64_t count, Out* out,
                const Each& each) {
  unsigned char bytes[ids_at_once * sizeof(int64_t)];
  const int64_t width = token_type_size(layout.type);
  for (int64_t done = 0; done < count; done += ids_at_once) {
    const int64_t part = std::min(ids_at_once, count - done);
    file.read(static_cast<uint64_t>(layout.body + (begin + done) * width), static_cast<size_t>(part * width), bytes);
    each(begin + done, bytes, part, widen(layout.type, bytes, part, out + done));
  }
}

std::vector<std::string> shards_of(const std::string& path) {
  std::vector<std::string> paths = matching_files(path);
  if (paths.size() > 1) {
    std::erase_if(paths, [](const std::string& name) { return name.ends_with(".idx") || name.ends_with(".csv.gz"); });
  }
  if (paths.empty()) fail_file(path, "required a token file, found none there; make it or mend the path");
  for (const std::string& name : paths) {
    if (std::filesystem::is_directory(name)) {
      fail_file(name, "required a token file, found a directory; name a file in it, or several by a pattern");
    }
  }
  return paths;
}

}  // namespace

TokenFile::TokenFile(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids)
    : file_(token_ids_path(path)), vocab_size_(vocab_size) {
  if (vocab_size < 1 || vocab_size > std::numeric_limits<int32_t>::max()) {
    fail("data", concat("vocab_size required 1 to 2147483647, found ", vocab_size));
  }
  layout_ = examine_token_file(file_, dtype, num_ids > 0 ? num_ids : vocab_size);
}

int32_t TokenFile::at(int64_t position) const {
  int32_t id = 0;
  read(position, 1, &id);
  return id;
}

void TokenFile::fail_range(int64_t begin, int64_t count) const {
  fail_file(path(),
            concat("required a range within its ", size(), " ids, found ", count, " ids from position ", begin));
}

void TokenFile::require_range(int64_t begin, int64_t count) const {
  if (begin < 0 || count < 0 || begin > size() || count > size() - begin) fail_range(begin, count);
}

void TokenFile::read(int64_t begin, int64_t count, int32_t* out) const {
  require_range(begin, count);
  const auto vocab_size = static_cast<uint64_t>(vocab_size_);
  read_parts(file_, layout_, begin, count, out,
             [&](int64_t at, const unsigned char* bytes, int64_t size, uint64_t most) {
               if (most < vocab_size) return;
               int64_t ids[ids_at_once];
               widen(type(), bytes, size, ids);
               for (int64_t i = 0; i < size; ++i) {
                 if (ids[i] >= 0 && ids[i] < vocab_size_) continue;
                 fail_file(path(), concat("required ids below model.vocab_size ", vocab_size_, ", found id ", ids[i],
                                          " at position ", at + i, " (read as ", token_type_name(type()), ")"));
               }
             });
}

void TokenFile::read_any(int64_t begin, int64_t count, int64_t* out) const {
  require_range(begin, count);
  read_parts(file_, layout_, begin, count, out, [](int64_t, const unsigned char*, int64_t, uint64_t) {});
}

std::vector<int64_t> TokenFile::document_starts() const {
  if (!has_documents()) fail_file(path(), "required bounds of documents, found none beside the ids");
  if (layout_.format == TokenFormat::megatron) return MegatronIndex(layout_.bounds_path).document_starts();
  return read_document_table(layout_.bounds_path, path(), size());
}

TokenStream::TokenStream(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids)
    : path_(path), begins_{0} {
  for (const std::string& shard : shards_of(path)) {
    files_.emplace_back(shard, dtype, vocab_size, num_ids);
    begins_.push_back(begins_.back() + files_.back().size());
  }
}

void TokenStream::read(int64_t begin, int64_t count, int32_t* out) const {
  const auto file = std::upper_bound(begins_.begin() + 1, begins_.end() - 1, begin) - begins_.begin() - 1;
  for (auto i = static_cast<size_t>(file);; ++i) {
    const bool last = i + 1 == files_.size();
    const int64_t part = last ? count : std::min(count, begins_[i + 1] - begin);
    files_[i].read(begin - begins_[i], part, out);
    begin += part;
    count -= part;
    out += part;
    if (count == 0 || last) return;
  }
}

bool TokenStream::has_documents() const {
  return std::all_of(files_.begin(), files_.end(), [](const TokenFile& file) { return file.has_documents(); });
}

std::vector<int64_t> TokenStream::document_starts() const {
  std::vector<int64_t> starts;
  for (size_t i = 0; i < files_.size(); ++i) {
    const std::vector<int64_t> of_file = files_[i].document_starts();
    starts.reserve(starts.size() + of_file.size());
    for (size_t j = 0; j + 1 < of_file.size(); ++j) starts.push_back(begins_[i] + of_file[j]);
  }
  starts.push_back(size());
  return starts;
}

}  // namespace artel

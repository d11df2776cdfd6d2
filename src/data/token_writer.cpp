#include "data/token_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr size_t buffer_bytes = size_t{4} << 20;
constexpr int64_t shard_header_bytes = 1024;
constexpr int64_t max_shard_bytes = int64_t{1} << 31;  // what llm.c can seek in

template <typename Number>
void append_little_endian(std::string& out, Number number) {
  for (size_t i = 0; i < sizeof number; ++i) {
    out += static_cast<char>((static_cast<uint64_t>(number) >> (8 * i)) & 0xFFU);
  }
}

int32_t little_endian_int32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return static_cast<int32_t>(value);
}

std::string part_of(const std::string& path) {
  return path + ".part";
}

// Plain bytes from `begin` on: what is read here was written here, whatever packed file its first bytes look like.
void read_in_pieces(const std::string& path, uint64_t begin, const std::function<void(const char*, size_t)>& use) {
  const InputFile file(path);
  std::vector<char> bytes(buffer_bytes);
  while (begin < file.size()) {
    const auto size = static_cast<size_t>(std::min<uint64_t>(bytes.size(), file.size() - begin));
    file.read(begin, size, bytes.data());
    use(bytes.data(), size);
    begin += size;
  }
}

}  // namespace

TokenType token_type_for(TokenFormat format, int64_t num_ids) {
  constexpr int64_t megatron_limit = 65500;
  if (format == TokenFormat::raw) return default_token_type(num_ids);
  const int64_t limit = format == TokenFormat::megatron ? megatron_limit : 65537;
  return num_ids < limit ? TokenType::uint16 : TokenType::uint32;
}

TokenWriter::TokenWriter(FileLayer& files, TokenWriterOptions options, TokenWriterState state)
    : files_(files), options_(std::move(options)), width_(token_type_size(options_.type)), state_(state) {
  if (options_.format != TokenFormat::raw && options_.type == TokenType::uint8) {
    fail("data", "required uint16 or uint32 for this format, found uint8");
  }
  const int64_t max_shard_tokens = (max_shard_bytes - 1 - shard_header_bytes) / width_;
  if (options_.shard_tokens < 1 || options_.shard_tokens > max_shard_tokens) {
    fail("data", concat("--shard-tokens required 1 to ", max_shard_tokens, " (llm.c reads files below 2 GiB), found ",
                        options_.shard_tokens));
  }
  files_.make_directory(parent_directory(options_.prefix));
  tokens_.path = options_.prefix + ".bin";
  if (options_.format == TokenFormat::llmc) {
    const int64_t in_shard = state_.num_tokens % options_.shard_tokens;
    tokens_.path = shard_path(state_.num_tokens / options_.shard_tokens);
    if (in_shard > 0) open_part(tokens_, shard_header_bytes + in_shard * width_);
    return;
  }
  if (options_.format == TokenFormat::megatron) {
    lengths_.path = options_.prefix + ".lengths";
    const std::string index = options_.prefix + ".idx";
    const bool finished = state_.num_documents > 0 && !files_.exists(part_of(lengths_.path)) && files_.exists(index);
    if (finished) {
      finished_ = {tokens_.path, index};
      return;
    }
    open_part(lengths_, 4 * state_.num_documents);
  }
  open_part(tokens_, state_.num_tokens * width_);
}

std::string TokenWriter::shard_path(int64_t shard) const {
  std::string number = concat(shard);
  number.insert(0, 6 - std::min<size_t>(6, number.size()), '0');
  return concat(options_.prefix, '_', number, ".bin");
}

// With its first `size` bytes; a file that was completed after the state was saved is taken back.
void TokenWriter::open_part(Part& part, int64_t size) {
  const std::string path = part_of(part.path);
  if (size == 0) {
    part.file = files_.open_write(path);
    return files_.fsync_directory(parent_directory(path));
  }
  if (!files_.exists(path) && files_.exists(part.path)) files_.rename(part.path, path);
  std::error_code error;
  const auto found = std::filesystem::file_size(path, error);
  if (error || static_cast<int64_t>(found) < size) {
    fail("data", concat("cannot go on: required ", size, " bytes in ", path, ", found ",
                        error ? error.message() : concat(found, " bytes"), "; start anew with --restart"));
  }
  part.file = files_.open_append(path);
  files_.truncate(*part.file, static_cast<size_t>(size));
}

void TokenWriter::put(Part& part, const void* bytes, size_t size) {
  part.buffer.append(static_cast<const char*>(bytes), size);
  if (part.buffer.size() >= buffer_bytes) flush(part);
}

void TokenWriter::flush(Part& part) {
  if (part.buffer.empty()) return;
  files_.write(*part.file, part.buffer.data(), part.buffer.size());
  part.buffer.clear();
}

void TokenWriter::complete(Part& part) {
  flush(part);
  files_.fsync(*part.file);
  files_.close(*part.file);
  part.file.reset();
  files_.rename(part_of(part.path), part.path);
  files_.fsync_directory(parent_directory(part.path));
  finished_.push_back(part.path);
}

std::string TokenWriter::shard_header(int64_t num_tokens) const {
  const bool narrow = options_.type == TokenType::uint16;
  std::string header;
  append_little_endian<uint32_t>(header, narrow ? 20240520 : 20240801);
  append_little_endian<uint32_t>(header, narrow ? 1 : 7);
  append_little_endian<uint32_t>(header, static_cast<uint32_t>(num_tokens));
  header.resize(static_cast<size_t>(shard_header_bytes));
  return header;
}

void TokenWriter::put_ids(const int32_t* ids, int64_t count) {
  std::array<unsigned char, 4096> bytes;
  const auto at_once = static_cast<int64_t>(bytes.size()) / width_;
  for (int64_t done = 0; done < count; done += at_once) {
    const int64_t now = std::min(at_once, count - done);
    size_t size = 0;
    for (int64_t i = done; i < done + now; ++i) {
      for (int64_t byte = 0; byte < width_; ++byte) {
        bytes[size++] = static_cast<unsigned char>(static_cast<uint32_t>(ids[i]) >> (8 * byte));
      }
    }
    put(tokens_, bytes.data(), size);
  }
  state_.num_tokens += count;
}

void TokenWriter::put_ids_of_shard(const int32_t* ids, int64_t count) {
  while (count > 0) {
    const int64_t in_shard = state_.num_tokens % options_.shard_tokens;
    if (!tokens_.file) {
      tokens_.path = shard_path(state_.num_tokens / options_.shard_tokens);
      open_part(tokens_, 0);
      const std::string header = shard_header(options_.shard_tokens);
      put(tokens_, header.data(), header.size());
    }
    const int64_t now = std::min(count, options_.shard_tokens - in_shard);
    put_ids(ids, now);
    ids += now;
    count -= now;
    if (in_shard + now == options_.shard_tokens) complete(tokens_);
  }
}

void TokenWriter::append(const std::vector<int32_t>& ids, const std::vector<int64_t>& ends) {
  const auto count = static_cast<int64_t>(ids.size());
  if (options_.format == TokenFormat::llmc) {
    put_ids_of_shard(ids.data(), count);
  } else {
    put_ids(ids.data(), count);
  }
  int64_t before = 0;
  for (const int64_t end : ends) {
    const int64_t length = state_.document_tokens + end - before;
    before = end;
    state_.document_tokens = 0;
    if (length == 0) continue;
    if (length > std::numeric_limits<int32_t>::max()) {
      fail("data", concat("required documents of at most 2147483647 ids, found one of ", length));
    }
    if (options_.format == TokenFormat::megatron) {
      std::string bytes;
      append_little_endian(bytes, static_cast<int32_t>(length));
      put(lengths_, bytes.data(), bytes.size());
    }
    ++state_.num_documents;
  }
  state_.document_tokens += count - before;
}

TokenWriterState TokenWriter::sync() {
  for (Part* part : {&tokens_, &lengths_}) {
    if (!part->file) continue;
    flush(*part);
    files_.fsync(*part->file);
  }
  return state_;
}

void TokenWriter::finish() {
  if (options_.format == TokenFormat::llmc) return finish_shards();
  if (!tokens_.file) return;  // it was finished before
  if (options_.format == TokenFormat::megatron) finish_index();
  complete(tokens_);
  if (options_.format == TokenFormat::megatron) files_.remove(part_of(lengths_.path));
}

// The header of the last shard promises more ids than there are: it is written again.
void TokenWriter::finish_shards() {
  if (!tokens_.file) return;
  const int64_t in_shard = state_.num_tokens % options_.shard_tokens;
  flush(tokens_);
  files_.close(*tokens_.file);
  tokens_.file.reset();
  const std::string last = tokens_.path + ".last";
  Part copy;
  copy.file = files_.open_write(last);
  copy.buffer = shard_header(in_shard);
  read_in_pieces(part_of(tokens_.path), shard_header_bytes,
                 [&](const char* bytes, size_t size) { put(copy, bytes, size); });
  flush(copy);
  files_.fsync(*copy.file);
  files_.close(*copy.file);
  files_.rename(last, tokens_.path);
  files_.fsync_directory(parent_directory(last));
  files_.remove(part_of(tokens_.path));
  finished_.push_back(tokens_.path);
}

void TokenWriter::finish_index() {
  flush(lengths_);
  files_.fsync(*lengths_.file);
  files_.close(*lengths_.file);
  lengths_.file.reset();
  Part index;
  index.path = options_.prefix + ".idx";
  index.file = files_.open_write(part_of(index.path));
  write_index(index);
  complete(index);
}

void TokenWriter::for_each_length(const std::function<void(int32_t)>& add) {
  read_in_pieces(part_of(lengths_.path), 0, [&add](const char* bytes, size_t size) {
    for (size_t i = 0; i + 4 <= size; i += 4) add(little_endian_int32(bytes + i));
  });
}

// Magic, version, type, how many sequences and documents, lengths, byte offsets, first sequence of each document.
void TokenWriter::write_index(Part& index) {
  constexpr uint8_t code_uint16 = 8, code_int32 = 4;
  std::string header("MMIDIDX\0\0", 9);
  append_little_endian<uint64_t>(header, 1);
  header += static_cast<char>(options_.type == TokenType::uint16 ? code_uint16 : code_int32);
  append_little_endian(header, state_.num_documents);
  append_little_endian(header, state_.num_documents + 1);
  put(index, header.data(), header.size());
  const auto put_number = [&](auto number) {
    std::string bytes;
    append_little_endian(bytes, number);
    put(index, bytes.data(), bytes.size());
  };
  for_each_length([&](int32_t length) { put_number(length); });
  int64_t offset = 0;
  for_each_length([&](int32_t length) {
    put_number(offset);
    offset += length * width_;
  });
  for (int64_t document = 0; document <= state_.num_documents; ++document) put_number(document);
}

}  // namespace artel

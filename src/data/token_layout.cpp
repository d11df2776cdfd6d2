#include "data/token_layout.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "data/megatron_index.h"
#include "data/npy.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int64_t header_bytes = 1024;  // of llm.c
constexpr uint32_t magic_uint16 = 20240520, magic_uint32 = 20240801;
constexpr int32_t version_uint16 = 1, version_uint32 = 7;

// Formats that people may point at by mistake; their bytes would pass for tokens.
struct ForeignFormat {
  std::string_view magic;
  const char* name;
  const char* advice;
};
constexpr ForeignFormat foreign_formats[] = {
    {std::string_view("\x8a\xd8\x34\x01", 4), "an evaluation file of llm.c", "name it under validation.tasks"},
    {std::string_view("\xc6\xd7\x34\x01", 4), "a model file of llm.c", "convert it to a plain stream of ids"},
    {std::string_view("MMIDIDX\0\0", 9), "the index of a Megatron data set",
     "give it a name ending in .idx beside its .bin"},
    {std::string_view("\x1f\x8b", 2), "a gzip archive", "convert it to a plain stream of ids"},
};

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("data", concat(path, ": ", text));
}

std::string with_ending(const std::string& path, std::string_view old_ending, std::string_view ending) {
  return concat(path.substr(0, path.size() - old_ending.size()), ending);
}

uint32_t little_endian(const unsigned char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(bytes[i]) << (8 * i);
  return value;
}

/// Looks at one file.
class Examiner {
 public:
  Examiner(const InputFile& file, std::string_view dtype, int64_t num_ids)
      : file_(file), path_(file.path()), dtype_(dtype), num_ids_(num_ids), bytes_(static_cast<int64_t>(file.size())) {}

  TokenLayout examine() {
    if (dtype_ != "auto" && !named_token_type(dtype_)) {
      fail_file(path_, concat("dtype required auto, uint8, uint16 or uint32, found ", dtype_));
    }
    if (bytes_ == 0) fail_file(path_, "required token ids, found an empty file (0 bytes)");
    start_size_ = static_cast<size_t>(std::min<int64_t>(bytes_, sizeof start_));
    file_.read(0, start_size_, start_);
    if (path_.ends_with(".bin")) {
      const std::string index = with_ending(path_, ".bin", ".idx");
      std::error_code status;
      if (std::filesystem::exists(index, status)) return megatron(index);
    }
    refuse_foreign();
    if (begins_with(npy_magic)) return npy();
    const uint32_t magic = start_size_ >= 4 ? little_endian(start_) : 0;
    if (magic == magic_uint16 || magic == magic_uint32) return llmc(magic);
    return headerless();
  }

 private:
  bool begins_with(std::string_view magic) const {
    return start_size_ >= magic.size() && std::memcmp(start_, magic.data(), magic.size()) == 0;
  }

  void refuse_foreign() const {
    for (const ForeignFormat& format : foreign_formats) {
      if (!begins_with(format.magic)) continue;
      fail_file(path_, concat("required token ids, found ", format.name, " (by its first ", format.magic.size(),
                              " bytes); ", format.advice));
    }
  }

  void require_dtype(TokenType type, const std::string& reason) const {
    if (dtype_ == "auto" || named_token_type(dtype_) == type) return;
    fail_file(path_, concat("dtype required auto or ", token_type_name(type), " (", reason, "), found ", dtype_));
  }

  void require_bytes(int64_t expected, int64_t num_tokens, TokenType type) const {
    if (bytes_ == expected) return;
    fail_file(path_, concat("required ", expected, " bytes (", num_tokens, " ", token_type_name(type),
                            " ids by its header), found ", bytes_, ": the file ",
                            bytes_ < expected ? "is cut off at byte " : "has bytes that do not belong from byte ",
                            std::min(bytes_, expected)));
  }

  TokenLayout megatron(const std::string& index_path) const {
    const MegatronIndex index(index_path);
    require_dtype(index.type(), "by " + index_path);
    index.require_ids(path_, bytes_);
    return {TokenFormat::megatron, index.type(), 0, bytes_ / token_type_size(index.type()), index_path};
  }

  TokenLayout npy() const {
    const NpyHeader header = read_npy_header(file_);
    require_dtype(header.type, "by its header");
    if (header.size < 1) fail_file(path_, "required at least 1 id, found an array of none");
    require_bytes(header.body + header.size * token_type_size(header.type), header.size, header.type);
    return {TokenFormat::npy, header.type, header.body, header.size, sidecar()};
  }

  TokenLayout llmc(uint32_t magic) const {
    const TokenType type = magic == magic_uint16 ? TokenType::uint16 : TokenType::uint32;
    require_dtype(type, concat("header with magic ", magic, " at byte 0"));
    if (bytes_ < header_bytes) {
      fail_file(path_, concat("required a header of ", header_bytes, " bytes (magic ", magic, " at byte 0), found ",
                              bytes_, " bytes: the file is cut off at byte ", bytes_));
    }
    const auto version = static_cast<int32_t>(little_endian(start_ + 4));
    const int32_t wanted = type == TokenType::uint16 ? version_uint16 : version_uint32;
    if (version != wanted) {
      fail_file(path_, concat("required version ", wanted, " at byte 4 of the header, found ", version,
                              "; write the file again with a current tool"));
    }
    const auto num_tokens = static_cast<int32_t>(little_endian(start_ + 8));
    if (num_tokens < 1) {
      fail_file(path_, concat("required at least 1 token at byte 8 of the header, found ", num_tokens));
    }
    require_bytes(header_bytes + token_type_size(type) * num_tokens, num_tokens, type);
    return {TokenFormat::llmc, type, header_bytes, num_tokens};
  }

  TokenLayout headerless() const {
    const bool is_npy = path_.ends_with(".npy");
    const int64_t num_ids = is_npy ? std::max<int64_t>(num_ids_, 257) : num_ids_;  // these are never bytes
    const TokenType type = dtype_ == "auto" ? default_token_type(num_ids) : *named_token_type(dtype_);
    const int64_t width = token_type_size(type);
    if (bytes_ % width != 0) {
      fail_file(path_, concat("required a whole number of ", token_type_name(type), " ids, found ", bytes_,
                              " bytes: the id at position ", bytes_ / width, " (byte ", bytes_ / width * width,
                              ") is cut off; is the file complete, and is data.dtype right?"));
    }
    return {is_npy ? TokenFormat::raw_npy : TokenFormat::raw, type, 0, bytes_ / width, is_npy ? sidecar() : ""};
  }

  // NAME.csv.gz beside NAME.npy has the bounds of the documents.
  std::string sidecar() const {
    if (!path_.ends_with(".npy")) return {};
    const std::string path = with_ending(path_, ".npy", ".csv.gz");
    std::error_code status;
    return std::filesystem::exists(path, status) ? path : std::string();
  }

  const InputFile& file_;
  const std::string& path_;
  std::string_view dtype_;
  int64_t num_ids_;
  int64_t bytes_;
  unsigned char start_[16] = {};
  size_t start_size_ = 0;
};

}  // namespace

const char* token_format_name(TokenFormat format) {
  switch (format) {
    case TokenFormat::llmc:
      return "llm.c";
    case TokenFormat::megatron:
      return "Megatron";
    case TokenFormat::npy:
      return "npy";
    case TokenFormat::raw_npy:
      return "raw npy";
    case TokenFormat::raw:
      break;
  }
  return "raw";
}

std::string token_ids_path(const std::string& path) {
  return path.ends_with(".idx") ? with_ending(path, ".idx", ".bin") : path;
}

TokenLayout examine_token_file(const InputFile& file, std::string_view dtype, int64_t num_ids) {
  return Examiner(file, dtype, num_ids).examine();
}

}  // namespace artel

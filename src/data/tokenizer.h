#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// Text to token ids and back.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids are 0 .. num_ids() - 1; the model's vocab_size may be larger.
  virtual int64_t num_ids() const = 0;
  /// The id that ends a document.
  virtual int32_t end_of_document() const = 0;
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  /// Throws Error naming position and id when an id is not of this tokenizer.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;
};

/// One id per byte, 0 to 255; byte 0 ends a document.
class ByteTokenizer : public Tokenizer {
 public:
  int64_t num_ids() const override { return 256; }
  int32_t end_of_document() const override { return 0; }
  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
};

/// Whether this build has the tokenizer that data.tokenizer names.
bool is_known_tokenizer(std::string_view name);

/// The tokenizer that data.tokenizer names. Throws Error for anything but "bytes".
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

}  // namespace artel

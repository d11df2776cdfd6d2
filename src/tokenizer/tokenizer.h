#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// Turns text into ids for one thread, with memory of its own that makes the next texts faster. Its tokenizer must
/// outlive it.
class Encoder {
 public:
  virtual ~Encoder() = default;

  /// Appends the ids of `text` to `ids`.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) = 0;
};

/// Text to token ids and back. Safe from any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids are below num_ids(), but not every number there need be one (has_id); the model's vocab_size may be larger.
  virtual int64_t num_ids() const = 0;
  /// Whether a token has this id.
  virtual bool has_id(int64_t id) const { return id >= 0 && id < num_ids(); }
  /// The numbers below num_ids() that no token has, ascending.
  std::vector<int32_t> missing_ids() const;
  /// Whether the token of this id marks something (the end of a document, for one) and is no part of a text.
  virtual bool is_special(int32_t id) const { return has_end_of_document() && id == end_of_document(); }
  /// Whether this tokenizer has an id that ends a document.
  virtual bool has_end_of_document() const { return true; }
  /// The id that ends a document. Throws Error when there is none.
  virtual int32_t end_of_document() const = 0;
  /// The id of the token that is written like this; none: there is no such token.
  virtual std::optional<int32_t> find_token(std::string_view token) const = 0;

  virtual std::unique_ptr<Encoder> make_encoder() const = 0;
  /// The same for one text; for many texts an encoder of their own is faster.
  std::vector<int32_t> encode(std::string_view text) const;
  /// Throws Error naming position and id when an id is not of this tokenizer.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;

  /// The last place 0 < p < text.size() where `text` may be cut: whatever text follows, and whatever went before if
  /// `text` itself began at such a place, the ids of the whole are those of text[0, p) and then those of text[p, …).
  /// 0: none was found.
  virtual size_t safe_cut(std::string_view text) const = 0;

  /// Byte values that no token stands for, which encode() leaves out as the reference does: none for a whole tokenizer.
  virtual std::vector<int32_t> missing_bytes() const { return {}; }
};

/// One id per byte, 0 to 255; byte 0 ends a document.
class ByteTokenizer : public Tokenizer {
 public:
  int64_t num_ids() const override { return 256; }
  int32_t end_of_document() const override { return 0; }
  std::optional<int32_t> find_token(std::string_view token) const override;
  std::unique_ptr<Encoder> make_encoder() const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
  size_t safe_cut(std::string_view text) const override;
};

/// Whether make_tokenizer has something to open under this name: "bytes", or a file that is there.
bool is_known_tokenizer(std::string_view name);

/// The files that make_tokenizer reads for this name; none for "bytes".
std::vector<std::string> tokenizer_files(std::string_view name);

/// The tokenizer that data.tokenizer names: "bytes"; the path of a Hugging Face `tokenizer.json` or of a directory with
/// one; the path of a tiktoken file, whose split pattern stands before a colon (`llama3:tokenizer.model`) or in the
/// file's name (`cl100k_base.tiktoken`). Throws Error naming what is not supported.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

}  // namespace artel

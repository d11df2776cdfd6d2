#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace artel {

/// How a token file stores one id, little-endian.
enum class TokenType { uint8, uint16, uint32, int8, int16, int32, int64 };

/// Bytes per id.
int64_t token_type_size(TokenType type);
/// "uint8", "int64" and so on.
std::string token_type_name(TokenType type);

/// The type that `dtype: auto` means for a file without a header: the narrowest that holds `num_ids` ids (of the
/// tokenizer): uint8 up to 256 (bytes), uint16 up to 65536, else uint32.
TokenType default_token_type(int64_t num_ids);

/// The type of a headerless file that a config names: uint8, uint16 or uint32; nothing for another name.
std::optional<TokenType> named_token_type(std::string_view name);

}  // namespace artel

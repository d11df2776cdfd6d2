#include "data/token_type.h"

namespace artel {

int64_t token_type_size(TokenType type) {
  switch (type) {
    case TokenType::uint8:
    case TokenType::int8:
      return 1;
    case TokenType::uint16:
    case TokenType::int16:
      return 2;
    case TokenType::uint32:
    case TokenType::int32:
      return 4;
    case TokenType::int64:
      break;
  }
  return 8;
}

std::string token_type_name(TokenType type) {
  switch (type) {
    case TokenType::uint8:
      return "uint8";
    case TokenType::uint16:
      return "uint16";
    case TokenType::uint32:
      return "uint32";
    case TokenType::int8:
      return "int8";
    case TokenType::int16:
      return "int16";
    case TokenType::int32:
      return "int32";
    case TokenType::int64:
      break;
  }
  return "int64";
}

TokenType default_token_type(int64_t num_ids) {
  return num_ids <= 256 ? TokenType::uint8 : num_ids <= 65536 ? TokenType::uint16 : TokenType::uint32;
}

std::optional<TokenType> named_token_type(std::string_view name) {
  for (const TokenType type : {TokenType::uint8, TokenType::uint16, TokenType::uint32}) {
    if (name == token_type_name(type)) return type;
  }
  return std::nullopt;
}

}  // namespace artel

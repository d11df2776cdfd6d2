#include "util/one_line.h"

#include <algorithm>

namespace artel {

std::string one_line(std::string_view text, size_t max_bytes) {
  size_t length = std::min(text.size(), max_bytes);
  while (length > 0 && length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U) --length;
  std::string line(text.substr(0, length));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  if (length < text.size()) line += "…";
  return line;
}

}  // namespace artel

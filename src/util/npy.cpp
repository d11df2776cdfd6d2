#include "util/npy.h"

#include "util/text.h"

namespace artel {

std::string npy_header(const std::string& type, const std::vector<std::int64_t>& shape) {
  std::string dims;
  for (const std::int64_t dim : shape) dims += concat(dim, ", ");
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  std::string text = concat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", dims, "), }");
  constexpr std::size_t preamble = 10;  // magic, version, length
  constexpr std::size_t alignment = 64;
  text.resize((preamble + text.size() + 1 + alignment - 1) / alignment * alignment - preamble - 1, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace artel

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace artel {

/// The first bytes of a .npy file (format version 1.0) of a C-ordered array: `type` as NumPy writes it ("<f4").
std::string npy_header(const std::string& type, const std::vector<std::int64_t>& shape);

}  // namespace artel

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace artel {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `size` bytes, as in iSCSI, ext4 and TensorBoard.
/// Chainable: crc32c(b, n, crc32c(a, m)) is the checksum of the m bytes of `a` followed by the n bytes of `b`.
uint32_t crc32c(const void* data, size_t size, uint32_t seed = 0);

/// The same function without processor-specific instructions.
uint32_t crc32c_portable(const void* data, size_t size, uint32_t seed = 0);

/// Eight lower-case hexadecimal digits, most significant first.
std::string crc32c_hex(uint32_t crc);

}  // namespace artel

#include "util/crc32c.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/catch.h"

using namespace artel;

namespace {

// Bit by bit from the definition.
uint32_t reference(const unsigned char* bytes, size_t size) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) != 0u ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return ~crc;
}

// TensorBoard's masking of a checksum.
uint32_t masked(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

TEST_CASE("crc32c gives the published values") {
  CHECK(crc32c_hex(crc32c("123456789", 9)) == "e3069283");
  CHECK(crc32c("", 0) == 0u);
  CHECK(crc32c(nullptr, 0) == 0u);
  // RFC 3720, appendix B.4
  const std::vector<unsigned char> zeros(32, 0), ones(32, 0xff);
  std::vector<unsigned char> rising(32);
  for (size_t i = 0; i < 32; ++i) rising[i] = static_cast<unsigned char>(i);
  CHECK(crc32c(zeros.data(), 32) == 0x8a9136aau);
  CHECK(crc32c(ones.data(), 32) == 0x62a8ab43u);
  CHECK(crc32c(rising.data(), 32) == 0x46dd794eu);
}

TEST_CASE("crc32c masked gives the checksums of a TensorBoard record") {
  const unsigned char length[8] = {0x18};
  const unsigned char data[24] = {0x09, 0,    0,    0,    0,    0,    0,    0xf0, 0x3f, 0x1a, 0x0d, 0x62,
                                  0x72, 0x61, 0x69, 0x6e, 0x2e, 0x45, 0x76, 0x65, 0x6e, 0x74, 0x3a, 0x32};
  CHECK(masked(crc32c(length, sizeof length)) == 0x224b7fa3u);
  CHECK(masked(crc32c(data, sizeof data)) == 0x7a57bf86u);
}

TEST_CASE("crc32c agrees with its definition at every length and alignment, on both paths, chained anywhere") {
  std::mt19937 random(7);
  std::vector<unsigned char> bytes(300);
  for (auto& byte : bytes) byte = static_cast<unsigned char>(random());
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; size + begin <= bytes.size(); size += size < 40 ? 1 : 37) {
      const unsigned char* data = bytes.data() + begin;
      const uint32_t expected = reference(data, size);
      REQUIRE(crc32c(data, size) == expected);
      REQUIRE(crc32c_portable(data, size) == expected);
      const size_t cut = random() % (size + 1);
      REQUIRE(crc32c(data + cut, size - cut, crc32c(data, cut)) == expected);
      REQUIRE(crc32c_portable(data + cut, size - cut, crc32c_portable(data, cut)) == expected);
    }
  }
}

TEST_CASE("crc32c_hex has eight lower-case digits") {
  CHECK(crc32c_hex(0) == "00000000");
  CHECK(crc32c_hex(0xabcdu) == "0000abcd");
  CHECK(crc32c_hex(0xffffffffu) == "ffffffff");
}

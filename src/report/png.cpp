#include "report/png.h"

#include <algorithm>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

void append_big_endian(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((value >> shift) & 0xFFU);
}

// CRC-32 of ISO 3309, which PNG prescribes; checkpoints use another polynomial.
uint32_t png_crc(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

uint32_t adler32(std::string_view bytes) {
  uint32_t low = 1;
  uint32_t high = 0;
  for (const char byte : bytes) {
    low = (low + static_cast<unsigned char>(byte)) % 65521U;
    high = (high + low) % 65521U;
  }
  return (high << 16) | low;
}

void append_chunk(std::string& out, const std::string& type, const std::string& data) {
  append_big_endian(out, static_cast<uint32_t>(data.size()));
  out += type + data;
  append_big_endian(out, png_crc(type + data));
}

// A zlib stream of stored blocks.
std::string stored_stream(const std::string& bytes) {
  constexpr size_t max_block = 65535;
  std::string out = "\x78\x01";
  for (size_t begin = 0; begin < bytes.size() || begin == 0; begin += max_block) {
    const size_t size = std::min(max_block, bytes.size() - begin);
    const auto length = static_cast<unsigned>(size);
    out += begin + size == bytes.size() ? '\1' : '\0';
    for (const unsigned value : {length, ~length}) {
      out += static_cast<char>(value & 0xFFU);
      out += static_cast<char>((value >> 8) & 0xFFU);
    }
    out.append(bytes, begin, size);
  }
  append_big_endian(out, adler32(bytes));
  return out;
}

}  // namespace

std::string encode_png(size_t width, size_t height, const std::vector<uint8_t>& pixels,
                       const std::vector<Colour>& palette) {
  if (width == 0 || height == 0 || pixels.size() != width * height || palette.empty() || palette.size() > 256) {
    fail("png", concat("required width x height pixels and 1 to 256 colours, found ", width, " x ", height, ", ",
                       pixels.size(), " pixels, ", palette.size(), " colours"));
  }
  if (*std::max_element(pixels.begin(), pixels.end()) >= palette.size()) {
    fail("png", "required indices within the palette, found one beyond");
  }
  std::string header;
  append_big_endian(header, static_cast<uint32_t>(width));
  append_big_endian(header, static_cast<uint32_t>(height));
  header += std::string("\x08\x03\0\0\0", 5);  // 8 bits, indexed, deflate, no filter, not interlaced
  std::string colours;
  std::string alphas;
  for (const Colour& colour : palette) {
    for (const uint8_t part : {colour.red, colour.green, colour.blue}) colours += static_cast<char>(part);
    alphas += static_cast<char>(colour.alpha);
  }
  std::string rows;
  for (size_t row = 0; row < height; ++row) {
    rows += '\0';
    for (size_t column = 0; column < width; ++column) rows += static_cast<char>(pixels[row * width + column]);
  }
  std::string out = "\x89PNG\r\n\x1a\n";
  append_chunk(out, "IHDR", header);
  append_chunk(out, "PLTE", colours);
  append_chunk(out, "tRNS", alphas);
  append_chunk(out, "IDAT", stored_stream(rows));
  append_chunk(out, "IEND", "");
  return out;
}

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t begin = 0; begin < bytes.size(); begin += 3) {
    const size_t size = std::min<size_t>(3, bytes.size() - begin);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = (group << 8) | (i < size ? static_cast<unsigned char>(bytes[begin + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) out += i <= size ? letters[(group >> (18 - 6 * i)) & 63U] : '=';
  }
  return out;
}

}  // namespace artel

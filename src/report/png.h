#pragma once
// The small part of PNG that a heat map needs: an indexed image, stored without compression.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

struct Colour {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;
  uint8_t alpha = 255;  ///< 0 lets through what lies behind the image
};

/// A PNG file of `width` x `height` pixels, each an index into `palette`; `pixels` is row-major, [height, width].
/// Throws Error when the sizes do not agree or an index lies beyond the palette.
std::string encode_png(size_t width, size_t height, const std::vector<uint8_t>& pixels,
                       const std::vector<Colour>& palette);

std::string encode_base64(std::string_view bytes);

}  // namespace artel

#include "core/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/catch.h"

using namespace artel;

namespace {

float from_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// The bf16 nearest to x by search through all of them, an even last bit at a tie.
std::uint16_t nearest_by_search(double x) {
  double best_distance = std::numeric_limits<double>::infinity();
  std::uint16_t best = 0;
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const double candidate = from_bits(bits << 16);
    if (!std::isfinite(candidate) || std::signbit(candidate) != std::signbit(x)) continue;
    const double distance = std::fabs(candidate - x);
    if (distance < best_distance || (distance == best_distance && (bits & 1U) == 0)) {
      best_distance = distance;
      best = static_cast<std::uint16_t>(bits);
    }
  }
  return best;
}

}  // namespace

TEST_CASE("Every bf16 survives the way to float and back") {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const bf16 x{static_cast<std::uint16_t>(bits)};
    const bf16 back = to_bf16(to_float(x));
    if (std::isnan(to_float(x))) {
      REQUIRE(std::isnan(to_float(back)));
      REQUIRE((back.bits | 0x40U) == (bits | 0x40U));  // sign and payload stay, a signalling NaN becomes quiet
    } else {
      REQUIRE(back.bits == bits);
    }
  }
}

TEST_CASE("Rounding to bf16 takes the nearest value and the even one of two") {
  const std::vector<float> values = {0.0F,
                                     -0.0F,
                                     1.0F,
                                     -3.14159265F,
                                     from_bits(0x3f808000U),   // a tie: down to the even 0x3f80
                                     from_bits(0x3f818000U),   // a tie: up to the even 0x3f82
                                     from_bits(0x3f807fffU),   // just below a tie
                                     from_bits(0x3f808001U),   // just above a tie
                                     from_bits(0xbf818000U),   // a negative tie
                                     from_bits(0x3fffffffU),   // carries into the exponent
                                     from_bits(0x00000001U),   // the smallest denormal
                                     from_bits(0x00018000U),   // a tie among denormals
                                     from_bits(0x007fffffU),   // the largest denormal becomes normal
                                     from_bits(0x7f7f7fffU)};  // the largest that stays finite
  for (const float x : values) {
    CAPTURE(x);
    CHECK(to_bf16(x).bits == nearest_by_search(x));
  }
  CHECK(to_bf16(from_bits(0x3f808000U)).bits == 0x3f80);
  CHECK(to_bf16(from_bits(0x3f818000U)).bits == 0x3f82);
}

TEST_CASE("Rounding to bf16 keeps infinities, overflows to them, and keeps NaN") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(to_bf16(infinity).bits == 0x7f80);
  CHECK(to_bf16(-infinity).bits == 0xff80);
  CHECK(to_bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(to_bf16(-std::numeric_limits<float>::max()).bits == 0xff80);
  CHECK(to_bf16(from_bits(0x7f7f8000U)).bits == 0x7f80);  // the tie next to infinity
  // NaNs whose payload lies in the lower half, or that a plain addition would carry out of, included.
  for (const std::uint32_t bits : {0x7fc00000U, 0xffc00000U, 0x7f800001U, 0xff800001U, 0x7fffffffU, 0xffffffffU}) {
    CAPTURE(bits);
    const bf16 rounded = to_bf16(from_bits(bits));
    CHECK(std::isnan(to_float(rounded)));
    CHECK((rounded.bits >> 15) == (bits >> 31));
  }
}

TEST_CASE("Element types have the sizes and names that files and errors use") {
  CHECK(dtype_size(DType::f32) == sizeof(float));
  CHECK(dtype_size(DType::bf16) == sizeof(bf16));
  CHECK(dtype_size(DType::f64) == sizeof(double));
  CHECK(dtype_size(DType::i32) == sizeof(std::int32_t));
  CHECK(std::string(dtype_name(DType::f32)) == "f32");
  CHECK(std::string(dtype_name(DType::bf16)) == "bf16");
  CHECK(std::string(dtype_name(DType::f64)) == "f64");
  CHECK(std::string(dtype_name(DType::i32)) == "i32");
}

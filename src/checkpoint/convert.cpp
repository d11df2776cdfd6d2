#include "checkpoint/convert.h"

#include <cmath>
#include <cstring>

#include "util/error.h"

namespace artel {
namespace {

template <class T, class Round>
bool scale(std::vector<std::uint8_t>& elements, float factor, const Round& rounded) {
  bool finite = true;
  for (std::size_t at = 0; at < elements.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, elements.data() + at, sizeof value);
    value = rounded(to_float(value) * factor);
    finite = finite && std::isfinite(to_float(value));
    std::memcpy(elements.data() + at, &value, sizeof value);
  }
  return finite;
}

}  // namespace

bool is_convertible(DType from, DType to) {
  const auto is_real = [](DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; };
  return from == to || (is_real(from) && is_real(to));
}

void convert_elements(const std::vector<std::uint8_t>& from, DType from_type, DType to_type,
                      std::vector<std::uint8_t>& to) {
  require(is_convertible(from_type, to_type), "checkpoint", "required types that convert into each other");
  if (from_type == to_type) {
    to = from;
    return;
  }
  const std::size_t count = from.size() / dtype_size(from_type);
  to.resize(count * dtype_size(to_type));
  for (std::size_t i = 0; i < count; ++i) {
    if (from_type == DType::bf16) {
      bf16 x;
      std::memcpy(&x, from.data() + i * 2, sizeof x);
      const float value = to_float(x);
      std::memcpy(to.data() + i * 4, &value, sizeof value);
    } else {
      float x = 0.0F;
      std::memcpy(&x, from.data() + i * 4, sizeof x);
      const bf16 value = to_bf16(x);
      std::memcpy(to.data() + i * 2, &value, sizeof value);
    }
  }
}

bool scale_elements(std::vector<std::uint8_t>& elements, DType dtype, float factor) {
  require(is_convertible(dtype, DType::f32), "checkpoint", "required f32 or bf16 to scale");
  if (dtype == DType::bf16) return scale<bf16>(elements, factor, to_bf16);
  return scale<float>(elements, factor, [](float x) { return x; });
}

}  // namespace artel

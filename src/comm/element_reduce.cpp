#include "comm/element_reduce.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "util/error.h"

namespace artel {
namespace {

// Elements that are summed over all parts before the next: small enough to stay in the nearest cache, and copied out
// only then, since `out` may be one of the parts.
constexpr std::int64_t block = 1024;

template <class T>
T load(const T& x) {
  return x;
}
float load(const bf16& x) {
  return to_float(x);
}
template <class T>
void store(T x, T& out) {
  out = x;
}
void store(float x, bf16& out) {
  out = to_bf16(x);
}

template <class A>
bool is_nan(A x) {
  if constexpr (std::is_floating_point_v<A>) return std::isnan(x);
  return false;
}

template <class A>
A combine(Reduction reduction, A a, A b) {
  switch (reduction) {
    case Reduction::sum:
      if constexpr (std::is_integral_v<A>) {
        using Unsigned = std::make_unsigned_t<A>;
        return static_cast<A>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
      } else {
        return a + b;
      }
    case Reduction::max:
      return b > a || is_nan(b) ? b : a;  // a NaN in a stays: it compares with nothing
    case Reduction::min:
      return b < a || is_nan(b) ? b : a;
  }
  return a;
}

template <Reduction reduction, class T>
void reduce_typed(std::span<const std::byte* const> parts, std::int64_t count, std::byte* out) {
  using A = decltype(load(std::declval<const T&>()));
  A total[block];
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t num = std::min(block, count - begin);
    const T* first = reinterpret_cast<const T*>(parts[0]) + begin;
    for (std::int64_t i = 0; i < num; ++i) total[i] = load(first[i]);
    for (const std::byte* part : parts.subspan(1)) {
      const T* x = reinterpret_cast<const T*>(part) + begin;
      for (std::int64_t i = 0; i < num; ++i) total[i] = combine(reduction, total[i], load(x[i]));
    }
    T* result = reinterpret_cast<T*>(out) + begin;
    for (std::int64_t i = 0; i < num; ++i) store(total[i], result[i]);
  }
}

template <class T>
void reduce_any(Reduction reduction, std::span<const std::byte* const> parts, std::int64_t count, std::byte* out) {
  switch (reduction) {
    case Reduction::sum:
      return reduce_typed<Reduction::sum, T>(parts, count, out);
    case Reduction::max:
      return reduce_typed<Reduction::max, T>(parts, count, out);
    case Reduction::min:
      return reduce_typed<Reduction::min, T>(parts, count, out);
  }
}

}  // namespace

ElementType element_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ElementType::f32;
    case DType::bf16:
      return ElementType::bf16;
    case DType::f64:
      return ElementType::f64;
    case DType::i32:
      return ElementType::i32;
  }
  fail("communication", "required an element type that travels, found another");
}

std::int64_t element_size(ElementType type) {
  switch (type) {
    case ElementType::f32:
    case ElementType::i32:
      return 4;
    case ElementType::bf16:
      return 2;
    case ElementType::f64:
    case ElementType::i64:
      return 8;
    case ElementType::byte:
      return 1;
  }
  return 0;
}

const char* element_name(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return "f32";
    case ElementType::bf16:
      return "bf16";
    case ElementType::f64:
      return "f64";
    case ElementType::i32:
      return "i32";
    case ElementType::i64:
      return "i64";
    case ElementType::byte:
      return "bytes";
  }
  return "?";
}

const char* reduction_name(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return "sum";
    case Reduction::max:
      return "max";
    case Reduction::min:
      return "min";
  }
  return "?";
}

void reduce_elements(ElementType type, Reduction reduction, std::span<const std::byte* const> parts, std::int64_t count,
                     std::byte* out) {
  switch (type) {
    case ElementType::f32:
      return reduce_any<float>(reduction, parts, count, out);
    case ElementType::bf16:
      return reduce_any<bf16>(reduction, parts, count, out);
    case ElementType::f64:
      return reduce_any<double>(reduction, parts, count, out);
    case ElementType::i32:
      return reduce_any<std::int32_t>(reduction, parts, count, out);
    case ElementType::i64:
      return reduce_any<std::int64_t>(reduction, parts, count, out);
    case ElementType::byte:
      fail("communication", "required a type with a sum, found bytes");
  }
}

}  // namespace artel

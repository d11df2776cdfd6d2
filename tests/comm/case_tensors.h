#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"
#include "util/error.h"
#include "util/text.h"

// What the cases fill tensors with and compare them by. Catch2's assertions do not work in several threads, so failures
// are exceptions, which name the line.

#define COMM_REQUIRE(condition)                                                                   \
  do {                                                                                            \
    if (!(condition)) ::artel::fail("case", ::artel::concat("line ", __LINE__, ": " #condition)); \
  } while (false)

namespace artel {

template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<bf16> {
  using type = float;
};

inline double as_number(double x) {
  return x;
}
inline double as_number(bf16 x) {
  return to_float(x);
}

/// Value `index` of the stream `name` on `rank`; magnitudes spread over 2^±12, so that sums depend on their order.
template <class T>
T case_value(const std::string& name, int rank, std::int64_t index) {
  const Rng rng(static_cast<std::uint64_t>(rank) + 17, name);
  const auto i = static_cast<std::uint64_t>(index);
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(rng.bits(i));
  } else {
    const double x = rng.normal(2 * i) * std::exp2(24.0 * rng.uniform(2 * i + 1) - 12.0);
    if constexpr (std::is_same_v<T, bf16>) {
      return to_bf16(static_cast<float>(x));
    } else {
      return static_cast<T>(x);
    }
  }
}

/// A tensor of `rows` rows of `columns`, element i = value begin + i of the stream.
template <class T>
Tensor case_tensor(Allocator& allocator, std::int64_t rows, std::int64_t columns, const std::string& name, int rank,
                   std::int64_t begin = 0) {
  Tensor x = Tensor::empty(allocator, {rows, columns}, DTypeOf<T>::value);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<T>()[i] = case_value<T>(name, rank, begin + i);
  return x;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.numel() == b.numel() && a.dtype() == b.dtype() &&
         (a.nbytes() == 0 || std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0);
}

/// The sum over the ranks in the order given, element by element.
template <class T>
T sum_in_order(const std::string& name, const std::vector<int>& ranks, std::int64_t index) {
  using A = typename Accumulator<T>::type;
  const auto value = [&](int rank) {
    if constexpr (std::is_same_v<T, bf16>) {
      return to_float(case_value<T>(name, rank, index));
    } else {
      return case_value<T>(name, rank, index);
    }
  };
  A total = value(ranks[0]);
  for (std::size_t r = 1; r < ranks.size(); ++r) {
    if constexpr (std::is_integral_v<A>) {
      total = static_cast<A>(static_cast<std::uint32_t>(total) + static_cast<std::uint32_t>(value(ranks[r])));
    } else {
      total += value(ranks[r]);
    }
  }
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(total);
  } else {
    return total;
  }
}

}  // namespace artel

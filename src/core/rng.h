#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace artel {

/// Philox 4x32 with 10 rounds: four independent 32-bit words for one counter value under one key. Salmon et al.,
/// "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Counter-based random numbers: every number is a function of (seed, name, index), never of what was drawn before, so
/// that weights depend neither on the layout over ranks nor on the order in which tensors are made.
class Rng {
 public:
  /// The key is a hash of the seed and the name (of a stored tensor, a data source, …).
  Rng(std::uint64_t seed, std::string_view name);

  /// Philox of the counter (low word first, the two upper words 0) under the key.
  std::array<std::uint32_t, 4> block(std::uint64_t counter) const;

  std::uint32_t bits(std::uint64_t index) const { return block(index >> 2)[index & 3]; }
  /// Uniform in [0, 1).
  double uniform(std::uint64_t index) const { return bits(index) * 0x1p-32; }
  /// Standard normal by Box-Muller; element `index` of the stream.
  double normal(std::uint64_t index) const;
  /// Elements begin..begin+count of the normal stream times `stddev` into out.
  void fill_normal(std::uint64_t begin, std::int64_t count, double stddev, float* out) const;

 private:
  std::array<double, 4> normals(std::uint64_t counter) const;

  std::array<std::uint32_t, 2> key_;
};

}  // namespace artel

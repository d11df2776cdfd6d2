#include "core/rng.h"

#include <cmath>
#include <numbers>

namespace artel {
namespace {

// FNV-1a over the name, then the finaliser of SplitMix64 so that near names and seeds give unrelated keys.
std::uint64_t hash_name(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  hash += seed * 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  auto& c = counter;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * c[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return c;
}

Rng::Rng(std::uint64_t seed, std::string_view name) {
  const std::uint64_t hash = hash_name(seed, name);
  key_ = {static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32)};
}

std::array<std::uint32_t, 4> Rng::block(std::uint64_t counter) const {
  return philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0}, key_);
}

std::array<double, 4> Rng::normals(std::uint64_t counter) const {
  const auto words = block(counter);
  std::array<double, 4> result{};
  for (std::size_t pair = 0; pair < 2; ++pair) {
    const double radius = std::sqrt(-2.0 * std::log((words[2 * pair] + 0.5) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * (words[2 * pair + 1] * 0x1p-32);
    result[2 * pair] = radius * std::cos(angle);
    result[2 * pair + 1] = radius * std::sin(angle);
  }
  return result;
}

double Rng::normal(std::uint64_t index) const {
  return normals(index >> 2)[index & 3];
}

void Rng::fill_normal(std::uint64_t begin, std::int64_t count, double stddev, float* out) const {
  std::array<double, 4> current{};
  std::uint64_t counter = ~std::uint64_t{0};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t index = begin + static_cast<std::uint64_t>(i);
    if ((index >> 2) != counter) {
      counter = index >> 2;
      current = normals(counter);
    }
    out[i] = static_cast<float>(current[index & 3] * stddev);
  }
}

}  // namespace artel

#include "core/rng.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "support/catch.h"

using namespace artel;

using Words = std::array<std::uint32_t, 4>;

TEST_CASE("Philox gives the known answers of its authors") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  CHECK(philox({0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}, {0xffffffffU, 0xffffffffU}) ==
        Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  CHECK(philox({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}) ==
        Words{0xd16cfe09U, 0x94fdcceb, 0x5001e420U, 0x24126ea1U});
}

// Weights of every model follow from these numbers: a change here changes every run. The values come from an
// implementation of the hash and of Philox written for this purpose in another language.
TEST_CASE("Streams have the numbers that they always had") {
  CHECK(Rng(0, "").block(0) == Words{0xd7db56dbU, 0x7af75e23U, 0x33d8c5a7U, 0x91f32fc3U});
  const Rng embedding(1234, "model.embed_tokens.weight");
  CHECK(embedding.block(0) == Words{0xadf1b28cU, 0xa4de59edU, 0xa07fdc6bU, 0x1d1df2a1U});
  CHECK(embedding.block(1) == Words{0xea0f67beU, 0x179a0662U, 0x7d74f766U, 0x58556848U});
  CHECK(Rng(~std::uint64_t{0}, "data").block((std::uint64_t{1} << 40) + 5) ==
        Words{0x26eb671bU, 0x8ec9b6c9U, 0x32abf290U, 0x4a9b4f4eU});

  CHECK(embedding.bits(6) == 0x7d74f766U);
  CHECK(embedding.uniform(6) == 0x7d74f766U * 0x1p-32);
  const std::vector<double> normals = {-0.5431075373632404, -0.6913181413057722, 0.7298905841571646,
                                       0.633272061762686,   0.3542587772057301,  0.23173068820844409,
                                       -0.6716447298871295, 0.987584780514737};
  for (std::size_t i = 0; i < normals.size(); ++i) {
    CAPTURE(i);
    CHECK(std::fabs(embedding.normal(i) - normals[i]) <= 4e-16 * std::max(1.0, std::fabs(normals[i])));
  }
}

TEST_CASE("A stream filled in pieces equals the stream filled at once") {
  const Rng rng(3, "w");
  constexpr std::int64_t count = 1000;
  std::vector<float> whole(count);
  rng.fill_normal(17, count, 0.02, whole.data());
  for (const std::int64_t piece : {1, 2, 3, 4, 7, 64, 999}) {
    CAPTURE(piece);
    std::vector<float> pieces(count);
    for (std::int64_t begin = 0; begin < count; begin += piece) {
      rng.fill_normal(17 + static_cast<std::uint64_t>(begin), std::min(piece, count - begin), 0.02,
                      pieces.data() + begin);
    }
    CHECK(pieces == whole);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    REQUIRE(whole[static_cast<std::size_t>(i)] ==
            static_cast<float>(rng.normal(17 + static_cast<std::uint64_t>(i)) * 0.02));
  }
  std::vector<float> untouched = {5.0F};
  rng.fill_normal(0, 0, 1.0, untouched.data());
  CHECK(untouched[0] == 5.0F);
}

TEST_CASE("Names and seeds that differ by little give unrelated streams") {
  std::set<Words> first_blocks;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (int i = 0; i < 20; ++i) first_blocks.insert(Rng(seed, "model.layers." + std::to_string(i)).block(0));
  }
  CHECK(first_blocks.size() == 400);

  // Half of the bits differ between neighbours: 4000 words of 32 fair bits, five standard deviations.
  double num_differing = 0.0;
  const Rng a(1, "layers.0");
  const Rng b(1, "layers.1");
  constexpr int num_words = 4000;
  for (std::uint64_t i = 0; i < num_words; ++i) num_differing += __builtin_popcount(a.bits(i) ^ b.bits(i));
  CHECK(std::fabs(num_differing / (32.0 * num_words) - 0.5) < 5 * 0.5 / std::sqrt(32.0 * num_words));
}

TEST_CASE("Uniform numbers have the moments and the spread of the uniform distribution") {
  const Rng rng(11, "uniform");
  constexpr int count = 200000;
  std::vector<int> histogram(64);
  double sum = 0.0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double x = rng.uniform(i);
    REQUIRE(x >= 0.0);
    REQUIRE(x < 1.0);
    sum += x;
    ++histogram[static_cast<std::size_t>(x * 64)];
  }
  CHECK(std::fabs(sum / count - 0.5) < 5 * std::sqrt(1.0 / 12 / count));
  double chi_squared = 0.0;
  for (const int found : histogram) chi_squared += std::pow(found - count / 64.0, 2) / (count / 64.0);
  CHECK(chi_squared < 63 + 5 * std::sqrt(2.0 * 63));
}

TEST_CASE("Normal numbers have the moments of the normal distribution") {
  const Rng rng(12, "normal");
  constexpr int count = 400000;
  double moment[5] = {};
  double neighbours = 0.0;
  double largest = 0.0;
  double previous = 0.0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double x = rng.normal(i);
    REQUIRE(std::isfinite(x));
    for (int k = 1; k <= 4; ++k) moment[k] += std::pow(x, k) / count;
    neighbours += x * previous / count;
    previous = x;
    largest = std::max(largest, std::fabs(x));
  }
  // Variances of the sample moments: of x^k they are (2k-1)!! - (k-1)!!² (k even) or (2k-1)!! (k odd), over the count.
  const double unit = 5 / std::sqrt(static_cast<double>(count));
  CHECK(std::fabs(moment[1]) < unit);
  CHECK(std::fabs(moment[2] - 1.0) < unit * std::sqrt(2.0));
  CHECK(std::fabs(moment[3]) < unit * std::sqrt(15.0));
  CHECK(std::fabs(moment[4] - 3.0) < unit * std::sqrt(96.0));
  CHECK(std::fabs(neighbours) < unit);
  CHECK(largest > 4.0);
  CHECK(largest < 6.8);  // the smallest radius argument is 2^-33
}

#include "data/sampler.h"

#include <cmath>
#include <limits>
#include <set>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

TEST_CASE("The permutation is a bijection for every size") {
  std::vector<int64_t> sizes;
  for (int64_t n = 1; n <= 300; ++n) sizes.push_back(n);
  for (const int64_t n : {1009, 1024, 4095, 4096, 4097, 10007, 65536, 65537}) sizes.push_back(n);
  for (const int64_t n : sizes) {
    const Permutation permutation(n, Rng(1234, "test"));
    std::vector<bool> met(static_cast<size_t>(n), false);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t image = permutation(i);
      REQUIRE(image >= 0);
      REQUIRE(image < n);
      REQUIRE_FALSE(met[static_cast<size_t>(image)]);
      met[static_cast<size_t>(image)] = true;
    }
  }
}

TEST_CASE("The permutation stays in range for very large sizes") {
  const int64_t n = (int64_t{1} << 40) + 12345;
  const Permutation permutation(n, Rng(1, "test"));
  std::set<int64_t> images;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t image = permutation(n - 1 - i);
    REQUIRE(image >= 0);
    REQUIRE(image < n);
    images.insert(image);
  }
  CHECK(images.size() == 1000);
}

TEST_CASE("The permutation shuffles: every element is equally likely at every place") {
  // 5 places, 5 elements, 2000 keys: each of the 25 counts is binomial with mean 400 and deviation 17.9; 5 deviations.
  const int64_t n = 5, num_keys = 2000;
  std::vector<int64_t> counts(25, 0);
  for (uint64_t key = 0; key < num_keys; ++key) {
    const Permutation permutation(n, Rng(key, "test"));
    for (int64_t i = 0; i < n; ++i) ++counts[static_cast<size_t>(i * n + permutation(i))];
  }
  for (const int64_t count : counts) CHECK(std::abs(static_cast<double>(count) - 400.0) < 90.0);

  // Neighbours do not stay neighbours: 1 of n pairs would by chance.
  const Permutation permutation(10000, Rng(1, "test"));
  int64_t neighbours = 0, fixed_points = 0;
  for (int64_t i = 0; i + 1 < 10000; ++i) {
    if (permutation(i + 1) == permutation(i) + 1) ++neighbours;
    if (permutation(i) == i) ++fixed_points;
  }
  CHECK(neighbours < 10);
  CHECK(fixed_points < 10);
}

TEST_CASE("A blend takes the source that is furthest behind, the first among equals") {
  const Blend blend({0.5, 0.25, 0.25});
  CHECK(blend.period() == 4);
  // Behind after one share each: (2 1 1) of 4, then (0 2 2), then (2 -1 3), then (4 0 0).
  const int32_t expected[] = {0, 1, 2, 0};
  const int64_t ordinals[] = {0, 0, 0, 1};
  for (int64_t g = 0; g < 40; ++g) {
    const Blend::Turn turn = blend.turn(g);
    CHECK(turn.source == expected[g % 4]);
    CHECK(turn.ordinal == ordinals[g % 4] + g / 4 * (turn.source == 0 ? 2 : 1));
  }
}

TEST_CASE("A blend keeps every source near its share at all times and counts without gaps") {
  const std::vector<std::vector<double>> cases = {{1.0},
                                                  {1.0, 1.0},
                                                  {0.7, 0.3},
                                                  {1, 2, 3},
                                                  {5, 1, 1, 1},
                                                  {1.0 / 3, 2.0 / 3},
                                                  {0.61803398875, 0.2718281828, 0.1101},
                                                  {1000.0, 1.0}};
  for (const auto& weights : cases) {
    const Blend blend(weights);
    double sum = 0.0;
    for (const double weight : weights) sum += weight;
    std::vector<int64_t> counts(weights.size(), 0);
    bool ordinals_rise = true, near = true;
    for (int64_t g = 0; g < 200000; ++g) {
      const Blend::Turn turn = blend.turn(g);
      ordinals_rise = ordinals_rise && turn.ordinal == counts[static_cast<size_t>(turn.source)];
      ++counts[static_cast<size_t>(turn.source)];
      for (size_t d = 0; d < weights.size(); ++d) {
        // Less than one sample per other source off the share, plus the rounding of the shares to 1/65536.
        const double share = weights[d] / sum * static_cast<double>(g + 1);
        const double limit = static_cast<double>(weights.size()) + static_cast<double>(g + 1) / 65536.0;
        near = near && std::abs(static_cast<double>(counts[d]) - share) < limit;
      }
    }
    CHECK(ordinals_rise);
    CHECK(near);
  }
  CHECK(Blend({0.7, 0.3}).period() == 10);
  CHECK(Blend({1.0 / 3, 2.0 / 3}).period() == 3);
  CHECK(Blend({0.61803398875, 0.2718281828, 0.1101}).period() == 65536);
}

TEST_CASE("Weights that make no blend are errors") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    CHECK(contains(error_text([&] { Blend({1.0, bad}); }), "[data] weight required a positive number, found "));
  }
  CHECK(contains(error_text([] { Blend({}); }), "at least one file"));
  CHECK(contains(error_text([] { Blend({1.0, 1e-6}); }), "at least 1/65536"));
  CHECK(contains(error_text([] { Blend({1e308, 1e308}); }), "finite sum"));
  CHECK(contains(error_text([] { Sampler({10}, {1.0, 1.0}, 1); }), "one weight per source"));
  CHECK(contains(error_text([] { Sampler({0}, {1.0}, 1); }), "at least 1 window"));
  CHECK(contains(error_text([] { Sampler({1}, {1.0}, 1).sample(-1); }), "0 or more"));
}

TEST_CASE("Every epoch of a source meets each of its windows once, in an order of its own") {
  const std::vector<int64_t> num_windows = {7, 12, 1};
  const Sampler sampler(num_windows, {2.0, 1.0, 1.0}, 99);
  std::vector<std::vector<Sample>> met(3);
  for (int64_t g = 0; g < 400; ++g) {
    const Sample sample = sampler.sample(g);
    met[static_cast<size_t>(sample.source)].push_back(sample);
  }
  for (size_t d = 0; d < 3; ++d) {
    const auto n = static_cast<size_t>(num_windows[d]);
    std::vector<int64_t> previous;
    for (size_t epoch = 0; (epoch + 1) * n <= met[d].size(); ++epoch) {
      std::vector<int64_t> order;
      for (size_t i = 0; i < n; ++i) {
        const Sample& sample = met[d][epoch * n + i];
        CHECK(sample.epoch == static_cast<int64_t>(epoch));
        order.push_back(sample.window);
      }
      CHECK(std::set<int64_t>(order.begin(), order.end()).size() == n);
      CHECK((n < 7 || order != previous));  // chance 1 in 5040 per pair; the seed is fixed
      previous = order;
    }
  }
}

TEST_CASE("The order depends on the seed and the source, and on nothing read before") {
  const Sampler sampler({1000, 1000}, {1.0, 1.0}, 1), other({1000, 1000}, {1.0, 1.0}, 2);
  int64_t equal_seeds = 0, equal_sources = 0;
  for (int64_t g = 0; g < 1000; g += 2) {
    if (sampler.sample(g).window == other.sample(g).window) ++equal_seeds;
    if (sampler.sample(g).window == sampler.sample(g + 1).window) ++equal_sources;
  }
  CHECK(equal_seeds < 10);
  CHECK(equal_sources < 10);
  const Sampler again({1000, 1000}, {1.0, 1.0}, 1);
  CHECK(again.sample(1234567890123) == sampler.sample(1234567890123));
  for (int64_t g = 5000; g > 4000; --g) CHECK(again.sample(g) == sampler.sample(g));
}

TEST_CASE("The order of samples is the one of every earlier run") {
  // Written down from this implementation: a change of these numbers changes what a resumed run would read.
  const Sampler sampler({10, 4}, {3.0, 1.0}, 1234);
  std::vector<int64_t> sources, windows;
  for (int64_t g = 0; g < 16; ++g) {
    sources.push_back(sampler.sample(g).source);
    windows.push_back(sampler.sample(g).window);
  }
  CHECK(sources == std::vector<int64_t>{0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0});
  CHECK(windows == std::vector<int64_t>{6, 3, 2, 4, 5, 7, 3, 2, 9, 8, 0, 0, 1, 6, 1, 3});
}

#include "model/sampling.h"

#include <cmath>
#include <limits>
#include <map>

#include "model/generate.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"

using namespace artel;

namespace {

const std::vector<float> kLogits = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F, -3.0F};

std::map<std::int32_t, double> probabilities(const std::vector<float>& logits, const SamplingOptions& options) {
  std::map<std::int32_t, double> result;
  for (const Candidate& candidate : sampling_candidates(logits, options)) result[candidate.id] = candidate.probability;
  return result;
}

// softmax(logits / temperature) over the ids given.
std::map<std::int32_t, double> softmax_over(const std::vector<std::int32_t>& ids, double temperature) {
  std::map<std::int32_t, double> result;
  double sum = 0.0;
  for (const std::int32_t id : ids) {
    result[id] = std::exp(static_cast<double>(kLogits[static_cast<std::size_t>(id)]) / temperature);
    sum += result[id];
  }
  for (auto& item : result) item.second /= sum;
  return result;
}

void expect_probabilities(const SamplingOptions& options, const std::map<std::int32_t, double>& expected) {
  const auto actual = probabilities(kLogits, options);
  REQUIRE(actual.size() == expected.size());
  for (const auto& [id, probability] : expected) {
    INFO("id " << id);
    REQUIRE(actual.count(id) == 1);
    CHECK(actual.at(id) == Approx(probability).epsilon(1e-14));
  }
}

SamplingOptions options_of(double temperature, std::int64_t top_k = 0, double top_p = 1.0, std::int64_t num_ids = 0) {
  return {temperature, top_k, top_p, num_ids};
}

}  // namespace

TEST_CASE("Without limits an id has its softmax probability at the temperature") {
  expect_probabilities(options_of(1.0), softmax_over({0, 1, 2, 3, 4, 5}, 1.0));
  expect_probabilities(options_of(0.3), softmax_over({0, 1, 2, 3, 4, 5}, 0.3));
  expect_probabilities(options_of(1.0, 6), softmax_over({0, 1, 2, 3, 4, 5}, 1.0));
  expect_probabilities(options_of(1.0, 1000), softmax_over({0, 1, 2, 3, 4, 5}, 1.0));
}

TEST_CASE("Top-k keeps the most probable ids, the lower one among equals, and top-k 1 is greedy") {
  expect_probabilities(options_of(1.0, 3), softmax_over({1, 3, 4}, 1.0));
  expect_probabilities(options_of(1.0, 1), {{1, 1.0}});
  expect_probabilities(options_of(0.0), {{1, 1.0}});
  for (const double uniform : {0.0, 0.5, 0.999999}) {
    CHECK(sample_id(kLogits, options_of(5.0, 1), uniform) == 1);
    CHECK(sample_id(kLogits, options_of(0.0), uniform) == 1);
  }
}

TEST_CASE("Top-p keeps the fewest ids that reach it, and always one") {
  const double first = softmax_over({0, 1, 2, 3, 4, 5}, 1.0).at(1);  // ids 1 and 3 have 0.37 each
  expect_probabilities(options_of(1.0, 0, 1e-12), {{1, 1.0}});
  expect_probabilities(options_of(1.0, 0, first * (1.0 - 1e-9)), {{1, 1.0}});
  expect_probabilities(options_of(1.0, 0, first * (1.0 + 1e-9)), {{1, 0.5}, {3, 0.5}});
  expect_probabilities(options_of(1.0, 0, 0.9), softmax_over({0, 1, 3, 4}, 1.0));
  expect_probabilities(options_of(1.0, 0, 1.0), softmax_over({0, 1, 2, 3, 4, 5}, 1.0));
  // Behind top-k the probability is a share of what top-k left: ids 1 and 3 have 0.42 each there, id 4 has 0.16.
  expect_probabilities(options_of(1.0, 3, 0.8), {{1, 0.5}, {3, 0.5}});
  expect_probabilities(options_of(1.0, 3, 0.9), softmax_over({1, 3, 4}, 1.0));
}

TEST_CASE("Ids from num_ids on are never chosen") {
  expect_probabilities(options_of(1.0, 0, 1.0, 3), softmax_over({0, 1, 2}, 1.0));
  std::vector<float> logits = kLogits;
  logits[5] = 100.0F;
  CHECK(sample_id(logits, options_of(0.0, 0, 1.0, 5), 0.5) == 1);
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(sample_id(logits, options_of(0.0, 0, 1.0, 5), 0.5) == 1);
}

TEST_CASE("Ids that no token has are never chosen, whatever their logits") {
  SamplingOptions options;
  options.missing_ids = {1, 3, 7};
  expect_probabilities(options, softmax_over({0, 2, 4, 5}, 1.0));
  options.top_k = 2;
  expect_probabilities(options, softmax_over({0, 4}, 1.0));
  options.top_k = 4;
  expect_probabilities(options, softmax_over({0, 2, 4, 5}, 1.0));
  options.num_ids = 3;
  expect_probabilities(options, softmax_over({0, 2}, 1.0));
  options = {};
  options.missing_ids = {0, 1, 3};
  options.temperature = 0.0;
  expect_probabilities(options, {{4, 1.0}});
  options.missing_ids = {0, 1, 2, 3, 4, 5};
  expect_contains(error_text([&] { sample_id(kLogits, options, 0.5); }), "that a token has, found none");
  options.missing_ids = {3, 1};
  expect_contains(error_text([&] { sample_id(kLogits, options, 0.5); }), "that ascend");
}

TEST_CASE("Logits far apart leave no NaN and a temperature near zero is greedy") {
  const std::vector<float> logits = {-3.0e38F, 3.0e38F, 0.0F};
  CHECK(probabilities(logits, options_of(1.0)) == std::map<std::int32_t, double>{{0, 0.0}, {1, 1.0}, {2, 0.0}});
  for (const double uniform : {0.0, 0.9999999}) {
    CHECK(sample_id(logits, options_of(1.0), uniform) == 1);
    CHECK(sample_id(kLogits, options_of(1e-300), uniform) == (uniform < 0.5 ? 1 : 3));
  }
}

TEST_CASE("Ids are drawn as often as their probabilities say") {
  const auto options = GENERATE(options_of(1.0), options_of(0.7, 4), options_of(1.3, 0, 0.9));
  constexpr int num_draws = 40000;
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < num_draws; ++i) ++counts[sample_id(kLogits, options, sampling_number(11, i))];
  double chi_squared = 0.0;
  const auto expected = probabilities(kLogits, options);
  for (const auto& [id, probability] : expected) {
    const double mean = num_draws * probability;
    chi_squared += (counts[id] - mean) * (counts[id] - mean) / mean;
    counts.erase(id);
  }
  CHECK(counts.empty());      // nothing else was drawn
  CHECK(chi_squared < 25.7);  // chi squared with 5 degrees of freedom exceeds this once in 10,000
}

TEST_CASE("The numbers that choose are a function of seed and position and lie in [0, 1)") {
  CHECK(sampling_number(1, 0) == sampling_number(1, 0));
  CHECK(sampling_number(1, 0) != sampling_number(2, 0));
  CHECK(sampling_number(1, 0) != sampling_number(1, 1));
  double sum = 0.0;
  for (int i = 0; i < 1000; ++i) {
    const double number = sampling_number(3, i);
    REQUIRE((number >= 0.0 && number < 1.0));
    sum += number;
  }
  CHECK(std::abs(sum / 1000.0 - 0.5) < 0.04);  // four standard deviations of the mean of 1000
}

TEST_CASE("What cannot be sampled from is refused by name") {
  const auto text = [](const SamplingOptions& options, const std::vector<float>& logits = kLogits) {
    return error_text([&] { sample_id(logits, options, 0.5); });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_contains(text(options_of(-0.1)), "temperature required");
  expect_contains(text(options_of(nan)), "temperature required");
  expect_contains(text(options_of(1.0, -1)), "top-k required");
  expect_contains(text(options_of(1.0, 0, 0.0)), "top-p required");
  expect_contains(text(options_of(1.0, 0, 1.01)), "top-p required");
  expect_contains(text(options_of(1.0, 0, nan)), "top-p required");
  expect_contains(text(options_of(1.0), {}), "at least one logit");
  expect_contains(text(options_of(1.0), {0.0F, std::numeric_limits<float>::infinity()}), "found inf for id 1");
  expect_contains(text(options_of(1.0), {0.0F, std::numeric_limits<float>::quiet_NaN()}), "for id 1");
}

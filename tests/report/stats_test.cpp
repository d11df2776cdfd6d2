#include "report/stats.h"

#include <cmath>
#include <limits>
#include <random>

#include "support/catch.h"
#include "util/files.h"
#include "util/json.h"

namespace artel {
namespace {

// exp turns the absolute error of lgamma, in units of its size, into a relative one; the factor 10 is for the sums
// around it.
double relative_tolerance(double largest_shape) {
  return 10.0 * std::numeric_limits<double>::epsilon() * (10.0 + std::abs(std::lgamma(largest_shape)));
}

Json goldens() {
  const std::string path = std::string(ARTEL_SOURCE_DIR) + "/tests/report/stats_goldens.json";
  return parse_json(read_file(path), path);
}

void check_close(double found, double expected, double largest_shape) {
  CHECK(std::abs(found - expected) <= relative_tolerance(largest_shape) * std::abs(expected));
}

std::vector<double> values_of(const Json& json) {
  return json.get<std::vector<double>>();
}

void check_difference(const MeanDifference& found, const Json& expected, double margin) {
  // A difference of means near 1.8 loses digits that no relative tolerance of the difference itself allows for.
  const double absolute = 1.8 * relative_tolerance(30.0);
  const auto near = [&](double value, const Json& golden) {
    CHECK(std::abs(value - golden.get<double>()) <= absolute);
  };
  near(found.delta, expected["delta"]);
  CHECK(found.degrees_of_freedom == Approx(expected["df"].get<double>()).epsilon(1e-9));
  const Interval ci95 = confidence_interval(found, 0.95);
  near(ci95.low, expected["ci95"][0]);
  near(ci95.high, expected["ci95"][1]);
  CHECK(two_sided_p_value(found) == Approx(expected["p_value"].get<double>()).epsilon(1e-9));
  const Equivalence equivalence = equivalence_test(found, margin);
  near(equivalence.ci90.low, expected["ci90"][0]);
  near(equivalence.ci90.high, expected["ci90"][1]);
  CHECK(equivalence.p_value == Approx(expected["equivalence_p_value"].get<double>()).epsilon(1e-9));
  CHECK(equivalence.equivalent == (equivalence.ci90.low > -margin && equivalence.ci90.high < margin));
}

TEST_CASE("the incomplete beta function agrees with SciPy") {
  const Json reference = goldens();
  REQUIRE(reference["incomplete_beta"].size() == 441);
  for (const Json& row : reference["incomplete_beta"]) {
    CAPTURE(row.dump());
    const double a = row[0];
    const double b = row[1];
    check_close(incomplete_beta(a, b, row[2]), row[3], a + b);
  }
}

TEST_CASE("Student's t agrees with SciPy in both directions") {
  const Json reference = goldens();
  for (const Json& row : reference["student_t_cdf"]) {
    CAPTURE(row.dump());
    check_close(student_t_cdf(row[0], row[1]), row[2], row[1].get<double>());
  }
  for (const Json& row : reference["student_t_quantile"]) {
    CAPTURE(row.dump());
    const double degrees = row[1];
    const double found = student_t_quantile(row[0], degrees);
    // Around the median the quantile is a difference of nearly equal probabilities, hence the absolute part.
    CHECK(std::abs(found - row[2].get<double>()) <=
          relative_tolerance(degrees) * (std::abs(row[2].get<double>()) + 1.0));
    check_close(student_t_cdf(found, degrees), row[0], degrees);
  }
}

TEST_CASE("Student's t with one degree of freedom is Cauchy's distribution, next to the median too") {
  for (const double t : {-1e5, -2.0, -1e-5, -1e-12, 0.0, 1e-9, 1e-5, 0.5, 1e4}) {
    CAPTURE(t);
    check_close(student_t_cdf(t, 1.0), std::atan2(1.0, -t) / std::acos(-1.0), 1.0);
  }
}

TEST_CASE("paired and Welch differences, intervals and equivalence agree with SciPy") {
  int num_paired = 0;
  const Json reference = goldens();
  for (const Json& sample : reference["samples"]) {
    CAPTURE(sample.dump());
    const std::vector<double> a = values_of(sample["a"]);
    const std::vector<double> b = values_of(sample["b"]);
    check_close(mean_of(a), sample["mean_a"], 1.0);
    CHECK(standard_deviation_of(a) == Approx(sample["sd_a"].get<double>()).epsilon(1e-9));
    check_difference(welch_difference(a, b), sample["welch"], sample["margin"]);
    if (!sample.contains("paired")) continue;
    ++num_paired;
    check_difference(paired_difference(a, b), sample["paired"], sample["margin"]);
  }
  CHECK(num_paired == 5);
}

TEST_CASE("differences without spread are certain and not a division by zero") {
  const MeanDifference equal = paired_difference(std::vector{1.0, 2.0}, std::vector{1.0, 2.0});
  CHECK(two_sided_p_value(equal) == 1.0);
  CHECK(confidence_interval(equal, 0.95).low == 0.0);
  CHECK(equivalence_test(equal, 1e-9).equivalent);
  const MeanDifference shifted = welch_difference(std::vector{2.0, 2.0}, std::vector{1.0, 1.0, 1.0});
  CHECK(shifted.degrees_of_freedom == 3.0);
  CHECK(two_sided_p_value(shifted) == 0.0);
  CHECK_FALSE(equivalence_test(shifted, 0.5).equivalent);
}

TEST_CASE("95 % intervals hold the true difference 95 % of the time") {
  std::mt19937_64 generator(7);
  std::normal_distribution<double> noise(0.0, 0.01);
  constexpr int num_trials = 4000;
  int num_covered_paired = 0;
  int num_covered_welch = 0;
  for (int trial = 0; trial < num_trials; ++trial) {
    std::vector<double> a(3);
    std::vector<double> b(3);
    for (double& value : a) value = 2.0 + noise(generator);
    for (double& value : b) value = 1.9 + noise(generator);
    const auto covers = [](const Interval& interval) { return interval.low <= 0.1 && 0.1 <= interval.high; };
    num_covered_paired += covers(confidence_interval(paired_difference(a, b), 0.95)) ? 1 : 0;
    num_covered_welch += covers(confidence_interval(welch_difference(a, b), 0.95)) ? 1 : 0;
  }
  // Four standard deviations of a binomial count; Welch errs on the careful side for samples this small.
  const double slack = 4.0 * std::sqrt(num_trials * 0.95 * 0.05);
  CHECK(std::abs(num_covered_paired - 0.95 * num_trials) < slack);
  CHECK(num_covered_welch > 0.95 * num_trials - slack);
  CHECK(num_covered_welch < 0.985 * num_trials);
}

TEST_CASE("Holm's correction multiplies by the hypotheses left and never decreases") {
  const std::vector<double> adjusted = holm_adjusted(std::vector{0.04, 0.01, 0.03, 0.9});
  CHECK(adjusted[1] == Approx(0.04));
  CHECK(adjusted[2] == Approx(0.09));
  CHECK(adjusted[0] == Approx(0.09));
  CHECK(adjusted[3] == Approx(0.9));
  CHECK(holm_adjusted({}).empty());
}

TEST_CASE("rank correlations agree with SciPy, ties included") {
  const Json reference = goldens();
  REQUIRE(reference["rank_correlations"].size() >= 8);
  for (const Json& row : reference["rank_correlations"]) {
    CAPTURE(row[0].size(), row[2].dump());
    // Ranks are multiples of one half and their sums exact; one square root and one division are not.
    CHECK(spearman(values_of(row[0]), values_of(row[1])) == Approx(row[2].get<double>()).margin(1e-14));
  }
  CHECK(ranks_of(std::vector{3.0, 1.0, 3.0, 2.0}) == std::vector{3.5, 1.0, 3.5, 2.0});
  CHECK(ranks_of({}).empty());
  CHECK(std::isnan(spearman(std::vector{1.0, 1.0}, std::vector{1.0, 2.0})));
}

TEST_CASE("divergences and quantiles agree with SciPy") {
  const Json reference = goldens();
  REQUIRE(reference["divergences"].size() == 4);
  for (const Json& row : reference["divergences"]) {
    const auto counts = row[0].get<std::vector<std::vector<double>>>();
    CHECK(relative_divergence(counts) == Approx(row[1].get<double>()).epsilon(1e-12));
    CHECK(quantile_of(counts[0], 0.25) == Approx(row[2][0].get<double>()));
    CHECK(quantile_of(counts[0], 0.5) == Approx(row[2][1].get<double>()));
    CHECK(quantile_of(counts[0], 0.9) == Approx(row[2][2].get<double>()));
  }
  CHECK(relative_divergence({{1.0, 2.0}, {2.0, 4.0}, {0.0, 0.0}}) == Approx(0.0).margin(1e-15));
  CHECK(relative_divergence({{5.0, 0.0, 0.0}, {0.0, 1.0, 1.0}}) == Approx(1.0));
  CHECK(std::isnan(relative_divergence({{1.0, 2.0}, {0.0, 0.0}})));
}

TEST_CASE("statistics refuse samples and parameters outside of their domain") {
  CHECK_THROWS_AS(mean_of({}), Error);
  CHECK_THROWS_AS(standard_deviation_of(std::vector{1.0}), Error);
  CHECK_THROWS_AS(paired_difference(std::vector{1.0, 2.0}, std::vector{1.0}), Error);
  CHECK_THROWS_AS(paired_difference(std::vector{1.0}, std::vector{1.0}), Error);
  CHECK_THROWS_AS(student_t_quantile(1.0, 3.0), Error);
  CHECK_THROWS_AS(student_t_cdf(1.0, 0.0), Error);
  CHECK_THROWS_AS(incomplete_beta(1.0, -1.0, 0.5), Error);
  CHECK_THROWS_AS(equivalence_test(MeanDifference{}, 0.0), Error);
  CHECK_THROWS_AS(spearman(std::vector{1.0}, std::vector{1.0}), Error);
  CHECK_THROWS_AS(spearman(std::vector{1.0, 2.0}, std::vector{1.0}), Error);
  CHECK_THROWS_AS(quantile_of({}, 0.5), Error);
  CHECK_THROWS_AS(quantile_of({1.0}, 1.5), Error);
}

}  // namespace
}  // namespace artel

#include "report/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* kWhere = "statistics";

// The continued fraction of I_x(a, b) by the modified Lentz method; converges fast for x < (a + 1) / (a + b + 2).
double beta_continued_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  constexpr int max_terms = 100000;
  const auto away_from_zero = [](double value) { return std::abs(value) < tiny ? tiny : value; };
  double numerator_ratio = 1.0;
  double denominator_ratio = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
  double value = denominator_ratio;
  for (int m = 1; m <= max_terms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double factor = 1.0;
    for (const double coefficient : {even, odd}) {
      denominator_ratio = 1.0 / away_from_zero(1.0 + coefficient * denominator_ratio);
      numerator_ratio = away_from_zero(1.0 + coefficient / numerator_ratio);
      factor = denominator_ratio * numerator_ratio;
      value *= factor;
    }
    if (std::abs(factor - 1.0) < std::numeric_limits<double>::epsilon()) return value;
  }
  fail(kWhere, concat("the incomplete beta function did not converge for a = ", a, ", b = ", b, ", x = ", x));
}

// I_x(a, b) with y = 1 - x given apart, so that neither end loses digits.
double incomplete_beta_xy(double a, double b, double x, double y) {
  if (x <= 0.0) return 0.0;
  if (y <= 0.0) return 1.0;
  const double log_front = std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log(y);
  if (x < (a + 1.0) / (a + b + 2.0)) return std::exp(log_front) * beta_continued_fraction(a, b, x) / a;
  return 1.0 - std::exp(log_front) * beta_continued_fraction(b, a, y) / b;
}

// P(T > t) for t >= 0.
double student_t_upper_tail(double t, double degrees_of_freedom) {
  const double square = t * t;
  if (std::isinf(square)) return 0.0;
  const double total = degrees_of_freedom + square;
  return 0.5 * incomplete_beta_xy(0.5 * degrees_of_freedom, 0.5, degrees_of_freedom / total, square / total);
}

void require_degrees_of_freedom(double degrees_of_freedom) {
  if (!(degrees_of_freedom > 0.0)) {
    fail(kWhere, concat("required degrees of freedom > 0, found ", degrees_of_freedom));
  }
}

void require_values(size_t found, size_t needed) {
  if (found < needed) fail(kWhere, concat("required at least ", needed, " values, found ", found));
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  if (!(a > 0.0 && b > 0.0 && x >= 0.0 && x <= 1.0)) {
    fail(kWhere, concat("incomplete beta required a > 0, b > 0 and x in [0, 1], found ", a, ", ", b, ", ", x));
  }
  return incomplete_beta_xy(a, b, x, 1.0 - x);
}

double student_t_cdf(double t, double degrees_of_freedom) {
  require_degrees_of_freedom(degrees_of_freedom);
  if (std::isnan(t)) return t;
  const double tail = student_t_upper_tail(std::abs(t), degrees_of_freedom);
  return t > 0.0 ? 1.0 - tail : tail;
}

double student_t_quantile(double probability, double degrees_of_freedom) {
  require_degrees_of_freedom(degrees_of_freedom);
  if (!(probability > 0.0 && probability < 1.0)) {
    fail(kWhere, concat("a quantile required a probability in (0, 1), found ", probability));
  }
  const double tail = std::min(probability, 1.0 - probability);
  double low = 0.0;
  double high = 1.0;
  while (student_t_upper_tail(high, degrees_of_freedom) > tail) {
    low = high;
    high *= 2.0;
  }
  while (true) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) break;
    (student_t_upper_tail(middle, degrees_of_freedom) > tail ? low : high) = middle;
  }
  return probability < 0.5 ? -high : high;
}

double mean_of(std::span<const double> values) {
  require_values(values.size(), 1);
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_deviation_of(std::span<const double> values) {
  require_values(values.size(), 2);
  const double mean = mean_of(values);
  double sum = 0.0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

MeanDifference paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) {
    fail(kWhere, concat("required pairs, found ", a.size(), " values against ", b.size()));
  }
  require_values(a.size(), 2);
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  const auto count = static_cast<double>(a.size());
  return {mean_of(differences), standard_deviation_of(differences) / std::sqrt(count), count - 1.0};
}

MeanDifference welch_difference(std::span<const double> a, std::span<const double> b) {
  const auto square = [](double value) { return value * value; };
  const auto count_a = static_cast<double>(a.size());
  const auto count_b = static_cast<double>(b.size());
  const double variance_a = square(standard_deviation_of(a)) / count_a;
  const double variance_b = square(standard_deviation_of(b)) / count_b;
  const double variance = variance_a + variance_b;
  const double spread = square(variance_a) / (count_a - 1.0) + square(variance_b) / (count_b - 1.0);
  // Without any spread the pooled count is the limit, and nothing depends on it.
  const double degrees = spread > 0.0 ? square(variance) / spread : count_a + count_b - 2.0;
  return {mean_of(a) - mean_of(b), std::sqrt(variance), degrees};
}

Interval confidence_interval(const MeanDifference& difference, double confidence) {
  const double half_width =
      student_t_quantile(0.5 + 0.5 * confidence, difference.degrees_of_freedom) * difference.standard_error;
  return {difference.delta - half_width, difference.delta + half_width};
}

double two_sided_p_value(const MeanDifference& difference) {
  if (difference.standard_error == 0.0) return difference.delta == 0.0 ? 1.0 : 0.0;
  const double t = std::abs(difference.delta) / difference.standard_error;
  return 2.0 * student_t_upper_tail(t, difference.degrees_of_freedom);
}

Equivalence equivalence_test(const MeanDifference& difference, double margin) {
  if (!(margin > 0.0)) fail(kWhere, concat("an equivalence margin required a value > 0, found ", margin));
  Equivalence result;
  result.margin = margin;
  result.ci90 = confidence_interval(difference, 0.90);
  const double inside = margin - std::abs(difference.delta);  // distance to the nearer margin
  if (difference.standard_error == 0.0) {
    result.p_value = inside > 0.0 ? 0.0 : 1.0;
  } else {
    result.p_value = student_t_cdf(-inside / difference.standard_error, difference.degrees_of_freedom);
  }
  result.equivalent = result.p_value < 0.05;
  return result;
}

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p_values[i] < p_values[j]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0.0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const auto remaining = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, remaining * p_values[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    const double shared = 0.5 * static_cast<double>(first + 1 + end);  // mean of first + 1 .. end
    for (; first < end; ++first) ranks[order[first]] = shared;
  }
  return ranks;
}

double spearman(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) {
    fail(kWhere, concat("a rank correlation required pairs, found ", a.size(), " and ", b.size(), " values"));
  }
  require_values(a.size(), 2);
  const std::vector<double> ranks_a = ranks_of(a);
  const std::vector<double> ranks_b = ranks_of(b);
  const double mean = 0.5 * static_cast<double>(a.size() + 1);
  double product = 0.0;
  double square_a = 0.0;
  double square_b = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += (ranks_a[i] - mean) * (ranks_b[i] - mean);
    square_a += (ranks_a[i] - mean) * (ranks_a[i] - mean);
    square_b += (ranks_b[i] - mean) * (ranks_b[i] - mean);
  }
  if (square_a == 0.0 || square_b == 0.0) return std::numeric_limits<double>::quiet_NaN();
  return product / std::sqrt(square_a * square_b);
}

double quantile_of(std::vector<double> values, double probability) {
  require_values(values.size(), 1);
  if (!(probability >= 0.0 && probability <= 1.0)) {
    fail(kWhere, concat("a quantile required a probability from 0 to 1, found ", probability));
  }
  std::sort(values.begin(), values.end());
  const double place = probability * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

double relative_divergence(const std::vector<std::vector<double>>& rows) {
  std::vector<std::vector<double>> shares;
  for (const std::vector<double>& row : rows) {
    const double total = std::accumulate(row.begin(), row.end(), 0.0);
    if (!(total > 0.0)) continue;
    shares.push_back(row);
    for (double& share : shares.back()) share /= total;
  }
  if (shares.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto num_rows = static_cast<double>(shares.size());
  double divergence = 0.0;
  for (size_t column = 0; column < shares.front().size(); ++column) {
    double mean = 0.0;
    for (const auto& row : shares) mean += row.at(column) / num_rows;
    for (const auto& row : shares) {
      if (row[column] > 0.0) divergence += row[column] / num_rows * std::log(row[column] / mean);
    }
  }
  return divergence / std::log(num_rows);
}

}  // namespace artel

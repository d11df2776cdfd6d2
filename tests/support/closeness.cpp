#include "support/closeness.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "support/catch.h"
#include "support/tensors.h"
#include "util/error.h"

namespace artel {
namespace {

/// `allowed(i)` is the largest difference of element i.
std::string compare(const std::string& name, const std::vector<double>& actual, const std::vector<double>& expected,
                    const std::function<double(std::size_t)>& allowed) {
  if (actual.size() != expected.size()) {
    return name + ": required " + std::to_string(expected.size()) + " elements, found " + std::to_string(actual.size());
  }
  std::size_t num_far = 0;
  std::size_t worst = 0;
  double worst_ratio = -1.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    if (difference <= allowed(i)) continue;  // false for NaN
    ++num_far;
    const double ratio = std::isnan(difference) ? HUGE_VAL : difference / allowed(i);
    if (ratio > worst_ratio) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (num_far == 0) return "";
  std::ostringstream text;
  text.precision(9);
  text << name << ": " << num_far << " of " << actual.size() << " elements differ; [" << worst << "] is "
       << actual[worst] << ", required " << expected[worst] << " +- " << allowed(worst);
  return text.str();
}

void report(const std::string& name, const std::string& error) {
  if (error.empty()) {
    SUCCEED(name);
  } else {
    FAIL_CHECK(error);
  }
}

}  // namespace

Tolerance tolerance_for(DType dtype, std::size_t length, double scale) {
  constexpr double unit = 0x1p-24;
  const double stored = dtype == DType::bf16 ? 0x1p-8 : unit;
  return {8.0 * unit * std::sqrt(static_cast<double>(std::max<std::size_t>(length, 1))) * scale, stored};
}

double largest(const std::vector<double>& values) {
  double result = 0.0;
  for (const double value : values) result = std::max(result, std::abs(value));
  return result;
}

std::string find_difference(const std::string& name, const std::vector<double>& actual,
                            const std::vector<double>& expected, const Tolerance& tolerance) {
  return compare(name, actual, expected,
                 [&](std::size_t i) { return tolerance.absolute + tolerance.relative * std::abs(expected[i]); });
}

void expect_close(const std::string& name, const std::vector<double>& actual, const std::vector<double>& expected,
                  const Tolerance& tolerance) {
  report(name, find_difference(name, actual, expected, tolerance));
}

void expect_close(const std::string& name, const Tensor& actual, const std::vector<double>& expected,
                  std::size_t length, double scale) {
  const double magnitude = scale > 0.0 ? scale : largest(expected);
  expect_close(name, values_of(actual), expected, tolerance_for(actual.dtype(), length, magnitude));
}

void expect_close(const std::string& name, const Tensor& actual, const std::vector<double>& expected,
                  std::size_t length, double scale, const std::vector<double>& rounding) {
  if (rounding.empty()) return expect_close(name, actual, expected, length, scale);
  const Tolerance tolerance = tolerance_for(actual.dtype(), length, scale);
  report(name, compare(name, values_of(actual), expected, [&](std::size_t i) {
           return tolerance.absolute + tolerance.relative * std::abs(expected[i]) + rounding[i];
         }));
}

void expect_equal(const std::string& name, const Tensor& actual, const std::vector<double>& expected) {
  expect_close(name, values_of(actual), expected, Tolerance{});
}

void expect_contains(const std::string& text, const std::string& part) {
  report(part, text.find(part) == std::string::npos ? '"' + text + "\" does not contain \"" + part + '"' : "");
}

std::vector<double> numeric_gradient(const std::function<double(const std::vector<double>&)>& loss,
                                     const std::vector<double>& x, double step) {
  std::vector<double> gradient;
  std::vector<double> moved = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    moved[i] = x[i] + step;
    const double above = loss(moved);
    moved[i] = x[i] - step;
    const double below = loss(moved);
    moved[i] = x[i];
    gradient.push_back((above - below) / (2.0 * step));
  }
  return gradient;
}

std::string find_gradient_error(const std::string& name, const std::vector<double>& analytic,
                                const std::vector<double>& numeric, const Tolerance& tolerance) {
  const double size = largest(analytic);
  if (!(size > 100.0 * tolerance.absolute)) return name + ": the gradient is zero, largest " + std::to_string(size);
  return compare(name, analytic, numeric, [&](std::size_t i) {
    return tolerance.absolute + tolerance.relative * std::max(std::abs(analytic[i]), std::abs(numeric[i]));
  });
}

void expect_gradient(const std::string& name, const std::vector<double>& analytic, const std::vector<double>& numeric,
                     const Tolerance& tolerance) {
  report(name, find_gradient_error(name, analytic, numeric, tolerance));
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) fail("tests", "required two vectors of one length");
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace artel

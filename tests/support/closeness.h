#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace artel {

/// |actual - expected| <= absolute + relative·|expected|; NaN is never close.
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

/// What f32 arithmetic behind a result stored as `dtype` may miss: half a unit in the last place of the stored result
/// (2^-24 of it for f32, 2^-8 for bf16) and what the computation accumulated, 8 · 2^-24 · sqrt(length) · scale.
/// Rounding errors of a sum of `length` terms walk at random, each of half a unit of a partial sum, hence the root;
/// partial sums are of the order of `scale`, the largest magnitude among the results or, where terms cancel, among the
/// terms. The factor 8 covers the tail of the walk over many elements and elementary functions exact to a few units.
Tolerance tolerance_for(DType dtype, std::size_t length, double scale);

/// The largest magnitude of the values.
double largest(const std::vector<double>& values);

/// Empty if all elements are close, else the name, the number of elements outside the tolerance and the worst of them.
std::string find_difference(const std::string& name, const std::vector<double>& actual,
                            const std::vector<double>& expected, const Tolerance& tolerance);
/// Fails with the text of find_difference.
void expect_close(const std::string& name, const std::vector<double>& actual, const std::vector<double>& expected,
                  const Tolerance& tolerance);
/// tolerance_for(dtype of the tensor, length, scale or, if 0, largest(expected)).
void expect_close(const std::string& name, const Tensor& actual, const std::vector<double>& expected,
                  std::size_t length, double scale = 0.0);
/// The same, where element i may miss rounding[i] more; empty: nothing.
void expect_close(const std::string& name, const Tensor& actual, const std::vector<double>& expected,
                  std::size_t length, double scale, const std::vector<double>& rounding);
/// Every element the same number, bit for bit up to the sign of zero.
void expect_equal(const std::string& name, const Tensor& actual, const std::vector<double>& expected);

/// Fails, showing the text, unless it contains the part.
void expect_contains(const std::string& text, const std::string& part);

/// d loss / d x by central differences with this step.
std::vector<double> numeric_gradient(const std::function<double(const std::vector<double>&)>& loss,
                                     const std::vector<double>& x, double step = 1.0e-5);
/// Empty if |analytic - numeric| <= absolute + relative·max of the two for all elements, else what differs. NaN
/// differs, and so does a gradient that is zero all over, which would prove nothing.
std::string find_gradient_error(const std::string& name, const std::vector<double>& analytic,
                                const std::vector<double>& numeric, const Tolerance& tolerance = {1.0e-8, 1.0e-6});
/// Fails with the text of find_gradient_error.
void expect_gradient(const std::string& name, const std::vector<double>& analytic, const std::vector<double>& numeric,
                     const Tolerance& tolerance = {1.0e-8, 1.0e-6});

/// <a, b>: a loss whose gradient with respect to b is the cotangent a.
double dot(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace artel

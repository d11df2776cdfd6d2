#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/tensors.h"
#include "support/test_device.h"

// What no reference covers: scores that are not numbers, probabilities that vanish.

namespace artel {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

struct Decision {
  Tensor ids;
  Tensor weights;
};

Decision route(TestDevice& device, const std::vector<double>& scores, const Tensor& bias, const TopKOptions& options) {
  const auto num_experts = static_cast<std::int64_t>(scores.size());
  const Context context = device.context();
  const Decision decision{context.empty({1, options.top_k}, DType::i32), context.empty({1, options.top_k}, DType::f32)};
  device.backend.route_top_k(tensor_of(device.allocator, {1, num_experts}, DType::f32, scores), bias, options,
                             context.empty({1, num_experts}, DType::f32), context.empty({1}, DType::f32), decision.ids,
                             decision.weights);
  return decision;
}

/// The K first of the experts by descending score, NaN last, the lower index first among equals.
std::vector<std::int32_t> expected_ids(const std::vector<double>& scores, std::int64_t top_k) {
  std::vector<std::int32_t> ids(scores.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t left, std::int32_t right) {
    const double a = scores[static_cast<std::size_t>(left)];
    const double b = scores[static_cast<std::size_t>(right)];
    return std::isnan(a) || std::isnan(b) ? !std::isnan(a) && std::isnan(b) : a > b;
  });
  ids.resize(static_cast<std::size_t>(top_k));
  return ids;
}

TEST_CASE("route_top_k prefers every number to NaN, takes the two zeros for equal, and never chooses twice") {
  for_each_device([](TestDevice& device) {
    const std::vector<double> values{nan, -infinity, 0.0, -0.0, 1.0, infinity, -1.0, std::copysign(nan, -1.0)};
    for (const std::size_t num_experts : {1, 3, 8, 19, 40, 140}) {
      for (std::size_t start = 0; start < values.size(); ++start) {
        std::vector<double> scores;
        for (std::size_t i = 0; i < num_experts; ++i) scores.push_back(values[(start + 3 * i + i / 8) % values.size()]);
        for (const std::int64_t top_k : {std::int64_t{1}, static_cast<std::int64_t>(num_experts)}) {
          const Decision decision = route(device, scores, Tensor{}, {.top_k = top_k});
          INFO(num_experts << " experts from value " << start << ", top " << top_k);
          CHECK(ids_of(decision.ids) == expected_ids(scores, top_k));
        }
      }
    }
    CHECK(ids_of(route(device, std::vector<double>(20, nan), Tensor{}, {.top_k = 3}).ids) ==
          std::vector<std::int32_t>{0, 1, 2});
  });
}

TEST_CASE("weights are finite and sum to one where a bias chose experts whose probabilities vanish") {
  for_each_device([](TestDevice& device) {
    const Tensor bias = tensor_of(device.allocator, {4}, DType::f32, {0.0, 1000.0, 1000.0, 0.0});
    const Decision decision = route(device, {0.0, -200.0, -201.0, 5.0}, bias, {.top_k = 2});
    CHECK(ids_of(decision.ids) == std::vector<std::int32_t>{1, 2});
    const std::vector<double> weights = values_of(decision.weights);
    CHECK(std::abs(weights[0] - 1.0 / (1.0 + std::exp(-1.0))) < 1e-6);
    CHECK(std::abs(weights[0] + weights[1] - 1.0) < 1e-6);
  });
}

}  // namespace
}  // namespace artel

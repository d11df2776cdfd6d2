#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda_device.h"
#include "support/catch.h"
#include "support/tensors.h"

// What GPUs make of the parts that ranks have sent each other (core/rank_parts.h).

namespace artel {
namespace {

using Vector = std::vector<double>;

/// One more part in what a sum of this type is held in.
double reduced(double a, double b, DType dtype, PartReduction reduction) {
  if (reduction == PartReduction::max) return b > a || std::isnan(b) ? b : a;
  if (reduction == PartReduction::min) return b < a || std::isnan(b) ? b : a;
  const bool is_narrow = dtype == DType::f32 || dtype == DType::bf16;
  return is_narrow ? static_cast<double>(static_cast<float>(a) + static_cast<float>(b)) : a + b;
}

Vector part(int rank, std::int64_t count, DType dtype) {
  Vector values = random_values("part " + std::to_string(rank), usize(count), 100.0, dtype);
  if (dtype == DType::i32) {
    for (double& value : values) value = std::round(value);
  } else if (rank == 1) {
    values.back() = std::nan("");
  }
  return values;
}

void check(CudaDevice& device, RankParts parts, bool aligned, bool in_place) {
  GuardedTensors tensors(device.allocator(), aligned);
  Vector own, expected, others;
  for (int r = 0; r < parts.num_parts; ++r) {
    const Vector values = part(r, parts.count, parts.dtype);
    if (r == parts.own) own = values;
    if (r != parts.own) others.insert(others.end(), values.begin(), values.end());
    if (r == 0) expected = values;
    for (std::size_t i = 0; r > 0 && i < values.size(); ++i) {
      expected[i] = reduced(expected[i], values[i], parts.dtype, parts.reduction);
    }
  }
  const std::int64_t gap = aligned ? 0 : 3;
  const Tensor received = tensors.input("others", {parts.num_parts - 1, parts.count}, parts.dtype, others, gap);
  const Tensor x = in_place ? tensors.updated("own", {parts.count}, parts.dtype, own)
                            : tensors.input("own", {parts.count}, parts.dtype, own);
  const Tensor out = in_place ? x : tensors.output("out", {parts.count}, parts.dtype);
  parts.own_part = x.raw();
  parts.other_parts = received.raw();
  parts.stride_bytes = received.row_stride() * static_cast<std::int64_t>(dtype_size(parts.dtype));
  device.reduce_rank_parts(device.compute_stream(), parts, out.raw());
  expected = rounded(expected, parts.dtype);
  const Vector found = values_of(out);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    REQUIRE((found[i] == expected[i] || (std::isnan(found[i]) && std::isnan(expected[i]))));
  }
  tensors.expect_intact();
}

TEST_CASE("parts of ranks are reduced element by element in rank order", "[cuda]") {
  const auto device = make_cuda_device(0);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
    for (const PartReduction reduction : {PartReduction::sum, PartReduction::max, PartReduction::min}) {
      for (const std::int64_t count : {1, 7, 64, 1029, 4096}) {
        RankParts parts;
        parts.dtype = dtype;
        parts.reduction = reduction;
        parts.count = count;
        parts.num_parts = static_cast<int>(2 + count % 3);
        parts.own = static_cast<int>(count) % parts.num_parts;
        INFO(dtype_name(dtype) << ", reduction " << static_cast<int>(reduction) << ", " << count << " elements of "
                               << parts.num_parts << " parts, own " << parts.own);
        check(*device, parts, false, false);
        check(*device, parts, true, count % 2 == 0);
      }
    }
  }
  CHECK(take_device_reports().empty());
}

}  // namespace
}  // namespace artel

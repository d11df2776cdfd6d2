// The checkers of the other tests must reject what is wrong.

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "core/allocator.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/guarded_allocator.h"
#include "support/tensors.h"

namespace artel {
namespace {

using Vector = std::vector<double>;

std::string damage_by(const std::function<void(const Tensor& in, const Tensor& out)>& kernel) {
  HostAllocator allocator;
  GuardedTensors tensors(allocator);
  const Tensor in = tensors.input("in", {2, 3}, DType::f32, random_values("in", 6));
  const Tensor out = tensors.output("out", {2, 3}, DType::bf16, 5);
  kernel(in, out);
  return tensors.find_damage();
}

TEST_CASE("a comparison rejects wrong values, NaN and another size") {
  const Tolerance tolerance{0.1, 0.01};
  CHECK(find_difference("x", {1.0, 100.0}, {1.1, 101.0}, tolerance).empty());
  CHECK(find_difference("x", {}, {}, tolerance).empty());
  CHECK(
      contains(find_difference("x", {1.0, 2.0, 9.0}, {1.0, 2.5, 2.0}, tolerance), "2 of 3 elements differ; [2] is 9"));
  CHECK(contains(find_difference("x", {std::nan("")}, {1.0}, tolerance), "[0] is nan"));
  CHECK(contains(find_difference("x", {1.0}, {std::nan("")}, tolerance), "required nan"));
  CHECK(contains(find_difference("x", {1.0}, {1.0, 2.0}, tolerance), "required 2 elements, found 1"));
  CHECK_FALSE(find_difference("x", {std::numeric_limits<double>::infinity()}, {1.0}, tolerance).empty());
}

TEST_CASE("a gradient check rejects a wrong factor, NaN and a gradient of zeros") {
  const Vector x = random_values("x", 5);
  const auto cubes = [](const Vector& v) {
    double sum = 0.0;
    for (const double value : v) sum += value * value * value;
    return sum;
  };
  Vector gradient;
  for (const double value : x) gradient.push_back(3.0 * value * value);
  const Vector numeric = numeric_gradient(cubes, x);
  CHECK(find_gradient_error("dx", gradient, numeric).empty());
  Vector wrong = gradient;
  wrong[3] *= 1.00001;
  CHECK(contains(find_gradient_error("dx", wrong, numeric), "1 of 5 elements differ; [3]"));
  wrong[3] = std::nan("");
  CHECK_FALSE(find_gradient_error("dx", wrong, numeric).empty());
  CHECK(contains(find_gradient_error("dx", Vector(5, 0.0), Vector(5, 0.0)), "the gradient is zero"));
}

TEST_CASE("guards find a write before, behind and between the rows, and into an input") {
  CHECK(damage_by([](const Tensor&, const Tensor&) {}).empty());
  CHECK(damage_by([](const Tensor&, const Tensor& out) {
          for (const std::int64_t row : {0, 1}) {
            for (const std::int64_t column : {0, 1, 2}) out.data<bf16>()[row * out.row_stride() + column] = {};
          }
        }).empty());
  CHECK(contains(damage_by([](const Tensor&, const Tensor& out) { out.data<bf16>()[-1] = {}; }),
                 "memory around out was overwritten, -1 elements"));
  CHECK(contains(damage_by([](const Tensor&, const Tensor& out) { out.data<bf16>()[3] = {}; }), "out"));
  CHECK(contains(damage_by([](const Tensor&, const Tensor& out) { out.data<bf16>()[8 + 3] = {}; }), "out"));
  CHECK(contains(damage_by([](const Tensor& in, const Tensor&) { in.data<float>()[6] = 0.0F; }),
                 "memory around in was overwritten, 6 elements"));
  CHECK(contains(damage_by([](const Tensor& in, const Tensor&) { in.data<float>()[2] = 7.0F; }),
                 "input in was overwritten"));
}

TEST_CASE("a guarded allocator finds writes before and behind a block, after it came back too") {
  GuardedAllocator allocator;
  {
    const Tensor x = Tensor::empty(allocator, {3}, DType::f32);
    CHECK(std::isnan(x.data<float>()[0]));
    for (int i = 0; i < 3; ++i) x.data<float>()[i] = 0.0F;
    CHECK(allocator.find_damage().empty());
    CHECK(allocator.stats().active_bytes == 64);
    x.data<float>()[-2] = 0.0F;
    CHECK(allocator.find_damage() == "a block of 12 bytes was overwritten 8 bytes before its beginning; ");
    x.data<float>()[-2] = 0x1.b4b4b4p+53F;  // what the bands consist of
    CHECK(allocator.find_damage().empty());
    x.data<float>()[3] = 0.0F;
  }
  CHECK(allocator.find_damage() == "a block of 12 bytes was overwritten 0 bytes behind its end; ");
  CHECK(allocator.stats().active_bytes == 0);
}

TEST_CASE("values are rounded to the type and read back over strided rows") {
  HostAllocator allocator;
  GuardedTensors tensors(allocator);
  const Vector values{1.0, 1.00390625, -2.0, 1.0 / 3.0, 5.0, 0.0};
  const Tensor strided = tensors.input("x", {3, 2}, DType::bf16, values, 4);
  CHECK(strided.row_stride() == 6);
  CHECK(values_of(strided) == rounded(values, DType::bf16));
  CHECK(values_of(strided)[1] == 1.0);  // half way, to even
  CHECK(bytes_of(strided).size() == 12);
  for (const double value : values_of(tensors.output("y", {4}, DType::f32))) CHECK(std::isnan(value));
  for (const double value : values_of(tensors.output("y", {4}, DType::bf16))) CHECK(std::isnan(value));
}

}  // namespace
}  // namespace artel

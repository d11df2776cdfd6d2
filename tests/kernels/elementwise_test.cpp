#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/permutation.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using Vector = std::vector<double>;

// Empty, below, at and above the widths of vectors, several tasks.
const std::vector<std::int64_t> lengths{0, 1, 3, 8, 16, 17, 31, 64, 1003, 40001};

/// f32 sum of the two, stored as `dtype`.
Vector sum_of(const Vector& a, const Vector& b, DType dtype) {
  Vector sum(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum[i] = static_cast<double>(static_cast<float>(a[i]) + static_cast<float>(b[i]));
  }
  return rounded(sum, dtype);
}

TEST_CASE("fill sets every element of every type and nothing around it") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : lengths) {
      for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
        INFO(length << " elements of " << dtype_name(dtype));
        GuardedTensors tensors(device);
        const Tensor x = tensors.output("x", {length}, dtype);
        device.backend.fill(x, -3.0F);
        expect_equal("x", x, Vector(usize(length), -3.0));
        tensors.expect_intact();
      }
    }
  });
}

TEST_CASE("upload and download move bytes unchanged") {
  TestDevice device;
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
    GuardedTensors tensors(device);
    const Tensor source = tensors.input("source", {5, 3}, dtype, random_values("x", 15, 10.0));
    std::vector<char> host(source.nbytes());
    device.backend.download(source, host.data());
    const Tensor target = tensors.output("target", {5, 3}, dtype);
    device.backend.upload(host.data(), target);
    CHECK(bytes_of(target) == bytes_of(source));
    const Tensor empty = tensors.output("empty", {0, 3}, dtype);
    device.backend.upload(host.data(), empty);
    device.backend.download(empty, host.data());
    tensors.expect_intact();
  }
}

TEST_CASE("copy converts between f32 and bf16 with rounding to nearest even") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : lengths) {
      for (const DType from : act_types) {
        for (const DType to : act_types) {
          INFO(length << " elements of " << dtype_name(from) << " to " << dtype_name(to));
          GuardedTensors tensors(device);
          const Vector values = random_values("x", usize(length), 3.0, from);
          const Tensor x = tensors.input("x", {length}, from, values);
          const Tensor y = tensors.output("y", {length}, to);
          device.backend.copy(x, y);
          expect_equal("y", y, rounded(values, to));
          tensors.expect_intact();
        }
      }
    }
  });
}

TEST_CASE("copy keeps infinities, NaN and signed zeros and rounds ties to even") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special{infinity,      -infinity, 0.0F,    -0.0F,  1.00390625F, 1.01171875F,
                                   3.4028235e38F, 1e-45F,    -1e-40F, 1e-38F, 65504.0F};
  for_each_device([&](TestDevice& device) {
    for (std::size_t repeats : {1U, 3U}) {  // in the tail of a row and within whole vectors
      std::vector<float> values;
      for (std::size_t i = 0; i < repeats; ++i) values.insert(values.end(), special.begin(), special.end());
      const auto length = static_cast<std::int64_t>(values.size());
      GuardedTensors tensors(device);
      const Tensor x = tensors.input("x", {length}, DType::f32, {values.begin(), values.end()});
      const Tensor y = tensors.output("y", {length}, DType::bf16);
      device.backend.copy(x, y);
      const std::vector<bf16> stored = elements_of<bf16>(y);
      for (std::size_t i = 0; i < values.size(); ++i) {
        INFO(values[i]);
        CHECK(stored[i].bits == to_bf16(values[i]).bits);
      }
      device.backend.fill(y, std::nanf(""));
      const Tensor back = tensors.output("back", {length}, DType::f32);
      device.backend.copy(y, back);
      for (const double value : values_of(back)) CHECK(std::isnan(value));
      device.backend.copy(back, y);
      for (const double value : values_of(y)) CHECK(std::isnan(value));
      tensors.expect_intact();
    }
  });
}

TEST_CASE("add adds in f32 and rounds once, for every pair of types") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : lengths) {
      for (const DType from : act_types) {
        for (const DType to : act_types) {
          INFO(length << " elements of " << dtype_name(from) << " to " << dtype_name(to));
          GuardedTensors tensors(device);
          const Vector values = random_values("x", usize(length), 1.0, from);
          const Vector start = random_values("y", usize(length), 1.0, to);
          const Tensor x = tensors.input("x", {length}, from, values);
          const Tensor y = tensors.updated("y", {length}, to, start);
          device.backend.add(x, y);
          expect_equal("y", y, sum_of(start, values, to));
          tensors.expect_intact();
        }
      }
    }
  });
}

TEST_CASE("swap_leading exchanges the first two dimensions, overwriting or adding") {
  const std::vector<Shape> shapes{{0, 3, 4},  {3, 0, 4},  {1, 1, 1},    {2, 3, 5},
                                  {7, 1, 33}, {4, 9, 64}, {130, 3, 17}, {2, 3, 5008}};
  for_each_device([&](TestDevice& device) {
    for (const Shape& shape : shapes) {
      for (const DType from : act_types) {
        for (const DType to : act_types) {
          for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
            INFO(shape.to_string() << dtype_name(from) << " to " << dtype_name(to));
            GuardedTensors tensors(device);
            const std::size_t count = usize(shape.numel());
            const Vector values = random_values("x", count, 1.0, from);
            const Vector start = random_values("y", count, 1.0, to);
            const Tensor x = tensors.input("x", shape, from, values);
            const Tensor y =
                tensors.result("y", {shape[1], shape[0], shape[2]}, to, accumulate == Accumulate::yes, start);
            device.backend.swap_leading(x, y, accumulate);
            const Vector swapped = reference::swap_leading(values, usize(shape[0]), usize(shape[1]), usize(shape[2]));
            expect_equal("y", y, accumulate == Accumulate::yes ? sum_of(start, swapped, to) : rounded(swapped, to));
            tensors.expect_intact();
          }
        }
      }
    }
  });
}

TEST_CASE("sum adds up in double precision") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : {std::int64_t{0}, std::int64_t{1}, std::int64_t{17}, std::int64_t{100003}}) {
      INFO(length << " elements");
      GuardedTensors tensors(device);
      Vector values = random_values("x", usize(length), 1.0);
      if (length > 1) values[0] = 1.0e8;  // an f32 sum would lose the others
      double expected = 0.0;
      for (const double value : values) expected += value;
      const Tensor x = tensors.input("x", {length}, DType::f32, values);
      const Tensor sum = tensors.output("sum", {1}, DType::f64);
      device.backend.sum(x, sum);
      expect_close("sum", values_of(sum), {expected}, {0x1p-53 * std::sqrt(static_cast<double>(length)) * 1.0e9, 0.0});
      tensors.expect_intact();
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_rows) {
  Allocator& allocator = device.allocator;
  const std::int64_t width = 48;
  const std::int64_t count = num_rows * width;
  const Tensor x = tensor_of(allocator, {count}, DType::f32, random_values("x", usize(count)));
  const Tensor y = tensor_of(allocator, {count}, DType::bf16, random_values("y", usize(count)));
  const Tensor copied = Tensor::empty(allocator, {count}, DType::bf16);
  device.backend.copy(x, copied);
  device.backend.add(x, y);
  const Tensor swapped = Tensor::empty(allocator, {3, num_rows, width / 3}, DType::f32);
  device.backend.swap_leading(y.view({num_rows, 3, width / 3}), swapped, Accumulate::no);
  const Tensor sum = Tensor::empty(allocator, {1}, DType::f64);
  device.backend.sum(x, sum);
  return {{"copy", copied}, {"add", y}, {"swap_leading", swapped}, {"sum", sum}};
}

TEST_CASE("elementwise kernels give the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("elementwise kernels give the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("elementwise kernels refuse wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  Backend& backend = device.backend;
  const auto make = [&](const Shape& shape, DType dtype) { return Tensor::empty(device.allocator, shape, dtype); };
  const Tensor x = make({6}, DType::f32);
  expect_contains(requirement_of([&] { backend.copy(x, make({5}, DType::f32)); }),
                  "[copy] required x and y of the same number");
  expect_contains(requirement_of([&] { backend.copy(x, make({6}, DType::i32)); }), "[copy] required y");
  expect_contains(requirement_of([&] { backend.add(x, Tensor()); }), "[add] required y");
  expect_contains(requirement_of([&] { backend.add(make({6}, DType::i32), x); }), "[add] required x");
  expect_contains(requirement_of([&] {
                    backend.copy(make({3, 4}, DType::f32).columns(0, 2), x);
                  }),
                  "[copy] required x");
  expect_contains(requirement_of([&] {
                    backend.fill(make({3, 4}, DType::f32).columns(0, 2), 0.0F);
                  }),
                  "[fill] required x");
  expect_contains(requirement_of([&] { backend.swap_leading(x, x, Accumulate::no); }), "[swap_leading] required x");
  expect_contains(requirement_of([&] {
                    backend.swap_leading(make({2, 3, 1}, DType::f32), make({2, 3, 1}, DType::f32), Accumulate::no);
                  }),
                  "[swap_leading] required y");
  expect_contains(requirement_of([&] { backend.sum(x, make({1}, DType::f32)); }), "[sum] required sum");
  expect_contains(requirement_of([&] { backend.sum(make({6}, DType::bf16), make({1}, DType::f64)); }),
                  "[sum] required x");
}

}  // namespace
}  // namespace artel

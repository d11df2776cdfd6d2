#include <string>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/products.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

/// Rows of each group; one group for the plain product.
struct Case {
  std::vector<std::int64_t> group_sizes;
  std::int64_t in, out;
};
// No rows, single elements, odd sizes, sizes around the width of vectors and of tiles; rows that lie a multiple of 512
// bytes apart; several blocks of columns and of the reduction; so many rows that weight gradients are summed in parts,
// and that the products of a CPU with units for bf16 take all columns.
const std::vector<Case> plain_cases{{{0}, 5, 3},      {{1}, 1, 1},      {{1}, 64, 33},   {{3}, 7, 5},
                                    {{17}, 33, 65},   {{64}, 64, 64},   {{65}, 130, 40}, {{2}, 300, 257},
                                    {{140}, 24, 256}, {{40}, 128, 264}, {{33}, 20, 600}, {{4100}, 5, 7},
                                    {{2085}, 40, 72}};
const std::vector<Case> grouped_cases{
    {{0, 0, 0}, 5, 3},     // no rows at all
    {{4}, 6, 5},           // one group
    {{3, 0, 5, 1}, 7, 9},  // an empty expert
    {{0, 9, 0}, 16, 8},    // all rows to one
    {{65, 1, 130, 64}, 33, 40},
    {{2, 3, 0, 1, 4, 2, 0, 7}, 64, 48},
    {{3, 70, 0, 5}, 128, 40},
    {{2100, 0, 100, 4100}, 5, 7},
    {{1047, 0, 61, 1200}, 72, 40},
};

struct Mode {
  DType act;
  DType result;  ///< of y and dx
  DType dy;      ///< f32 beside bf16 where scores are kept in full precision
  std::int64_t gap;
  Accumulate accumulate;
};
std::vector<Mode> all_modes() {
  std::vector<Mode> modes;
  for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
    for (const std::int64_t gap : {0, 6}) {
      modes.push_back({DType::f32, DType::f32, DType::f32, gap, accumulate});
      modes.push_back({DType::bf16, DType::bf16, DType::bf16, gap, accumulate});
      modes.push_back({DType::bf16, DType::f32, DType::bf16, gap, accumulate});
      modes.push_back({DType::bf16, DType::f32, DType::f32, gap, accumulate});
    }
  }
  return modes;
}

std::string describe(const Case& c, const Mode& mode) {
  std::string text = "groups";
  for (const std::int64_t size : c.group_sizes) text += ' ' + std::to_string(size);
  return text + ", in " + std::to_string(c.in) + ", out " + std::to_string(c.out) + ", " + dtype_name(mode.act) +
         " to " + dtype_name(mode.result) + ", dy " + dtype_name(mode.dy) + ", gap " + std::to_string(mode.gap) +
         ", accumulate " + std::to_string(mode.accumulate == Accumulate::yes);
}

Vector plus(Vector values, const Vector& start, Accumulate accumulate) {
  for (std::size_t i = 0; i < values.size() && accumulate == Accumulate::yes; ++i) values[i] += start[i];
  return values;
}

/// The operands of one case and what the products must give.
struct Problem {
  Problem(const Case& c, const Mode& mode) : in(c.in), out(c.out) {
    for (const std::int64_t size : c.group_sizes) {
      offsets.push_back(offsets.back() + static_cast<std::int32_t>(size));
    }
    num_rows = offsets.back();
    num_groups = static_cast<std::int64_t>(c.group_sizes.size());
    x = random_values("x", usize(num_rows * in), 1.0, mode.act);
    w = random_values("w", usize(num_groups * out * in), 1.0, mode.act);
    dy = random_values("dy", usize(num_rows * out), 1.0, mode.dy);
    y_start = random_values("y", dy.size(), 1.0, mode.result);
    dx_start = random_values("dx", x.size(), 1.0, mode.result);
    dw_start = random_values("dw", w.size());
    y = plus(reference::grouped_linear(x, offsets, w, usize(in), usize(out)), y_start, mode.accumulate);
    auto gradients = reference::grouped_linear_backward(x, offsets, w, dy, usize(in), usize(out));
    dx = plus(gradients.dx, dx_start, mode.accumulate);
    dw = plus(gradients.dw, dw_start, mode.accumulate);
  }

  std::int64_t num_rows = 0, num_groups = 0, in, out;
  Ids offsets{0};
  Vector x, w, dy, y_start, dx_start, dw_start;
  Vector y, dx, dw;
};

/// Runs the three products, plain or grouped, and compares.
void check(TestDevice& device, const Case& c, const Mode& mode, bool grouped) {
  INFO(describe(c, mode));
  const Problem p(c, mode);
  Backend& backend = device.backend;
  GuardedTensors tensors(device);
  const bool add = mode.accumulate == Accumulate::yes;
  const Shape w_shape = grouped ? Shape{p.num_groups, p.out, p.in} : Shape{p.out, p.in};
  const Tensor x = tensors.input("x", {p.num_rows, p.in}, mode.act, p.x, mode.gap);
  const Tensor w = tensors.input("w", w_shape, mode.act, p.w);
  const Tensor dy = tensors.input("dy", {p.num_rows, p.out}, mode.dy, p.dy, mode.gap);
  const Tensor y = tensors.result("y", {p.num_rows, p.out}, mode.result, add, p.y_start, mode.gap);
  const Tensor dx = tensors.result("dx", {p.num_rows, p.in}, mode.result, add, p.dx_start, mode.gap);
  const Tensor dw = tensors.result("dw", w_shape, DType::f32, add, p.dw_start);
  if (grouped) {
    const GroupOffsets groups{p.offsets, tensors.input("offsets", p.offsets)};
    backend.grouped_linear(x, groups, w, y, mode.accumulate);
    backend.grouped_linear_backward_data(dy, groups, w, dx, mode.accumulate);
    backend.grouped_linear_backward_weight(x, dy, groups, dw, mode.accumulate);
  } else {
    backend.linear(x, w, y, mode.accumulate);
    backend.linear_backward_data(dy, w, dx, mode.accumulate);
    backend.linear_backward_weight(x, dy, dw, mode.accumulate);
  }
  expect_close("y", y, p.y, usize(p.in));
  expect_close("dx", dx, p.dx, usize(p.out));
  expect_close("dw", dw, p.dw, usize(p.num_rows));
  tensors.expect_intact();
}

TEST_CASE("linear and its gradients agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : plain_cases) {
      for (const Mode& mode : all_modes()) check(device, c, mode, false);
    }
  });
}

TEST_CASE("grouped_linear and its gradients agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : grouped_cases) {
      for (const Mode& mode : all_modes()) check(device, c, mode, true);
    }
  });
}

TEST_CASE("a group without rows gets a weight gradient of zeros under = and keeps it under +=") {
  TestDevice device;
  const Mode overwrite{DType::f32, DType::f32, DType::f32, 0, Accumulate::no};
  const Mode add{DType::f32, DType::f32, DType::f32, 0, Accumulate::yes};
  const Case c{{2, 0, 3}, 4, 5};
  const Problem p(c, overwrite);
  const GroupOffsets groups{p.offsets,
                            tensor_of(device.allocator, {4}, DType::i32, {p.offsets.begin(), p.offsets.end()})};
  const Tensor x = tensor_of(device.allocator, {5, 4}, DType::f32, p.x);
  const Tensor dy = tensor_of(device.allocator, {5, 5}, DType::f32, p.dy);
  for (const Mode& mode : {overwrite, add}) {
    const Tensor dw = tensor_of(device.allocator, {3, 5, 4}, DType::f32, p.dw_start);
    device.backend.grouped_linear_backward_weight(x, dy, groups, dw, mode.accumulate);
    const Tensor empty_group = dw.rows(1, 2);
    const Vector start(p.dw_start.begin() + 20, p.dw_start.begin() + 40);
    expect_equal("dw[1]", empty_group, mode.accumulate == Accumulate::yes ? start : Vector(20, 0.0));
  }
}

NamedTensors run_all(TestDevice& device, std::int64_t num_rows, DType act) {
  Allocator& allocator = device.allocator;
  const std::int64_t in = 40, out = 72;
  const auto random = [&](const char* name, const Shape& shape) {
    return tensor_of(allocator, shape, act, random_values(name, usize(shape.numel())));
  };
  const auto empty = [&](const Shape& shape, DType dtype) { return Tensor::empty(allocator, shape, dtype); };
  const auto quarter = static_cast<std::int32_t>(num_rows / 4);
  const Ids offsets{0, quarter, quarter, 3 * quarter + 5, static_cast<std::int32_t>(num_rows)};
  const GroupOffsets groups{offsets, tensor_of(allocator, {5}, DType::i32, {offsets.begin(), offsets.end()})};
  const Tensor x = random("x", {num_rows, in}), dy = random("dy", {num_rows, out});
  const Tensor w = random("w", {out, in}), experts = random("experts", {4, out, in});
  const Tensor y = empty({num_rows, out}, act), dx = empty({num_rows, in}, act), dw = empty({out, in}, DType::f32);
  device.backend.linear(x, w, y, Accumulate::no);
  device.backend.linear_backward_data(dy, w, dx, Accumulate::no);
  device.backend.linear_backward_weight(x, dy, dw, Accumulate::no);
  const Tensor grouped_y = empty({num_rows, out}, act), grouped_dx = empty({num_rows, in}, act);
  const Tensor grouped_dw = empty({4, out, in}, DType::f32);
  device.backend.grouped_linear(x, groups, experts, grouped_y, Accumulate::no);
  device.backend.grouped_linear_backward_data(dy, groups, experts, grouped_dx, Accumulate::no);
  device.backend.grouped_linear_backward_weight(x, dy, groups, grouped_dw, Accumulate::no);
  return {{"y", y},
          {"dx", dx},
          {"dw", dw},
          {"grouped y", grouped_y},
          {"grouped dx", grouped_dx},
          {"grouped dw", grouped_dw}};
}

TEST_CASE("products give the same bits on every run") {
  for (const DType act : act_types) {
    expect_same_bits_on_every_run([act](TestDevice& device) { return run_all(device, 1100, act); });
  }
}

TEST_CASE("products give the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384, DType::bf16); });
}

TEST_CASE("products refuse wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  Backend& backend = device.backend;
  constexpr Accumulate no = Accumulate::no;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const Tensor x = make({3, 4}), w = make({5, 4}), y = make({3, 5});
  expect_contains(requirement_of([&] {
                    backend.linear(x, make({5, 3}), y, no);
                  }),
                  "[linear] required x of shape [3, 3]");
  expect_contains(requirement_of([&] {
                    backend.linear(x, make({5, 4}, DType::bf16), y, no);
                  }),
                  "[linear] required x and w");
  expect_contains(requirement_of([&] { backend.linear(make({3, 4}, DType::i32), w, y, no); }), "[linear] required x");
  expect_contains(requirement_of([&] { backend.linear(x, w, make({4, 5}), no); }), "[linear] required y");
  expect_contains(requirement_of([&] { backend.linear(x, w, make({3, 5}, DType::bf16), no); }), "[linear] required y");
  expect_contains(requirement_of([&] {
                    backend.linear_backward_data(y, w, make({3, 5}), no);
                  }),
                  "[linear_backward_data] required dx");
  expect_contains(requirement_of([&] {
                    backend.linear_backward_weight(x, make({4, 5}), w, no);
                  }),
                  "[linear_backward_weight] required dy");
  expect_contains(requirement_of([&] {
                    backend.linear_backward_weight(x, y, make({5, 4}, DType::bf16), no);
                  }),
                  "[linear_backward_weight] required dw");
  const auto groups_of = [&](const Ids& ids) {
    return GroupOffsets{ids, tensor_of(device.allocator, {static_cast<std::int64_t>(ids.size())}, DType::i32,
                                       {ids.begin(), ids.end()})};
  };
  const Tensor experts = make({2, 5, 4});
  const GroupOffsets groups = groups_of({0, 1, 3});
  expect_contains(requirement_of([&] { backend.grouped_linear(x, groups, w, y, no); }), "[grouped_linear] required w");
  expect_contains(requirement_of([&] {
                    backend.grouped_linear(x, groups, make({3, 5, 4}), y, no);
                  }),
                  "[grouped_linear] required");
  expect_contains(requirement_of([&] {
                    backend.grouped_linear(x, groups_of({0, 1, 4}), experts, y, no);
                  }),
                  "[grouped_linear] required");
  expect_contains(requirement_of([&] {
                    backend.grouped_linear(x, groups_of({0, 2, 1}), experts, y, no);
                  }),
                  "[grouped_linear] required");
  expect_contains(requirement_of([&] {
                    backend.grouped_linear_backward_data(y, groups, experts, make({2, 4}), no);
                  }),
                  "[grouped_linear_backward_data] required dx");
  expect_contains(requirement_of([&] {
                    backend.grouped_linear_backward_weight(x, y, groups, make({2, 5, 4}, DType::bf16), no);
                  }),
                  "[grouped_linear_backward_weight] required dw");
}

}  // namespace
}  // namespace artel

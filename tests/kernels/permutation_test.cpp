#include <algorithm>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/permutation.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

struct Case {
  std::int64_t num_experts;
  Ids ids;  ///< [A]
};

Ids scattered_ids(std::int64_t count, std::int64_t num_experts) {
  Ids ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>((i * i + 3 * i) / 2 % num_experts));
  return ids;
}

Vector as_values(const Ids& ids) {
  return {ids.begin(), ids.end()};
}

const std::vector<Case> cases{
    {4, {}},                        // nothing assigned
    {1, {0}},                       //
    {3, {1}},                       // experts without tokens
    {3, {2, 0, 2, 2, 0}},           // expert 1 empty
    {4, {3, 3, 3, 3, 3, 3, 3}},     // all to the last
    {4, {0, 0, 0}},                 // all to the first
    {8, scattered_ids(100, 8)},     //
    {64, scattered_ids(3000, 64)},  // several tasks
    {300, scattered_ids(40, 300)},
    {1100, scattered_ids(5000, 1100)},
};

TEST_CASE("sort_by_expert orders slots by expert and keeps the order within an expert") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      const auto count = static_cast<std::int64_t>(c.ids.size());
      INFO(count << " slots, " << c.num_experts << " experts");
      GuardedTensors tensors(device);
      const Tensor ids = tensors.input("ids", c.ids);
      const Tensor offsets = tensors.output("offsets", {c.num_experts + 1}, DType::i32);
      const Tensor slot_of_row = tensors.output("slot_of_row", {count}, DType::i32);
      const Tensor row_of_slot = tensors.output("row_of_slot", {count}, DType::i32);
      device.backend.sort_by_expert(ids, c.num_experts, offsets, slot_of_row, row_of_slot);
      const auto expected = reference::sort_by_expert(c.ids, usize(c.num_experts));
      CHECK(ids_of(offsets) == expected.offsets);
      CHECK(ids_of(slot_of_row) == expected.slot_of_row);
      CHECK(ids_of(row_of_slot) == expected.row_of_slot);
      tensors.expect_intact();
    }
  });
}

TEST_CASE("gather_rows copies rows of any type, in any order and repeatedly") {
  const Ids index{4, 0, 0, 2, 4, 1};
  for_each_device([&](TestDevice& device) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
      for (const std::int64_t width : {1, 3, 16, 33, 200}) {
        INFO(dtype_name(dtype) << " rows of " << width);
        GuardedTensors tensors(device);
        const Vector values =
            values_of(tensor_of(device.allocator, {5, width}, dtype, random_values("x", 5 * usize(width), 100.0)));
        const Tensor x = tensors.input("x", {5, width}, dtype, values);
        const Tensor y = tensors.output("y", {6, width}, dtype);
        device.backend.gather_rows(x, tensors.input("index", index), y);
        expect_equal("y", y, reference::gather_rows(values, index, usize(width)));
        const Tensor none = tensors.output("none", {0, width}, dtype);
        device.backend.gather_rows(x, tensors.input("index", Ids{}), none);
        tensors.expect_intact();
      }
    }
  });
}

TEST_CASE("slot_rows numbers the rows of every token's choices, and of tokens without choices none") {
  const Ids token_offsets{0, 2, 2, 5, 6};
  const Ids ids{3, 0, 1, 2, 0, 4};
  for_each_device([&](TestDevice& device) {
    GuardedTensors tensors(device);
    const Tensor offsets = tensors.input("token_offsets", token_offsets);
    const Tensor rows = tensors.output("rows", {6}, DType::i32);
    device.backend.slot_rows(tensors.input("ids", ids), offsets, 5, rows);
    CHECK(ids_of(rows) == Ids{3, 0, 11, 12, 10, 19});
    device.backend.slot_rows(Tensor{}, offsets, 1, rows);
    CHECK(ids_of(rows) == Ids{0, 0, 2, 2, 2, 3});
    device.backend.slot_rows(Tensor{}, tensors.input("no tokens", Ids{0}), 1, tensors.output("none", {0}, DType::i32));
    tensors.expect_intact();
  });
  TestDevice device;
  const Tensor offsets = tensor_of(device.allocator, {5}, DType::i32, as_values(token_offsets));
  const Tensor rows = Tensor::empty(device.allocator, {6}, DType::i32);
  expect_contains(requirement_of([&] { device.backend.slot_rows(Tensor{}, offsets, 1 << 30, rows); }),
                  "[slot_rows] required tokens");
  expect_contains(requirement_of([&] { device.backend.slot_rows(offsets, offsets, 1, rows); }),
                  "[slot_rows] required ids");
}

TEST_CASE("scatter_add_rows adds each row to its place") {
  const Ids index{4, 0, 2, 1};
  for_each_device([&](TestDevice& device) {
    for (const DType dtype : act_types) {
      for (const std::int64_t width : {1, 3, 16, 33, 200}) {
        INFO(dtype_name(dtype) << " rows of " << width);
        GuardedTensors tensors(device);
        const Vector values = random_values("x", 4 * usize(width), 1.0, dtype);
        const Vector start = random_values("y", 5 * usize(width), 1.0, dtype);
        const Tensor x = tensors.input("x", {4, width}, dtype, values);
        const Tensor y = tensors.updated("y", {5, width}, dtype, start);
        device.backend.scatter_add_rows(x, tensors.input("index", index), y);
        expect_close("y", y, reference::scatter_add_rows(values, index, start, usize(width)), 1);
        const Tensor none = tensors.input("none", {0, width}, dtype, {});
        device.backend.scatter_add_rows(none, tensors.input("index", Ids{}), y);
        tensors.expect_intact();
      }
    }
  });
}

/// Tokens with 0, 1, 2, … assignments, rows in the order of experts.
struct Dispatch {
  Ids token_offsets, row_of_slot;
};
Dispatch ragged_dispatch(std::int64_t num_tokens, std::int64_t num_experts) {
  Dispatch dispatch{{0}, {}};
  for (std::int64_t t = 0; t < num_tokens; ++t) {
    dispatch.token_offsets.push_back(dispatch.token_offsets.back() + static_cast<std::int32_t>(t % 4));
  }
  const Ids ids = scattered_ids(dispatch.token_offsets.back(), num_experts);
  dispatch.row_of_slot = reference::sort_by_expert(ids, usize(num_experts)).row_of_slot;
  return dispatch;
}

TEST_CASE("sum_rows sums the rows of each token, overwriting or adding") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t num_tokens : {0, 1, 2, 9, 130}) {
      for (const std::int64_t width : {1, 7, 16, 33, 130}) {
        for (const DType dtype : act_types) {
          for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
            INFO(num_tokens << " tokens, rows of " << width << ' ' << dtype_name(dtype));
            GuardedTensors tensors(device);
            const Dispatch dispatch = ragged_dispatch(num_tokens, 5);
            const auto num_rows = static_cast<std::int64_t>(dispatch.row_of_slot.size());
            const bool add = accumulate == Accumulate::yes;
            const Vector values = random_values("x", usize(num_rows * width), 1.0, dtype);
            const Vector start = random_values("y", usize(num_tokens * width), 1.0, dtype);
            const Tensor x = tensors.input("x", {num_rows, width}, dtype, values);
            const Tensor y = tensors.result("y", {num_tokens, width}, dtype, add, start);
            device.backend.sum_rows(x, tensors.input("token_offsets", dispatch.token_offsets),
                                    tensors.input("row_of_slot", dispatch.row_of_slot), y, accumulate);
            Vector expected = reference::sum_rows(values, dispatch.token_offsets, dispatch.row_of_slot, usize(width));
            for (std::size_t i = 0; i < expected.size() && add; ++i) expected[i] += start[i];
            expect_close("y", y, expected, 4);
            tensors.expect_intact();
          }
        }
      }
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_tokens) {
  Allocator& allocator = device.allocator;
  const std::int64_t num_experts = 16, top_k = 4, width = 32, count = num_tokens * top_k;
  const auto index_of = [&](const Ids& ids) {
    return tensor_of(allocator, {static_cast<std::int64_t>(ids.size())}, DType::i32, as_values(ids));
  };
  const Tensor offsets = Tensor::empty(allocator, {num_experts + 1}, DType::i32);
  const Tensor slot_of_row = Tensor::empty(allocator, {count}, DType::i32);
  const Tensor row_of_slot = Tensor::empty(allocator, {count}, DType::i32);
  device.backend.sort_by_expert(index_of(scattered_ids(count, num_experts)), num_experts, offsets, slot_of_row,
                                row_of_slot);
  const Tensor x =
      tensor_of(allocator, {count, width}, DType::bf16, random_values("x", usize(count * width), 1.0, DType::bf16));
  const Tensor gathered = Tensor::empty(allocator, {count, width}, DType::bf16);
  device.backend.gather_rows(x, slot_of_row, gathered);
  device.backend.scatter_add_rows(x, row_of_slot, gathered);
  Ids token_offsets;
  for (std::int64_t t = 0; t <= num_tokens; ++t) token_offsets.push_back(static_cast<std::int32_t>(t * top_k));
  const Tensor y = Tensor::empty(allocator, {num_tokens, width}, DType::bf16);
  device.backend.sum_rows(gathered, index_of(token_offsets), row_of_slot, y, Accumulate::no);
  return {{"offsets", offsets},
          {"slot_of_row", slot_of_row},
          {"row_of_slot", row_of_slot},
          {"scatter_add_rows", gathered},
          {"sum_rows", y}};
}

TEST_CASE("permutation kernels give the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("permutation kernels give the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("permutation kernels refuse wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  Backend& backend = device.backend;
  const auto make = [&](const Shape& shape, DType dtype = DType::i32) {
    const Tensor tensor = Tensor::empty(device.allocator, shape, dtype);
    backend.fill(tensor, 0.0F);
    return tensor;
  };
  const Tensor ids = make({3}), x = make({3, 4}, DType::f32);
  expect_contains(requirement_of([&] { backend.sort_by_expert(make({3}, DType::f32), 2, make({3}), ids, make({3})); }),
                  "[sort_by_expert] required ids");
  expect_contains(requirement_of([&] { backend.sort_by_expert(ids, 2, make({2}), make({3}), make({3})); }),
                  "[sort_by_expert] required offsets");
  expect_contains(requirement_of([&] { backend.sort_by_expert(ids, 2, make({3}), make({4}), make({3})); }),
                  "[sort_by_expert] required slot_of_row");
  expect_contains(requirement_of([&] { backend.sort_by_expert(ids, 2, make({3}), make({3}), make({2})); }),
                  "[sort_by_expert] required row_of_slot");
  expect_contains(requirement_of([&] {
                    backend.gather_rows(x, ids, make({3, 5}, DType::f32));
                  }),
                  "[gather_rows] required y");
  expect_contains(requirement_of([&] {
                    backend.gather_rows(x, make({3}, DType::f32), make({3, 4}, DType::f32));
                  }),
                  "[gather_rows] required index");
  expect_contains(requirement_of([&] {
                    backend.scatter_add_rows(x, make({2}), make({5, 4}, DType::f32));
                  }),
                  "[scatter_add_rows] required index");
  expect_contains(requirement_of([&] {
                    backend.scatter_add_rows(x, ids, make({5, 3}, DType::f32));
                  }),
                  "[scatter_add_rows] required y");
  expect_contains(requirement_of([&] {
                    backend.sum_rows(x, ids, ids, make({2, 5}, DType::f32), Accumulate::no);
                  }),
                  "[sum_rows] required y");
  expect_contains(requirement_of([&] {
                    backend.sum_rows(x, make({3}, DType::f32), ids, make({2, 4}, DType::f32), Accumulate::no);
                  }),
                  "[sum_rows] required token_offsets");
}

}  // namespace
}  // namespace artel

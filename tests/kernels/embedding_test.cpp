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
  std::int64_t vocab_size, hidden_size;
  Ids ids;
};

/// Ids that visit the vocabulary unevenly.
Ids scattered_ids(std::int64_t count, std::int64_t vocab_size) {
  Ids ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(i * i % vocab_size));
  return ids;
}

const std::vector<Case> cases{
    {5, 8, {}},
    {1, 1, {0}},
    {7, 3, {6}},
    {4, 17, {3, 3, 3, 3, 3}},
    {37, 33, scattered_ids(50, 37)},
    {9, 64, scattered_ids(700, 9)},
    {256, 100, scattered_ids(300, 256)},
};

TEST_CASE("embedding and its gradient agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        const auto num_tokens = static_cast<std::int64_t>(c.ids.size());
        const std::size_t d = usize(c.hidden_size);
        INFO(num_tokens << " tokens, table [" << c.vocab_size << ", " << c.hidden_size << "] " << dtype_name(act));
        GuardedTensors tensors(device);
        const Vector rows = random_values("table", usize(c.vocab_size) * d, 1.0, act);
        const Tensor table = tensors.input("table", {c.vocab_size, c.hidden_size}, act, rows);
        const Tensor ids = tensors.input("ids", c.ids);
        const Tensor y = tensors.output("y", {num_tokens, c.hidden_size}, act);
        device.backend.embedding(table, ids, y);
        expect_equal("y", y, reference::gather_rows(rows, c.ids, d));

        const Vector cotangent = random_values("dy", c.ids.size() * d, 1.0, act);
        const Vector start = random_values("dtable", rows.size());
        const Tensor dy = tensors.input("dy", {num_tokens, c.hidden_size}, act, cotangent);
        const Tensor dtable = tensors.updated("dtable", {c.vocab_size, c.hidden_size}, DType::f32, start);
        device.backend.embedding_backward(ids, dy, dtable);
        expect_close("dtable", dtable, reference::scatter_add_rows(cotangent, c.ids, start, d), c.ids.size());
        tensors.expect_intact();
      }
    }
  });
}

/// Ids that come in all lengths of runs: `often` every second time, the others drawn.
Ids ids_with(std::int32_t often, std::int64_t count, std::int64_t vocab_size) {
  Ids ids;
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    ids.push_back(i % 2 == 0 ? often : static_cast<std::int32_t>((state >> 8U) % vocab_size));
  }
  return ids;
}

/// The f32 sums of a loop over the tokens.
Vector sums_in_order(const Vector& rows, const Ids& ids, const Vector& start, std::size_t width) {
  std::vector<float> sums(start.begin(), start.end());
  for (std::size_t t = 0; t < ids.size(); ++t) {
    for (std::size_t i = 0; i < width; ++i) sums[usize(ids[t]) * width + i] += static_cast<float>(rows[t * width + i]);
  }
  return {sums.begin(), sums.end()};
}

TEST_CASE("embedding_backward adds the rows of every id in ascending token order") {
  // One, two and three digits of a sort by 9 bits; an id with fewer tokens than any unit of work, one more and many.
  const std::vector<Case> ordered{{2, 4, ids_with(1, 5, 2)},          {3, 33, ids_with(2, 130, 3)},
                                  {256, 12, ids_with(32, 2500, 256)}, {600, 132, ids_with(599, 700, 600)},
                                  {3000, 8, ids_with(7, 1100, 3000)}, {270000, 1, ids_with(262143, 1500, 270000)}};
  for_each_device([&](TestDevice& device) {
    for (const Case& c : ordered) {
      for (const DType act : act_types) {
        const auto num_tokens = static_cast<std::int64_t>(c.ids.size());
        const std::size_t d = usize(c.hidden_size);
        INFO(num_tokens << " tokens, table [" << c.vocab_size << ", " << c.hidden_size << "] " << dtype_name(act));
        GuardedTensors tensors(device);
        const Vector rows = random_values("dy", c.ids.size() * d, 1.0, act);
        const Vector start = random_values("dtable", usize(c.vocab_size) * d);
        const Tensor ids = tensors.input("ids", c.ids);
        const Tensor dy = tensors.input("dy", {num_tokens, c.hidden_size}, act, rows);
        const Tensor dtable = tensors.updated("dtable", {c.vocab_size, c.hidden_size}, DType::f32, start);
        device.backend.embedding_backward(ids, dy, dtable);
        expect_equal("dtable", dtable, sums_in_order(rows, c.ids, start, d));
        tensors.expect_intact();
      }
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_tokens) {
  Allocator& allocator = device.allocator;
  const std::int64_t vocab_size = 300, hidden_size = 64;
  const Ids positions = scattered_ids(num_tokens, vocab_size);
  const Tensor ids = tensor_of(allocator, {num_tokens}, DType::i32, {positions.begin(), positions.end()});
  const Tensor dy = tensor_of(allocator, {num_tokens, hidden_size}, DType::bf16,
                              random_values("dy", usize(num_tokens * hidden_size)));
  const Tensor dtable = tensor_of(allocator, {vocab_size, hidden_size}, DType::f32,
                                  random_values("dtable", usize(vocab_size * hidden_size)));
  device.backend.embedding_backward(ids, dy, dtable);
  const Tensor y = Tensor::empty(allocator, {num_tokens, hidden_size}, DType::f32);
  device.backend.embedding(dtable, ids, y);
  return {{"y", y}, {"dtable", dtable}};
}

TEST_CASE("embedding gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("embedding gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("embedding refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  Backend& backend = device.backend;
  const auto make = [&](const Shape& shape, DType dtype) { return Tensor::empty(device.allocator, shape, dtype); };
  const Tensor table = make({5, 4}, DType::f32);
  const Tensor ids = make({3}, DType::i32);
  device.backend.fill(ids, 0.0F);
  expect_contains(requirement_of([&] {
                    backend.embedding(table, ids, make({3, 5}, DType::f32));
                  }),
                  "[embedding] required y");
  expect_contains(requirement_of([&] {
                    backend.embedding(table, ids, make({3, 4}, DType::bf16));
                  }),
                  "[embedding] required y");
  expect_contains(requirement_of([&] {
                    backend.embedding(table, make({3}, DType::f32), make({3, 4}, DType::f32));
                  }),
                  "[embedding] required ids");
  expect_contains(requirement_of([&] {
                    backend.embedding(make({5, 4}, DType::i32), ids, make({3, 4}, DType::i32));
                  }),
                  "[embedding] required table");
  expect_contains(requirement_of([&] {
                    backend.embedding_backward(ids, make({2, 4}, DType::f32), table);
                  }),
                  "[embedding_backward] required dy");
  expect_contains(requirement_of([&] {
                    backend.embedding_backward(ids, make({3, 4}, DType::bf16), make({5, 4}, DType::bf16));
                  }),
                  "[embedding_backward] required dtable");
}

}  // namespace
}  // namespace artel

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/attention.h"
#include "support/tensors.h"
#include "support/test_device.h"

// Keys and values that are kept, and attention to them: the same as attention over the whole sequence.

namespace artel {
namespace {

using reference::Vector;

struct Case {
  std::int64_t past;
  AttentionShape shape;  ///< of the new tokens
  double stddev = 1.0;
};
const std::vector<Case> cases{
    {0, {1, 1, 1, 1, 2}},     {0, {1, 5, 2, 1, 8}},    {3, {1, 1, 4, 2, 8}},        {7, {1, 4, 2, 2, 18}},
    {64, {1, 1, 3, 3, 20}},   {300, {1, 1, 2, 1, 64}}, {40, {1, 2, 2, 1, 16}, 6.0}, {5, {1, 0, 2, 1, 8}},
    {130, {1, 3, 4, 1, 128}}, {33, {1, 1, 2, 1, 256}},
};

Vector part(const Vector& x, std::int64_t begin, std::int64_t end) {
  return {x.begin() + begin, x.begin() + end};
}

void check(TestDevice& device, const Case& c, DType act) {
  const AttentionShape& s = c.shape;
  const std::int64_t length = c.past + s.sequence_length;
  const AttentionShape whole{1, length, s.num_heads, s.num_kv_heads, s.head_dim};
  const std::int64_t row = s.num_qkv_heads() * s.head_dim;
  const Vector all = random_values("qkv", usize(length * row), c.stddev, act);
  GuardedTensors tensors(device);
  const Tensor past_qkv =
      tensors.input("past", {c.past, s.num_qkv_heads(), s.head_dim}, act, part(all, 0, c.past * row));
  const Tensor qkv = tensors.input("qkv", {s.sequence_length, s.num_qkv_heads(), s.head_dim}, act,
                                   part(all, c.past * row, length * row));
  const Tensor cache = tensors.output("cache", {length + 2, 2 * s.num_kv_heads, s.head_dim}, act);
  const Tensor y = tensors.output("y", {s.sequence_length, s.num_heads, s.head_dim}, act);
  device.backend.store_keys_values(past_qkv, {1, c.past, s.num_heads, s.num_kv_heads, s.head_dim}, 0, cache);
  device.backend.store_keys_values(qkv, s, c.past, cache);
  device.backend.cached_attention(qkv, cache, s, c.past, y);

  const std::vector<double> kept = values_of(cache);
  const std::int64_t kept_row = 2 * s.num_kv_heads * s.head_dim;
  for (std::int64_t t = 0; t < length; ++t) {
    const std::int64_t from = t * row + s.num_heads * s.head_dim;
    REQUIRE(part(kept, t * kept_row, (t + 1) * kept_row) == part(all, from, from + kept_row));
  }
  CHECK(std::isnan(kept.back()));  // rows beyond are left alone
  const auto expected = reference::attention(all, whole);
  const std::int64_t y_row = s.num_heads * s.head_dim;
  const double score = std::max(1.0, largest(expected.lse));
  expect_close("y", y, part(expected.y, c.past * y_row, length * y_row), usize(s.head_dim + length),
               largest(expected.y) * score);
  tensors.expect_intact();
}

TEST_CASE("attention to kept keys and values equals attention over the whole sequence") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        INFO(c.past << " + " << c.shape.sequence_length << " tokens, heads " << c.shape.num_heads << ", "
                    << c.shape.num_kv_heads << " of " << c.shape.head_dim << ' ' << dtype_name(act));
        check(device, c, act);
      }
    }
  });
}

TEST_CASE("attention to kept keys and values gives the same bits on every run") {
  const AttentionShape s{1, 3, 4, 2, 32};
  expect_same_bits_on_every_run([&](TestDevice& device) {
    const auto random = [&](const char* name, const Shape& shape) {
      return tensor_of(device.allocator, shape, DType::bf16,
                       random_values(name, usize(shape.numel()), 1.0, DType::bf16));
    };
    const Tensor y = Tensor::empty(device.allocator, {3, 4, 32}, DType::bf16);
    device.backend.cached_attention(random("qkv", {3, 8, 32}), random("cache", {200, 4, 32}), s, 190, y);
    return NamedTensors{{"y", y}};
  });
}

TEST_CASE("attention to kept keys and values refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const AttentionShape s{1, 2, 2, 1, 32};
  const auto error = [&](In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) {
    return error_text([&] { device.backend.cached_attention(qkv, cache, shape, past, y); });
  };
  const Tensor qkv = make({2, 4, 32}), cache = make({5, 2, 32}), y = make({2, 2, 32});
  device.backend.fill(qkv, 0.5F);
  device.backend.fill(cache, 0.25F);
  CHECK(error(qkv, cache, s, 3, y) == "(no error)");
  expect_contains(error(qkv, cache, s, 4, y), "[cached_attention] required room for 2 tokens behind 4, found a cache");
  expect_contains(error(qkv, cache, s, -1, y), "behind -1");
  expect_contains(error(make({2, 3, 32}), cache, s, 0, y), "[cached_attention] required qkv");
  expect_contains(error(qkv, make({5, 2, 32}, DType::bf16), s, 0, y), "[cached_attention] required cache");
  expect_contains(error(qkv, make({5, 64}), s, 0, y), "[cached_attention] required cache");
  expect_contains(error(qkv, cache, s, 0, make({2, 2, 31})), "[cached_attention] required y");
  expect_contains(error(make({4, 4, 32}), cache, {2, 2, 2, 1, 32}, 0, make({4, 2, 32})), "required one sequence");
  expect_contains(error_text([&] { device.backend.store_keys_values(qkv, s, 4, cache); }), "[store_keys_values]");
}

}  // namespace
}  // namespace artel

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/attention.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Vector;

struct Case {
  AttentionShape shape;  ///< sequences, their length, query heads, key/value heads, head_dim
  double stddev = 1.0;   ///< of queries, keys and values
};
const std::vector<Case> cases{
    {{0, 4, 2, 1, 8}},
    {{1, 1, 1, 1, 2}},
    {{3, 1, 2, 2, 6}},
    {{2, 5, 4, 2, 8}},
    {{1, 33, 2, 1, 18}},
    {{1, 64, 1, 1, 32}},
    {{1, 65, 3, 3, 20}},
    {{2, 130, 4, 1, 16}},
    {{1, 300, 2, 1, 64}},
    {{1, 40, 2, 1, 16}, 6.0},
    {{8, 261, 2, 2, 6}},
    {{1, 530, 2, 2, 10}},
    // Head sizes that every device takes.
    {{0, 4, 2, 1, 32}},
    {{1, 1, 1, 1, 64}},
    {{3, 1, 2, 2, 128}},
    {{2, 5, 4, 2, 32}},
    {{1, 33, 2, 1, 96}},
    {{1, 64, 1, 1, 128}},
    {{1, 65, 3, 3, 32}},
    {{2, 130, 4, 1, 32}},
    {{1, 200, 1, 1, 96}},
    {{1, 40, 2, 1, 32}, 6.0},
};

/// What the results may miss more where `act` is rounded once more: 2^-8 of each term, half a unit in the last place of
/// bf16, of the sums over positions, whose first factors, the probabilities and their gradients, become operands of a
/// product of bf16. That is what units made for such products take.
Vector rounding_of(const TestDevice& device, DType act, Vector terms) {
  if (act != DType::bf16 || !device.backend.has_native_bf16()) return {};
  for (double& term : terms) term *= 0x1p-8;
  return terms;
}

/// Where documents begin, for every token: none said, each sequence one, a token each, of 1 to `longest` tokens.
using reference::Starts;
Starts starts_of(const AttentionShape& s, std::int64_t longest) {
  Starts starts;
  std::uint64_t state = 7;
  for (std::int64_t b = 0; b < s.num_sequences; ++b) {
    std::int64_t start = 0, end = 0;
    for (std::int64_t q = 0; q < s.sequence_length; ++q) {
      if (q == end) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        start = end;
        end += 1 + static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(longest));
      }
      starts.push_back(static_cast<std::int32_t>(start));
    }
  }
  return starts;
}

void check(TestDevice& device, const Case& c, DType act, const Starts& starts = {}) {
  AttentionShape s = c.shape;
  const std::int64_t num_tokens = s.num_tokens();
  const Shape qkv_shape{num_tokens, s.num_qkv_heads(), s.head_dim}, y_shape{num_tokens, s.num_heads, s.head_dim};
  const Shape lse_shape{s.num_sequences, s.num_heads, s.sequence_length};
  const Vector qkv_values = random_values("qkv", usize(qkv_shape.numel()), c.stddev, act);
  const Vector dy_values = random_values("dy", usize(y_shape.numel()), 1.0, act);
  GuardedTensors tensors(device);
  if (!starts.empty()) s.document_starts = tensors.input("document_starts", starts);
  const Tensor qkv = tensors.input("qkv", qkv_shape, act, qkv_values);
  const Tensor y = tensors.output("y", y_shape, act);
  const Tensor lse = tensors.output("lse", lse_shape, DType::f32);
  device.backend.attention(qkv, s, y, lse);
  const auto expected = reference::attention(qkv_values, s, reference::term_itself, starts);
  // The rounding of a score, a sum over head_dim, becomes a factor of its probability.
  const double score = std::max(1.0, largest(expected.lse));
  const std::size_t length = usize(s.head_dim + s.sequence_length);
  expect_close("lse", lse, expected.lse, length, score);
  expect_close("y", y, expected.y, length, largest(expected.y) * score,
               rounding_of(device, act, reference::attention(qkv_values, s, reference::term_magnitude, starts).y));

  // The backward kernel gets the output as stored, and so does the reference.
  const Vector stored_y = rounded(expected.y, act);
  const Tensor y_in = tensors.input("y", y_shape, act, stored_y);
  const Tensor lse_in = tensors.input("lse", lse_shape, DType::f32, expected.lse);
  const Tensor dy = tensors.input("dy", y_shape, act, dy_values);
  const Tensor dqkv = tensors.output("dqkv", qkv_shape, act);
  device.backend.attention_backward(qkv, y_in, lse_in, dy, s, dqkv);
  const Vector gradient =
      reference::attention_backward(qkv_values, stored_y, dy_values, s, reference::term_itself, starts);
  expect_close("dqkv", dqkv, gradient, length, largest(gradient) * score,
               rounding_of(device, act,
                           reference::attention_backward(qkv_values, stored_y, dy_values, s, reference::term_magnitude,
                                                         starts)));
  tensors.expect_intact();
}

TEST_CASE("attention and its gradient agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      if (!device.takes_head_dim(c.shape.head_dim)) continue;
      for (const DType act : act_types) {
        const AttentionShape& s = c.shape;
        INFO(s.num_sequences << " x " << s.sequence_length << " tokens, heads " << s.num_heads << ", " << s.num_kv_heads
                             << " of " << s.head_dim << ' ' << dtype_name(act) << " stddev " << c.stddev);
        check(device, c, act);
      }
    }
  });
}

TEST_CASE("attention within documents and its gradient agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      if (!device.takes_head_dim(c.shape.head_dim)) continue;
      for (const DType act : act_types) {
        const AttentionShape& s = c.shape;
        for (const std::int64_t longest : {1, 7, 150, 400}) {
          INFO(s.num_sequences << " x " << s.sequence_length << " tokens, heads " << s.num_heads << ", "
                               << s.num_kv_heads << " of " << s.head_dim << ' ' << dtype_name(act) << " stddev "
                               << c.stddev << " documents up to " << longest);
          check(device, c, act, starts_of(s, longest));
        }
      }
    }
  });
}

TEST_CASE("attention within documents equals that of each document apart, and so does the gradient") {
  for_each_device([](TestDevice& device) {
    const std::vector<std::int64_t> lengths = {70, 1, 64, 130, 35};
    AttentionShape packed{1, 300, 2, 1, 32};
    const Vector qkv = random_values("qkv", 300 * 4 * 32), dy = random_values("dy", 300 * 2 * 32);
    Starts starts;
    for (const std::int64_t length : lengths) {
      starts.insert(starts.end(), usize(length), static_cast<std::int32_t>(starts.size()));
    }
    GuardedTensors tensors(device);
    packed.document_starts = tensors.input("document_starts", starts);
    const auto run = [&](const AttentionShape& s, std::int64_t first) {
      const std::int64_t n = s.num_tokens();
      const auto part = [&](const Vector& x, std::int64_t width) {
        return Vector(x.begin() + first * width, x.begin() + (first + n) * width);
      };
      const Tensor x = tensors.input("qkv", {n, 4, 32}, DType::f32, part(qkv, 128));
      const Tensor y = tensors.output("y", {n, 2, 32}, DType::f32), dx = tensors.output("dqkv", x.shape(), DType::f32);
      const Tensor lse = tensors.output("lse", {1, 2, n}, DType::f32);
      device.backend.attention(x, s, y, lse);
      device.backend.attention_backward(x, y, lse, tensors.input("dy", y.shape(), DType::f32, part(dy, 64)), s, dx);
      return NamedTensors{{"y", y}, {"dqkv", dx}};
    };
    const NamedTensors together = run(packed, 0);
    std::int64_t first = 0;
    for (const std::int64_t length : lengths) {
      const NamedTensors apart = run({1, length, 2, 1, 32}, first);
      for (std::size_t i = 0; i < apart.size(); ++i) {
        const Vector expected = values_of(apart[i].second);
        expect_close(apart[i].first, together[i].second.rows(first, first + length), expected, usize(32 + length),
                     4.0 * largest(expected));
      }
      first += length;
    }
    tensors.expect_intact();
  });
}

NamedTensors run_all(TestDevice& device, const AttentionShape& s, DType act) {
  Allocator& allocator = device.allocator;
  const Shape qkv_shape{s.num_tokens(), s.num_qkv_heads(), s.head_dim};
  const auto random = [&](const char* name, const Shape& shape) {
    return tensor_of(allocator, shape, act, random_values(name, usize(shape.numel())));
  };
  const Tensor qkv = random("qkv", qkv_shape);
  const Tensor y = Tensor::empty(allocator, {s.num_tokens(), s.num_heads, s.head_dim}, act);
  const Tensor lse = Tensor::empty(allocator, {s.num_sequences, s.num_heads, s.sequence_length}, DType::f32);
  device.backend.attention(qkv, s, y, lse);
  const Tensor dqkv = Tensor::empty(allocator, qkv_shape, act);
  device.backend.attention_backward(qkv, y, lse, random("dy", y.shape()), s, dqkv);
  return {{"y", y}, {"lse", lse}, {"dqkv", dqkv}};
}

TEST_CASE("documents as long as their sequences change no bit of attention") {
  TestDevice device(2);
  for (const DType act : act_types) {
    for (const AttentionShape& plain : {AttentionShape{2, 130, 4, 2, 32}, AttentionShape{1, 600, 2, 1, 32}}) {
      AttentionShape s = plain;
      s.document_starts = tensor_of(device.allocator, {s.num_tokens()}, DType::i32, Vector(usize(s.num_tokens()), 0.0));
      const NamedTensors with = run_all(device, s, act), without = run_all(device, plain, act);
      for (std::size_t i = 0; i < with.size(); ++i) CHECK(bytes_of(with[i].second) == bytes_of(without[i].second));
    }
  }
}

TEST_CASE("attention looks only backwards and only within its sequence") {
  const AttentionShape s{2, 70, 2, 1, 32};
  const Shape qkv_shape{140, 4, 32};
  TestDevice device(2);
  const Vector values = random_values("qkv", usize(qkv_shape.numel()));
  Vector changed = values;
  for (std::size_t i = 50 * 128; i < 70 * 128; ++i) changed[i] = -3.0 * changed[i] + 1.0;  // tokens 50 to 69
  const auto run = [&](const Vector& qkv) {
    const Tensor y = Tensor::empty(device.allocator, {140, 2, 32}, DType::f32);
    const Tensor lse = Tensor::empty(device.allocator, {2, 2, 70}, DType::f32);
    device.backend.attention(tensor_of(device.allocator, qkv_shape, DType::f32, qkv), s, y, lse);
    return y;
  };
  const Tensor before = run(values), after = run(changed);
  CHECK(bytes_of(before.rows(0, 50)) == bytes_of(after.rows(0, 50)));
  CHECK(bytes_of(before.rows(70, 140)) == bytes_of(after.rows(70, 140)));
  CHECK(bytes_of(before.rows(50, 70)) != bytes_of(after.rows(50, 70)));
}

TEST_CASE("attention gives the same bits on every run") {
  for (const DType act : act_types) {
    expect_same_bits_on_every_run([&](TestDevice& device) { return run_all(device, {2, 130, 4, 2, 32}, act); });
    expect_same_bits_on_every_run([&](TestDevice& device) {
      AttentionShape s{2, 130, 4, 2, 32};
      const Starts starts = starts_of(s, 60);
      s.document_starts = tensor_of(device.allocator, {260}, DType::i32, {starts.begin(), starts.end()});
      return run_all(device, s, act);
    });
  }
}

TEST_CASE("attention gives the same bits on every run, many short sequences and a long one", "[large]") {
  for (const DType act : act_types) {
    for (const AttentionShape& s : {AttentionShape{9, 130, 4, 2, 32}, AttentionShape{1, 1100, 4, 2, 32}}) {
      expect_same_bits_on_every_run([&](TestDevice& device) { return run_all(device, s, act); });
    }
  }
}

TEST_CASE("attention gives the same bits on every run, 16,384 tokens", "[slow]") {
  for (const AttentionShape& s : {AttentionShape{64, 256, 4, 2, 32}, AttentionShape{8, 2048, 2, 1, 32}}) {
    expect_same_bits_on_every_run([&](TestDevice& device) { return run_all(device, s, DType::bf16); });
  }
}

TEST_CASE("attention refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const AttentionShape s{2, 3, 2, 1, 32};
  const Tensor qkv = make({6, 4, 32}), y = make({6, 2, 32}), lse = make({2, 2, 3});
  const auto forward = [&](In x, const AttentionShape& shape, Out out, Out l) {
    return requirement_of([&] { device.backend.attention(x, shape, out, l); });
  };
  expect_contains(forward(make({6, 3, 32}), s, y, lse), "[attention] required qkv");
  expect_contains(forward(make({6, 4, 32}, DType::i32), s, y, lse), "[attention] required qkv");
  expect_contains(forward(qkv, s, make({6, 2, 32}, DType::bf16), lse), "[attention] required y");
  expect_contains(forward(qkv, s, y, make({2, 3, 2})), "[attention] required lse");
  expect_contains(forward(make({6, 7, 32}), {2, 3, 3, 2, 32}, make({6, 3, 32}), make({2, 3, 3})),
                  "[attention] required");
  expect_contains(forward(qkv, {2, 3, 2, 1, 32, make({5}, DType::i32)}, y, lse),
                  "[attention] required document_starts");
  expect_contains(forward(qkv, {2, 3, 2, 1, 32, make({6})}, y, lse), "[attention] required document_starts");
  const auto backward = [&](In out, In l, In dy, Out dqkv) {
    return requirement_of([&] { device.backend.attention_backward(qkv, out, l, dy, s, dqkv); });
  };
  expect_contains(backward(make({5, 2, 32}), lse, y, make({6, 4, 32})), "[attention_backward] required y");
  expect_contains(backward(y, make({2, 2, 4}), y, make({6, 4, 32})), "[attention_backward] required lse");
  expect_contains(backward(y, lse, make({6, 2, 31}), make({6, 4, 32})), "[attention_backward] required dy");
  expect_contains(backward(y, lse, y, make({6, 4, 32}, DType::bf16)), "[attention_backward] required dqkv");
}

}  // namespace
}  // namespace artel

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

// Sequences, their length, query heads, key/value heads, head_dim.
const std::vector<AttentionShape> shapes{{0, 4, 2, 1, 8},  {1, 1, 1, 1, 2},  {2, 5, 4, 2, 8},   {1, 7, 2, 1, 6},
                                         {3, 3, 1, 1, 34}, {2, 9, 3, 3, 16}, {1, 33, 6, 2, 64}, {40, 20, 2, 1, 4}};
constexpr float eps = 1.0e-6F;

std::string describe(const AttentionShape& s, DType act, bool normed, bool in_place) {
  return std::to_string(s.num_sequences) + " x " + std::to_string(s.sequence_length) + " tokens, " +
         std::to_string(s.num_heads) + " + 2 x " + std::to_string(s.num_kv_heads) + " heads of " +
         std::to_string(s.head_dim) + ' ' + dtype_name(act) + " norms " + std::to_string(normed) + " in place " +
         std::to_string(in_place);
}

/// Operands of one case.
struct Problem {
  Problem(const AttentionShape& s, DType act, bool normed)
      : qkv_shape{s.num_tokens(), s.num_qkv_heads(), s.head_dim},
        rstd_shape{s.num_tokens(), s.num_heads + s.num_kv_heads},
        qkv(random_values("qkv", usize(qkv_shape.numel()), 1.0, act)),
        dy(random_values("dy", qkv.size(), 1.0, act)),
        table(rounded(reference::rope_table(usize(s.sequence_length), usize(s.head_dim), 1.0e4), DType::f32)) {
    if (!normed) return;
    q_norm = random_values("q_norm", usize(s.head_dim), 1.0, act);
    k_norm = random_values("k_norm", usize(s.head_dim), 1.0, act);
  }
  Shape qkv_shape, rstd_shape;
  Vector qkv, dy, table, q_norm, k_norm;
};

struct Norms {
  Tensor q, k;
};
Norms norms_of(GuardedTensors& tensors, const Problem& p, const AttentionShape& s, DType act) {
  if (p.q_norm.empty()) return {};
  return {tensors.input("q_norm", {s.head_dim}, act, p.q_norm), tensors.input("k_norm", {s.head_dim}, act, p.k_norm)};
}

/// Positions from 0 anew after 3 tokens, then after 2, and so on, elsewhere in each sequence; empty without documents.
reference::Starts starts_of(const AttentionShape& s, bool documents) {
  reference::Starts starts;
  for (std::int64_t t = 0; documents && t < s.num_tokens(); ++t) {
    const std::int64_t position = t % s.sequence_length;
    const std::int64_t shifted = (position + t / s.sequence_length) % 5;
    const bool begins = position == 0 || shifted == 0 || shifted == 3;
    starts.push_back(begins ? static_cast<std::int32_t>(position) : starts.back());
  }
  return starts;
}

void check_forward(TestDevice& device, AttentionShape s, DType act, bool normed, bool in_place, bool documents) {
  const Problem p(s, act, normed);
  GuardedTensors tensors(device);
  const reference::Starts starts = starts_of(s, documents);
  if (documents) s.document_starts = tensors.input("document_starts", starts);
  const Tensor y = in_place ? tensors.updated("qkv", p.qkv_shape, act, p.qkv) : tensors.output("y", p.qkv_shape, act);
  const Tensor qkv = in_place ? y : tensors.input("qkv", p.qkv_shape, act, p.qkv);
  const Tensor cos_sin = tensors.input("cos_sin", {s.sequence_length, s.head_dim}, DType::f32, p.table);
  const Norms norms = norms_of(tensors, p, s, act);
  const Tensor rstd = normed ? tensors.output("rstd", p.rstd_shape, DType::f32) : Tensor();
  device.backend.rope(qkv, cos_sin, s, norms.q, norms.k, eps, y, rstd);
  const auto expected = reference::rope(p.qkv, p.table, s, p.q_norm, p.k_norm, static_cast<double>(eps), starts);
  expect_close("y", y, expected.y, normed ? usize(s.head_dim) : 2);
  if (normed) expect_close("rstd", rstd, expected.rstd, usize(s.head_dim));
  tensors.expect_intact();
}

void check_backward(TestDevice& device, AttentionShape s, DType act, bool normed, bool in_place, bool documents) {
  const Problem p(s, act, normed);
  GuardedTensors tensors(device);
  const reference::Starts starts = starts_of(s, documents);
  if (documents) s.document_starts = tensors.input("document_starts", starts);
  const Tensor dqkv =
      in_place ? tensors.updated("dy", p.qkv_shape, act, p.dy) : tensors.output("dqkv", p.qkv_shape, act);
  const Tensor dy = in_place ? dqkv : tensors.input("dy", p.qkv_shape, act, p.dy);
  const Tensor cos_sin = tensors.input("cos_sin", {s.sequence_length, s.head_dim}, DType::f32, p.table);
  const Norms norms = norms_of(tensors, p, s, act);
  Tensor qkv, rstd, dq_norm, dk_norm;
  const Vector dq_start = random_values("dq_norm", usize(s.head_dim));
  const Vector dk_start = random_values("dk_norm", usize(s.head_dim));
  Vector rstd_values;
  if (normed) {
    rstd_values = reference::rope(p.qkv, p.table, s, p.q_norm, p.k_norm, static_cast<double>(eps), starts).rstd;
    qkv = tensors.input("qkv", p.qkv_shape, act, p.qkv);
    rstd = tensors.input("rstd", p.rstd_shape, DType::f32, rstd_values);
    dq_norm = tensors.updated("dq_norm", {s.head_dim}, DType::f32, dq_start);
    dk_norm = tensors.updated("dk_norm", {s.head_dim}, DType::f32, dk_start);
  }
  device.backend.rope_backward(dy, cos_sin, s, qkv, norms.q, norms.k, rstd, dqkv, dq_norm, dk_norm);

  auto expected =
      reference::rope_backward(p.dy, p.table, s, p.qkv, p.q_norm, p.k_norm, static_cast<double>(eps), starts);
  const double scale = normed ? largest(p.dy) * largest(p.q_norm) * largest(rstd_values) : 0.0;
  expect_close("dqkv", dqkv, expected.dqkv, normed ? usize(s.head_dim) : 2, largest(expected.dqkv) + scale);
  if (normed) {
    for (std::size_t i = 0; i < usize(s.head_dim); ++i) {
      expected.dq_norm[i] += dq_start[i];
      expected.dk_norm[i] += dk_start[i];
    }
    expect_close("dq_norm", dq_norm, expected.dq_norm, usize(s.num_tokens() * s.num_heads));
    expect_close("dk_norm", dk_norm, expected.dk_norm, usize(s.num_tokens() * s.num_kv_heads));
  }
  tensors.expect_intact();
}

TEST_CASE("rope and its gradients agree with the reference, with and without norms, in place and not") {
  for_each_device([](TestDevice& device) {
    for (const AttentionShape& s : shapes) {
      for (const DType act : act_types) {
        for (const bool normed : {false, true}) {
          for (const bool in_place : {false, true}) {
            for (const bool documents : {false, true}) {
              INFO(describe(s, act, normed, in_place) << " documents " << documents);
              if (!(normed && in_place)) check_forward(device, s, act, normed, in_place, documents);
              check_backward(device, s, act, normed, in_place, documents);
            }
          }
        }
      }
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_sequences) {
  Allocator& allocator = device.allocator;
  const AttentionShape s{num_sequences, 128, 2, 1, 16};
  const Problem p(s, DType::bf16, true);
  const Tensor qkv = tensor_of(allocator, p.qkv_shape, DType::bf16, p.qkv);
  const Tensor cos_sin = tensor_of(allocator, {s.sequence_length, s.head_dim}, DType::f32, p.table);
  const Tensor q_norm = tensor_of(allocator, {s.head_dim}, DType::bf16, p.q_norm);
  const Tensor k_norm = tensor_of(allocator, {s.head_dim}, DType::bf16, p.k_norm);
  const Tensor y = Tensor::empty(allocator, p.qkv_shape, DType::bf16);
  const Tensor rstd = Tensor::empty(allocator, p.rstd_shape, DType::f32);
  device.backend.rope(qkv, cos_sin, s, q_norm, k_norm, eps, y, rstd);
  const Tensor dqkv = tensor_of(allocator, p.qkv_shape, DType::bf16, p.dy);
  const Tensor dq_norm = tensor_of(allocator, {s.head_dim}, DType::f32, random_values("dq_norm", 16));
  const Tensor dk_norm = tensor_of(allocator, {s.head_dim}, DType::f32, random_values("dk_norm", 16));
  device.backend.rope_backward(dqkv, cos_sin, s, qkv, q_norm, k_norm, rstd, dqkv, dq_norm, dk_norm);
  return {{"y", y}, {"rstd", rstd}, {"dqkv", dqkv}, {"dq_norm", dq_norm}, {"dk_norm", dk_norm}};
}

TEST_CASE("rope gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 9); });
}

TEST_CASE("rope gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 128); });
}

TEST_CASE("rope refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const AttentionShape s{2, 3, 2, 1, 8};
  const Tensor qkv = make({6, 4, 8}), table = make({3, 8}), norm = make({8}), rstd = make({6, 3}), none;
  const auto forward = [&](In x, In cos_sin, In q_norm, In k_norm, Out y, Out r) {
    return requirement_of([&] { device.backend.rope(x, cos_sin, s, q_norm, k_norm, eps, y, r); });
  };
  expect_contains(forward(make({6, 3, 8}), table, none, none, qkv, none), "[rope] required qkv");
  expect_contains(forward(qkv, make({2, 8}), none, none, qkv, none), "[rope] required cos_sin");
  expect_contains(forward(qkv, make({3, 8}, DType::bf16), none, none, qkv, none), "[rope] required cos_sin");
  expect_contains(forward(qkv, table, none, none, make({6, 4, 8}, DType::bf16), none), "[rope] required y");
  expect_contains(forward(qkv, table, norm, none, make({6, 4, 8}), rstd), "[rope] required k_norm");
  expect_contains(forward(qkv, table, make({7}), norm, make({6, 4, 8}), rstd), "[rope] required q_norm");
  expect_contains(forward(qkv, table, norm, norm, make({6, 4, 8}), make({6, 4})), "[rope] required rstd");
  expect_contains(forward(qkv, table, norm, norm, qkv, rstd), "[rope] required y");
  const auto backward = [&](In dy, In x, In q_norm, In r, Out dqkv, InOut dq_norm) {
    return requirement_of(
        [&] { device.backend.rope_backward(dy, table, s, x, q_norm, q_norm, r, dqkv, dq_norm, dq_norm); });
  };
  expect_contains(backward(make({6, 4, 7}), none, none, none, qkv, none), "[rope_backward] required dy");
  expect_contains(backward(qkv, none, none, none, make({5, 4, 8}), none), "[rope_backward] required dqkv");
  expect_contains(backward(qkv, none, norm, rstd, make({6, 4, 8}), norm), "[rope_backward] required qkv");
  expect_contains(backward(qkv, qkv, norm, make({6}), make({6, 4, 8}), norm), "[rope_backward] required rstd");
  expect_contains(backward(qkv, qkv, norm, rstd, make({6, 4, 8}), make({8}, DType::bf16)),
                  "[rope_backward] required dq_norm");
}

}  // namespace
}  // namespace artel

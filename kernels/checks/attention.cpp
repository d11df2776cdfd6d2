#include "kernels/checks/attention.h"

#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

// What forward and backward share.
DType check_both(const char* op, const Tensor& qkv, const AttentionShape& shape, const Tensor& y, const Tensor& lse) {
  check_attention_shape(op, shape);
  const DType act = check_act(op, "qkv", qkv);
  check_dense(op, "qkv", qkv, qkv_shape(shape), act);
  check_dense(op, "y", y, {shape.num_tokens(), shape.num_heads, shape.head_dim}, act);
  check_dense(op, "lse", lse, {shape.num_sequences, shape.num_heads, shape.sequence_length}, DType::f32);
  return act;
}

}  // namespace

void check_attention_shape(const char* op, const AttentionShape& s) {
  if (s.num_sequences < 0 || s.sequence_length < 0) {
    fail(op, "required numbers of sequences and positions that are not negative, found " +
                 std::to_string(s.num_sequences) + " and " + std::to_string(s.sequence_length));
  }
  if (s.num_heads < 1 || s.num_kv_heads < 1 || s.num_heads % s.num_kv_heads != 0) {
    fail(op, "required num_heads to be a multiple of num_kv_heads, found " + std::to_string(s.num_heads) + " and " +
                 std::to_string(s.num_kv_heads));
  }
  if (s.head_dim < 2 || s.head_dim % 2 != 0) {
    fail(op, "required an even head_dim, found " + std::to_string(s.head_dim));
  }
  if (s.document_starts.defined()) check_dense(op, "document_starts", s.document_starts, {s.num_tokens()}, DType::i32);
}

bool takes_head_dim(Device device, std::int64_t head_dim) {
  if (device == Device::cpu) return head_dim <= 256;
  return head_dim == 32 || head_dim == 64 || head_dim == 96 || head_dim == 128;
}

void check_head_dim(const char* where, Device device, std::int64_t head_dim) {
  if (takes_head_dim(device, head_dim)) return;
  fail(where, std::string("required head_dim of ") +
                  (device == Device::cpu ? "at most 256 on a CPU" : "32, 64, 96 or 128 on a GPU") + ", found " +
                  std::to_string(head_dim) + "; change model.head_dim");
}

DType check_attention(In qkv, const AttentionShape& shape, Out y, Out lse) {
  return check_both("attention", qkv, shape, y, lse);
}

DType check_attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) {
  const char* const op = "attention_backward";
  const DType act = check_both(op, qkv, shape, y, lse);
  check_dense(op, "dy", dy, y.shape(), act);
  check_dense(op, "dqkv", dqkv, qkv.shape(), act);
  return act;
}

}  // namespace artel

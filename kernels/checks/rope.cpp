#include "kernels/checks/rope.h"

#include "kernels/checks/attention.h"
#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

// What forward and backward share; x is qkv or dy.
DType check_both(const char* op, const char* name, const Tensor& x, const Tensor& cos_sin, const AttentionShape& shape,
                 const Tensor& q_norm, const Tensor& k_norm, const Tensor& rstd) {
  check_attention_shape(op, shape);
  const DType act = check_act(op, name, x);
  check_dense(op, name, x, qkv_shape(shape), act);
  check_dense(op, "cos_sin", cos_sin, {shape.sequence_length, shape.head_dim}, DType::f32);
  if (q_norm.defined() || k_norm.defined()) {
    check_dense(op, "q_norm", q_norm, {shape.head_dim}, act);
    check_dense(op, "k_norm", k_norm, {shape.head_dim}, act);
    check_dense(op, "rstd", rstd, {shape.num_tokens(), shape.num_heads + shape.num_kv_heads}, DType::f32);
  }
  return act;
}

}  // namespace

DType check_rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, Out y, Out rstd) {
  const DType act = check_both("rope", "qkv", qkv, cos_sin, shape, q_norm, k_norm, rstd);
  check_dense("rope", "y", y, qkv_shape(shape), act);
  if (q_norm.defined() && y.same_data(qkv)) {
    fail("rope", "required y in memory of its own where there are norms, found the memory of qkv");
  }
  return act;
}

DType check_rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                          Out dqkv, InOut dq_norm, InOut dk_norm) {
  const char* const op = "rope_backward";
  const DType act = check_both(op, "dy", dy, cos_sin, shape, q_norm, k_norm, rstd);
  check_dense(op, "dqkv", dqkv, qkv_shape(shape), act);
  if (q_norm.defined()) {
    check_dense(op, "qkv", qkv, qkv_shape(shape), act);
    check_dense(op, "dq_norm", dq_norm, {shape.head_dim}, DType::f32);
    check_dense(op, "dk_norm", dk_norm, {shape.head_dim}, DType::f32);
  }
  return act;
}

}  // namespace artel

#include "kernels/checks/rms_norm.h"

#include "kernels/checks/checks.h"

namespace artel {

DType check_rms_norm(In x, In delta, In w, Out sum, Out y, Out rstd) {
  const char* const op = "rms_norm";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  check_contiguous(op, "x", x);
  check_dense(op, "w", w, {x.size(1)}, act);
  if (delta.defined() || sum.defined()) {
    check_dense(op, "delta", delta, x.shape(), act);
    check_dense(op, "sum", sum, x.shape(), act);
  }
  check_dense(op, "y", y, x.shape(), act);
  check_dense(op, "rstd", rstd, {x.size(0)}, DType::f32);
  return act;
}

DType check_rms_norm_backward(In x, In w, In rstd, In dy, Out dx, InOut dw) {
  const char* const op = "rms_norm_backward";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  const std::int64_t d = x.size(1);
  check_contiguous(op, "x", x);
  check_dense(op, "w", w, {d}, act);
  check_dense(op, "rstd", rstd, {x.size(0)}, DType::f32);
  check_dense(op, "dy", dy, x.shape(), act);
  check_dense(op, "dx", dx, x.shape(), act);
  check_dense(op, "dw", dw, {d}, DType::f32);
  return act;
}

}  // namespace artel

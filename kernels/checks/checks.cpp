#include "kernels/checks/checks.h"

#include <string>

#include "util/error.h"

namespace artel {
namespace {

[[noreturn]] void refuse(const char* op, const char* name, const std::string& required, const std::string& found) {
  fail(op, std::string("required ") + name + " " + required + ", found " + found);
}

void check_defined(const char* op, const char* name, const Tensor& t, const std::string& required) {
  if (!t.defined()) refuse(op, name, required, "an undefined tensor");
}

}  // namespace

void check_shape(const char* op, const char* name, const Tensor& t, const Shape& required) {
  if (t.defined() && t.shape() == required) return;
  check_defined(op, name, t, "of shape " + required.to_string());
  refuse(op, name, "of shape " + required.to_string(), t.shape().to_string());
}

void check_dtype(const char* op, const char* name, const Tensor& t, DType required) {
  if (t.defined() && t.dtype() == required) return;
  check_defined(op, name, t, std::string("of type ") + dtype_name(required));
  refuse(op, name, std::string("of type ") + dtype_name(required), dtype_name(t.dtype()));
}

void check_contiguous(const char* op, const char* name, const Tensor& t) {
  if (t.defined() && t.is_contiguous()) return;
  check_defined(op, name, t, "with contiguous rows");
  refuse(op, name, "with contiguous rows",
         t.shape().to_string() + " with rows " + std::to_string(t.row_stride()) + " elements apart");
}

DType check_act(const char* op, const char* name, const Tensor& t) {
  if (t.defined() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16)) return t.dtype();
  check_defined(op, name, t, "of type f32 or bf16");
  refuse(op, name, "of type f32 or bf16", dtype_name(t.dtype()));
}

void check_rank(const char* op, const char* name, const Tensor& t, int rank) {
  if (t.defined() && t.shape().rank() == rank) return;
  const std::string required = "of rank " + std::to_string(rank);
  check_defined(op, name, t, required);
  refuse(op, name, required, t.shape().to_string());
}

void check_dense(const char* op, const char* name, const Tensor& t, const Shape& required, DType dtype) {
  check_shape(op, name, t, required);
  check_dtype(op, name, t, dtype);
  check_contiguous(op, name, t);
}

}  // namespace artel

#pragma once

#include "core/tensor.h"

namespace artel {

// Checks at the top of every kernel. `op` is the name of the kernel, `name` that of the argument in kernels/backend.h;
// all of them throw Error "[op] required name …, found …", also for an undefined tensor.

void check_shape(const char* op, const char* name, const Tensor& t, const Shape& required);
void check_dtype(const char* op, const char* name, const Tensor& t, DType required);
/// Rows of index 0 follow each other without gaps.
void check_contiguous(const char* op, const char* name, const Tensor& t);
/// f32 or bf16; returns which.
DType check_act(const char* op, const char* name, const Tensor& t);
/// Exactly `rank` dimensions.
void check_rank(const char* op, const char* name, const Tensor& t, int rank);
/// Shape, type and contiguity at once.
void check_dense(const char* op, const char* name, const Tensor& t, const Shape& required, DType dtype);

}  // namespace artel

#pragma once

#include <cublas_v2.h>

#include <cstddef>
#include <vector>

#include "emulator/stream.h"

namespace emulator {

/// An operand as cuBLAS sees it: column major, `rows` elements of a column after each other, columns `leading`
/// elements apart.
struct Matrix {
  const void* data = nullptr;
  cudaDataType type = CUDA_R_32F;
  int rows = 0;
  int columns = 0;
  int leading = 0;
  const char* name = "";

  /// One range for each column, or one for all where columns follow each other.
  void add_uses(bool write, std::vector<MemoryUse>& uses) const;
};

/// c [m, n] = alpha * op(a) [m, k] * op(b) [k, n] + beta * c. Scalars are double so that both kinds fit.
struct Product {
  bool transpose_a = false;
  bool transpose_b = false;
  int m = 0;
  int n = 0;
  int k = 0;
  double alpha = 1;
  double beta = 0;
  Matrix a;
  Matrix b;
  Matrix c;
  bool in_double = false;

  bool is_empty() const { return m == 0 || n == 0; }
  bool reads_inputs() const { return k > 0 && alpha != 0; }
  bool reads_c() const { return beta != 0; }
  /// What it reads and writes.
  std::vector<MemoryUse> uses() const;
};

/// What may not be known before the operation runs: every operand is device memory, aligned to its elements, c apart
/// from a and b. Reports (cublas) and returns false otherwise.
bool check_product(const char* call, const Product& product);

/// Computes it, each sum in ascending order of k in float, or double; c is not read if beta is 0. Reports (initcheck)
/// inputs that nobody has written. For an operation that is running.
void compute_product(const Product& product);

}  // namespace emulator

#include "emulator/cublas_gemm.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "emulator/cublas_types.h"
#include "emulator/heap.h"

namespace emulator {
namespace {

template <class Sum>
Sum load(const void* data, std::size_t i, cudaDataType type) {
  switch (type) {
    case CUDA_R_16F:
      return static_cast<Sum>(__half2float(static_cast<const __half*>(data)[i]));
    case CUDA_R_16BF:
      return static_cast<Sum>(__bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]));
    case CUDA_R_64F:
      return static_cast<Sum>(static_cast<const double*>(data)[i]);
    default:
      return static_cast<Sum>(static_cast<const float*>(data)[i]);
  }
}

template <class Sum>
void store(void* data, std::size_t i, cudaDataType type, Sum value) {
  switch (type) {
    case CUDA_R_16F:
      static_cast<__half*>(data)[i] = __float2half(static_cast<float>(value));
      break;
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16(static_cast<float>(value));
      break;
    case CUDA_R_64F:
      static_cast<double*>(data)[i] = static_cast<double>(value);
      break;
    default:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
  }
}

/// op(matrix), row major.
template <class Sum>
std::vector<Sum> dense(const Matrix& matrix, bool transpose) {
  const auto rows = static_cast<std::size_t>(matrix.rows);
  const auto columns = static_cast<std::size_t>(matrix.columns);
  const auto leading = static_cast<std::size_t>(matrix.leading);
  std::vector<Sum> values(rows * columns);
  for (std::size_t column = 0; column < columns; ++column) {
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t to = transpose ? column * rows + row : row * columns + column;
      values[to] = load<Sum>(matrix.data, row + column * leading, matrix.type);
    }
  }
  return values;
}

template <class Sum>
void compute(const Product& p) {
  const auto m = static_cast<std::size_t>(p.m);
  const auto n = static_cast<std::size_t>(p.n);
  const auto k = static_cast<std::size_t>(p.reads_inputs() ? p.k : 0);
  std::vector<Sum> a;
  std::vector<Sum> b;
  if (k > 0) {
    a = dense<Sum>(p.a, p.transpose_a);
    b = dense<Sum>(p.b, p.transpose_b);
  }
  const auto alpha = static_cast<Sum>(p.alpha);
  const auto beta = static_cast<Sum>(p.beta);
  std::vector<Sum> row(n);
  void* const c = const_cast<void*>(p.c.data);
  for (std::size_t i = 0; i < m; ++i) {
    std::fill(row.begin(), row.end(), Sum(0));
    for (std::size_t q = 0; q < k; ++q) {
      const Sum factor = a[i * k + q];
      const Sum* const values = &b[q * n];
      for (std::size_t j = 0; j < n; ++j) row[j] += factor * values[j];
    }
    for (std::size_t j = 0; j < n; ++j) {
      const std::size_t at = i + j * static_cast<std::size_t>(p.c.leading);
      const Sum old = p.reads_c() ? beta * load<Sum>(c, at, p.c.type) : Sum(0);
      store<Sum>(c, at, p.c.type, alpha * row[j] + old);
    }
  }
}

void check_written(const std::vector<MemoryUse>& uses) {
  for (const MemoryUse& use : uses) {
    if (use.write || is_initialized(use.begin, use.bytes)) continue;
    error("initcheck", "%s reads memory of %s that nobody has written: %s", text(running_label()).c_str(), use.what,
          heap_describe(use.begin, use.bytes).c_str());
    return;
  }
}

/// Whether a range that is written has bytes in common with one that is read. Each kind comes in ascending order.
bool overlap(const std::vector<MemoryUse>& written, const std::vector<MemoryUse>& read) {
  auto w = written.begin();
  auto r = read.begin();
  while (w != written.end() && r != read.end()) {
    const char* const w_begin = static_cast<const char*>(w->begin);
    const char* const r_begin = static_cast<const char*>(r->begin);
    if (w_begin + w->bytes <= r_begin) {
      ++w;
    } else if (r_begin + r->bytes <= w_begin) {
      ++r;
    } else {
      return true;
    }
  }
  return false;
}

bool check_operand(const char* call, const Matrix& matrix) {
  if (!is_device(matrix.data)) {
    error("cublas", "%s: required %s in device memory, found host memory", call, matrix.name);
    return false;
  }
  if (reinterpret_cast<std::uintptr_t>(matrix.data) % element_bytes(matrix.type) != 0) {
    error("cublas", "%s: required %s aligned to its elements of %zu bytes, found address %p", call, matrix.name,
          element_bytes(matrix.type), matrix.data);
    return false;
  }
  return true;
}

}  // namespace

void Matrix::add_uses(bool write, std::vector<MemoryUse>& uses) const {
  const std::size_t width = element_bytes(type);
  const char* const begin = static_cast<const char*>(data);
  const auto column_bytes = static_cast<std::size_t>(rows) * width;
  if (rows == leading) {
    uses.push_back({begin, column_bytes * static_cast<std::size_t>(columns), write, name});
    return;
  }
  for (int column = 0; column < columns; ++column) {
    const auto offset = static_cast<std::size_t>(column) * static_cast<std::size_t>(leading) * width;
    uses.push_back({begin + offset, column_bytes, write, name});
  }
}

std::vector<MemoryUse> Product::uses() const {
  std::vector<MemoryUse> all;
  if (is_empty()) return all;
  if (reads_inputs()) {
    a.add_uses(false, all);
    b.add_uses(false, all);
  }
  if (reads_c()) c.add_uses(false, all);
  c.add_uses(true, all);
  return all;
}

bool check_product(const char* call, const Product& product) {
  if (product.is_empty()) return true;
  if (!check_operand(call, product.c)) return false;
  if (!product.reads_inputs()) return true;
  std::vector<MemoryUse> written;
  product.c.add_uses(true, written);
  for (const Matrix* const input : {&product.a, &product.b}) {
    if (!check_operand(call, *input)) return false;
    std::vector<MemoryUse> read;
    input->add_uses(false, read);
    if (!overlap(written, read)) continue;
    error("cublas", "%s: required C apart from %s, found %s", call, input->name,
          heap_describe(product.c.data, written.front().bytes).c_str());
    return false;
  }
  return true;
}

void compute_product(const Product& product) {
  if (product.is_empty()) return;
  check_written(product.uses());
  if (product.in_double) {
    compute<double>(product);
  } else {
    compute<float>(product);
  }
  std::vector<MemoryUse> written;
  product.c.add_uses(true, written);
  for (const MemoryUse& use : written) mark_initialized(use.begin, use.bytes);
}

}  // namespace emulator

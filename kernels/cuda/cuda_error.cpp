#include "kernels/cuda/cuda_error.h"

#include <string>

#include "util/error.h"

namespace artel::cuda {

void check(const char* where, const char* call, cudaError_t status) {
  if (status == cudaSuccess) return;
  fail(where, std::string(call) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

void check_grid(const char* op, std::int64_t blocks) {
  constexpr std::int64_t most = 2147483647;
  if (blocks < 0 || blocks > most) {
    fail(op, "required at most " + std::to_string(most) + " blocks of a grid, found " + std::to_string(blocks) +
                 "; use smaller micro-batches");
  }
}

}  // namespace artel::cuda

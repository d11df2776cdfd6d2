#include "kernels/checks/permutation.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

namespace artel {
namespace {

constexpr unsigned block_size = 256;

__global__ void __launch_bounds__(block_size)
    slot_rows_kernel(const int* ids, const int* token_offsets, std::int64_t num_tokens, std::int64_t stride,
                     int* rows) {
  const std::int64_t token = std::int64_t{blockIdx.x} * block_size + threadIdx.x;
  if (token >= num_tokens) return;
  const int first = static_cast<int>(token * stride);
  const int end = token_offsets[token + 1];
  for (int slot = token_offsets[token]; slot < end; ++slot) rows[slot] = ids == nullptr ? first : first + ids[slot];
}

}  // namespace

void CudaBackend::slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) {
  constexpr const char* op = "slot_rows";
  check_slot_rows(ids, token_offsets, stride, rows);
  const std::int64_t num_tokens = token_offsets.size(0) - 1;
  simt::launch(op, stream_, slot_rows_kernel,
               dim3(simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_tokens, block_size))), block_size, 0,
               cuda::device_data<std::int32_t>(ids), cuda::device_data<std::int32_t>(token_offsets), num_tokens, stride,
               cuda::device_data<std::int32_t>(rows));
}

}  // namespace artel

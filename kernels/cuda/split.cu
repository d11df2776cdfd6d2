#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/simt.h"

namespace artel::cuda {
namespace {

constexpr unsigned block_size = 256;

__global__ void __launch_bounds__(block_size)
    split_kernel(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t columns, __nv_bfloat16* parts) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= rows * columns) return;
  const std::int64_t row = index / columns;
  const std::int64_t column = index % columns;
  float rest = x[row * stride + column];
  for (int part = 0; part < 3; ++part) {
    const __nv_bfloat16 rounded = __float2bfloat16(rest);
    parts[(row * 3 + part) * columns + column] = rounded;
    const float left = rest - __bfloat162float(rounded);
    rest = isfinite(left) ? left : 0.0F;
  }
}

}  // namespace

void split_rows(const char* op, cudaStream_t stream, const Tensor& x, __nv_bfloat16* parts) {
  const unsigned blocks = simt::num_blocks(op, simt::ceil_div<std::int64_t>(x.numel(), block_size));
  simt::launch(op, stream, split_kernel, dim3(blocks), block_size, 0, device_data<float>(x), x.row_stride(), x.size(0),
               x.size(1), parts);
}

}  // namespace artel::cuda

#include "emulator/planted/launch.h"

namespace planted {

int variable_of_host = 0;

namespace {

__global__ void uninitialized_shared_kernel(float* y) {
  SIMT_SHARED(float, values, [128]);
  if (threadIdx.x != 5) values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[127 - threadIdx.x];  // BUG uninitialized_shared
}

__global__ void stale_shared_kernel(float* y) {
  SIMT_SHARED(float, value, [1]);
  if (blockIdx.x == 0 && threadIdx.x == 0) value[0] = 1;
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = value[0];  // BUG stale_shared_of_last_block
}

__global__ void uninitialized_global_kernel(const float* x, float* y) {
  y[threadIdx.x] = 2 * x[threadIdx.x];  // BUG uninitialized_global
}

__global__ void shared_read_kernel(float* y) {
  SIMT_SHARED(float, values, [128]);
  values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x + 1];  // BUG shared_read_out_of_bounds
}

__global__ void shared_write_kernel(float* y) {
  SIMT_SHARED(float, values, [128]);
  SIMT_SHARED(float, others, [128]);
  others[threadIdx.x] = 1;
  values[threadIdx.x + 1] = 1;  // BUG shared_write_out_of_bounds
  y[threadIdx.x] = others[threadIdx.x];
}

__global__ void dynamic_shared_kernel(float* y) {
  SIMT_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);
  values[threadIdx.x] = 1;  // BUG dynamic_shared_out_of_bounds
  y[threadIdx.x] = 1;
}

__global__ void global_read_kernel(const float* x, float* y, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i <= n) y[i] = x[i];  // BUG global_read_out_of_bounds
}

__global__ void global_write_kernel(float* y, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i <= n) y[i] = 1;  // BUG global_write_out_of_bounds
}

struct Row {
  float values[8];
};

__global__ void struct_copy_kernel(const Row* x, Row* y, int n) {
  if (threadIdx.x == 0) y[0] = x[n];  // BUG struct_copy_out_of_bounds
}

__global__ void atomic_kernel(int* y, int n) {
  atomicAdd(y + n, 1);  // BUG atomic_out_of_bounds
}

__global__ void use_after_free_kernel(const float* freed, float* y) {
  y[threadIdx.x] = freed[threadIdx.x];  // BUG use_after_free
}

__global__ void misaligned_vector_kernel(const float* x, float* y) {
  const float4 values = *reinterpret_cast<const float4*>(x + 1);  // BUG misaligned_vector
  y[threadIdx.x] = values.x + values.y + values.z + values.w;
}

__global__ void misaligned_pack_kernel(const float* x, float* y) {
  using Pack = artel::simt::Pack<float, 4>;
  const Pack values = *reinterpret_cast<const Pack*>(x + 2);  // BUG misaligned_pack
  y[threadIdx.x] = values.values[0];
}

__global__ void host_pointer_kernel(const float* host, float* y) {
  y[threadIdx.x] = host[threadIdx.x];  // BUG host_pointer
}

__global__ void writes_host_variable_kernel() {
  variable_of_host = static_cast<int>(threadIdx.x);  // BUG writes_host_variable
}

}  // namespace

void uninitialized_shared(float* y, cudaStream_t stream) {
  launch(stream, uninitialized_shared_kernel, 1, 128, 0, y);
}
void stale_shared_of_last_block(float* y, cudaStream_t stream) {
  launch(stream, stale_shared_kernel, 2, 64, 0, y);
}
void uninitialized_global(const float* x, float* y, cudaStream_t stream) {
  launch(stream, uninitialized_global_kernel, 1, 128, 0, x, y);
}
void shared_read_out_of_bounds(float* y, cudaStream_t stream) {
  launch(stream, shared_read_kernel, 1, 128, 0, y);
}
void shared_write_out_of_bounds(float* y, cudaStream_t stream) {
  launch(stream, shared_write_kernel, 1, 128, 0, y);
}
void dynamic_shared_out_of_bounds(float* y, cudaStream_t stream) {
  launch(stream, dynamic_shared_kernel, 1, 128, 100 * sizeof(float), y);
}
void global_read_out_of_bounds(const float* x, float* y, int n, cudaStream_t stream) {
  launch(stream, global_read_kernel, 1, 128, 0, x, y, n);
}
void global_write_out_of_bounds(float* y, int n, cudaStream_t stream) {
  launch(stream, global_write_kernel, 1, 128, 0, y, n);
}
void struct_copy_out_of_bounds(const float* x, float* y, int n, cudaStream_t stream) {
  launch(stream, struct_copy_kernel, 1, 128, 0, reinterpret_cast<const Row*>(x), reinterpret_cast<Row*>(y), n / 8);
}
void atomic_out_of_bounds(int* y, int n, cudaStream_t stream) {
  launch(stream, atomic_kernel, 1, 128, 0, y, n);
}
void use_after_free(const float* freed, float* y, cudaStream_t stream) {
  launch(stream, use_after_free_kernel, 1, 128, 0, freed, y);
}
void misaligned_vector(const float* x, float* y, cudaStream_t stream) {
  launch(stream, misaligned_vector_kernel, 1, 128, 0, x, y);
}
void misaligned_pack(const float* x, float* y, cudaStream_t stream) {
  launch(stream, misaligned_pack_kernel, 1, 128, 0, x, y);
}
void host_pointer(const float* host, float* y, cudaStream_t stream) {
  launch(stream, host_pointer_kernel, 1, 128, 0, host, y);
}
void writes_host_variable(cudaStream_t stream) {
  launch(stream, writes_host_variable_kernel, 1, 1, 0);
}
float device_pointer_on_host(const float* x) {
  return x[3];  // BUG device_pointer_on_host
}

}  // namespace planted

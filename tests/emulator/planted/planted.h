#pragma once

#include <cuda_runtime_api.h>

// Kernels with one bug each, which the emulator must report, and kernels without, of which it must report nothing.
// The lines that a report may name carry the comment "BUG <name of the function>".
namespace planted {

// missing_barriers.cu; 128 threads, one block unless said otherwise
void sum_without_barrier(const float* x, float* sum, cudaStream_t stream);
void scan_without_barrier(const int* x, int* sums, cudaStream_t stream);
void tile_without_barrier_before_reuse(const float* x, float* y, cudaStream_t stream);
void broadcast_without_barrier(const float* x, float* y, cudaStream_t stream);
void barrier_in_some_warps_only(const float* x, float* y, cudaStream_t stream);
void exchange_without_sync_warp(const float* x, float* y, cudaStream_t stream);
void shuffle_as_sync_warp(const float* x, float* y, cudaStream_t stream);
void wmma_without_sync_warp(const float* x, float* y, cudaStream_t stream);

// divergence.cu
void exit_before_barrier(float* y, cudaStream_t stream);
void exit_before_shuffle(float* y, cudaStream_t stream);
void shuffle_against_barrier(float* y, cudaStream_t stream);
void different_barriers(float* y, cudaStream_t stream);
void different_shuffles(float* y, cudaStream_t stream);
void lane_outside_its_mask(float* y, cudaStream_t stream);
void shuffle_from_absent_lane(float* y, cudaStream_t stream);
void matrix_differs_between_lanes(const float* x, float* y, cudaStream_t stream);

// memory.cu
void uninitialized_shared(float* y, cudaStream_t stream);
void stale_shared_of_last_block(float* y, cudaStream_t stream);
void uninitialized_global(const float* x, float* y, cudaStream_t stream);
void shared_read_out_of_bounds(float* y, cudaStream_t stream);
void shared_write_out_of_bounds(float* y, cudaStream_t stream);
void dynamic_shared_out_of_bounds(float* y, cudaStream_t stream);
void global_read_out_of_bounds(const float* x, float* y, int n, cudaStream_t stream);
void global_write_out_of_bounds(float* y, int n, cudaStream_t stream);
void struct_copy_out_of_bounds(const float* x, float* y, int n, cudaStream_t stream);
void atomic_out_of_bounds(int* y, int n, cudaStream_t stream);
void use_after_free(const float* freed, float* y, cudaStream_t stream);
void misaligned_vector(const float* x, float* y, cudaStream_t stream);
void misaligned_pack(const float* x, float* y, cudaStream_t stream);
void host_pointer(const float* host, float* y, cudaStream_t stream);
extern int variable_of_host;
void writes_host_variable(cudaStream_t stream);
float device_pointer_on_host(const float* x);

// races.cu; several blocks
void blocks_write_same_element(float* y, cudaStream_t stream);
void block_reads_what_another_writes(float* y, cudaStream_t stream);
void block_writes_what_another_read(float* y, cudaStream_t stream);
void plain_write_beside_atomic(int* y, cudaStream_t stream);
void plain_read_beside_atomic(int* y, int* z, cudaStream_t stream);
void halves_of_a_word_written_twice(unsigned short* y, cudaStream_t stream);

// clean.cu
void sums_of_rows(const float* x, float* sums, int num_rows, int width, cudaStream_t stream);
void transposed_tiles(const float* x, float* y, int rows, int columns, cudaStream_t stream);
void product_of_16x16(const float* a, const float* b, float* c, cudaStream_t stream);
void histogram(const int* x, int n, int num_bins, int* counts, cudaStream_t stream);
void bytes_side_by_side(unsigned char* y, int n, cudaStream_t stream);
void halves_of_warps(const int* x, int* y, cudaStream_t stream);
void many_barriers(int* y, int num_rounds, cudaStream_t stream);
void many_sync_warps(int* y, int num_rounds, bool barrier_missing, cudaStream_t stream);
void packs(const float* x, float* y, int n, cudaStream_t stream);
void collectives(const int* x, int* y, cudaStream_t stream);
void atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d, cudaStream_t stream);
void indices(int* y, dim3 grid, dim3 block, cudaStream_t stream);
void constants(float* y, cudaStream_t stream);
void mathematics(const float* x, double* y, cudaStream_t stream);
/// Calls the allocating containers and algorithms of the standard library, as code of the host next to kernels does.
int standard_library(int n);

}  // namespace planted

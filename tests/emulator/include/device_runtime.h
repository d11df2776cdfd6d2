#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

// What compiled kernels call in the emulator.
namespace emulator {

/// A line of source, of a collective that threads wait at.
struct Line {
  const char* file;
  int number;
};

enum class Collective : int { none, barrier, sync_warp, shuffle, ballot, reduce, match, whole_warp };
enum class Reduction : int { count, all, any };
enum class WarpReduction : int { add, min, max, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor };

/// All threads of the block; returns the reduction of `predicate` over them.
int block_barrier(Reduction reduction, bool predicate, Line at);
void warp_sync(unsigned mask, Line at);
/// The value of lane `source` (0 .. 31).
std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, int source, Line at);
unsigned warp_ballot(unsigned mask, bool predicate, Line at);
unsigned warp_reduce(unsigned mask, unsigned value, WarpReduction reduction, Line at);
/// The lanes of the mask that have the same value.
unsigned warp_match(unsigned mask, std::uint64_t value, Line at);
int lane_id();

/// The block's array that belongs to `tag`, the same for all threads of a block.
void* shared_static(const void* tag, std::size_t bytes, std::size_t alignment, const char* name);
void* shared_dynamic();

/// Which element (16 row + column) of a 16x16 matrix is element `index` of a lane's fragment: a random bijection for
/// each of matrix_a (0), matrix_b (1) and accumulators (2).
int fragment_element(int use, int lane, int index);
/// All lanes come to the load or store of a matrix in memory. Reports a pointer or a leading dimension that differs
/// between lanes, a pointer that is no multiple of 32 bytes and a leading dimension of other than a multiple of 16.
void warp_matrix(const void* matrix, std::size_t leading_bytes, Line at);
/// d = a b + c for the fragments of the warp, the calling lane's given here; a and b are bf16.
struct FragmentProduct {
  float* d;
  const std::uint16_t* a;
  const std::uint16_t* b;
  const float* c;
};
void multiply_fragments(FragmentProduct product, Line at);

/// Enqueues call(pack.get()) for every thread of the grid.
cudaError_t launch_kernel(const cudaLaunchConfig_t& config, const void* function, void (*call)(void*),
                          std::shared_ptr<void> pack, std::size_t pack_bytes);

}  // namespace emulator

#pragma once

#include <nccl.h>

#include <cstddef>
#include <string>

namespace emulator {

/// Bytes of an element; 0 for a type that is not emulated (8-bit floating-point).
std::size_t nccl_element_bytes(ncclDataType_t type);
/// "8 f32", for messages.
std::string nccl_count_text(std::size_t count, ncclDataType_t type);
const char* nccl_reduction_name(ncclRedOp_t reduction);

/// out[i] = reduction over ranks r, in ascending order, of the i-th element of parts + r * stride_bytes. As in the
/// library the sum is rounded to the type after each rank. ncclAvg divides by num_ranks at the end.
void nccl_reduce(ncclDataType_t type, ncclRedOp_t reduction, const char* parts, std::size_t stride_bytes, int num_ranks,
                 std::size_t count, void* out);

}  // namespace emulator

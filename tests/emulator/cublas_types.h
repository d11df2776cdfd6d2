#pragma once

#include <cublas_v2.h>

#include <cstddef>

// Which element types cuBLAS multiplies: the tables of NVIDIA's cuBLAS manual (CUDA 13.0), one for each function.
namespace emulator {

/// cublasGemmEx() and cublasGemmStridedBatchedEx(), whose tables are the same.
bool gemm_ex_supports(cublasComputeType_t compute, cudaDataType a, cudaDataType b, cudaDataType c);
/// cublasGemmGroupedBatchedEx().
bool grouped_gemm_supports(cublasComputeType_t compute, cudaDataType a, cudaDataType b, cudaDataType c);
/// Whether the emulator computes it: real numbers, sums in float or double.
bool is_gemm_emulated(cublasComputeType_t compute, cudaDataType a);
/// Whether sums, alpha and beta are double; else float.
bool sums_in_double(cublasComputeType_t compute);
/// Whether 32-bit inputs may be rounded to a shorter type.
bool is_fast(cublasComputeType_t compute);

/// Bytes of an element of a type that is emulated.
std::size_t element_bytes(cudaDataType type);
const char* element_name(cudaDataType type);

}  // namespace emulator

#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/checks/attention.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

// What the forward and the backward kernels of attention share (shapes: kernels/backend.h).

namespace artel::cuda {

/// Sizes of an attention as kernels see them.
struct AttentionSizes {
  int num_heads;               // H
  int num_kv_heads;            // J
  int sequence_length;         // Q
  int num_tiles;               // of a sequence
  float scale;                 // of scores
  const int* document_starts;  // of every token: the first position of its sequence that it sees; null: 0

  __host__ AttentionSizes(const AttentionShape& shape, int tile)
      : num_heads(static_cast<int>(shape.num_heads)),
        num_kv_heads(static_cast<int>(shape.num_kv_heads)),
        sequence_length(static_cast<int>(shape.sequence_length)),
        num_tiles(static_cast<int>(simt::ceil_div<std::int64_t>(shape.sequence_length, tile))),
        scale(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))),
        document_starts(device_data<int>(shape.document_starts)) {}

  __device__ int num_qkv_heads() const { return num_heads + 2 * num_kv_heads; }
  __device__ int kv_head_of(int head) const { return head / (num_heads / num_kv_heads); }
};

/// Calls body(std::bool_constant<whether tokens see their documents alone>()): kernels are made for both, so that the
/// one does not pay for the other.
template <class Body>
void with_documents(const AttentionShape& shape, const Body& body) {
  shape.document_starts.defined() ? body(std::true_type()) : body(std::false_type());
}

constexpr float log2_e = 1.4426950408889634F;
constexpr float ln_2 = 0.6931471805599453F;

/// The elements of a contiguous tensor at a multiple of 16 bytes, since the kernels read and write nothing but packs: a
/// tensor that does not begin at one, a view, is copied to scratch(number of elements).
template <class T>
class AlignedInput {
 public:
  template <class Scratch>
  AlignedInput(const char* op, const Tensor& tensor, cudaStream_t stream, const Scratch& scratch)
      : data_(device_data<T>(tensor)) {
    if (simt::packs(data_, 0, 0)) return;
    T* const copy = scratch(tensor.numel());
    check(op, "cudaMemcpyAsync", cudaMemcpyAsync(copy, data_, tensor.nbytes(), cudaMemcpyDeviceToDevice, stream));
    data_ = copy;
  }
  const T* data() const { return data_; }

 private:
  const T* data_;
};

/// The same for a tensor that a kernel overwrites; finish() copies back.
template <class T>
class AlignedOutput {
 public:
  template <class Scratch>
  AlignedOutput(const Tensor& tensor, const Scratch& scratch) : tensor_(tensor), data_(device_data<T>(tensor)) {
    if (!simt::packs(data_, 0, 0)) data_ = scratch(tensor.numel());
  }
  T* data() const { return data_; }
  void finish(const char* op, cudaStream_t stream) const {
    T* const to = device_data<T>(tensor_);
    if (to == data_) return;
    check(op, "cudaMemcpyAsync", cudaMemcpyAsync(to, data_, tensor_.nbytes(), cudaMemcpyDeviceToDevice, stream));
  }

 private:
  const Tensor& tensor_;
  T* data_;
};

/// Calls body(std::integral_constant<int, head_dim>()) with the head_dim that the kernels are made for. Errors: another
/// one.
template <class Body>
void with_head_dim(const char* op, std::int64_t head_dim, const Body& body) {
  switch (head_dim) {
    case 32:
      return body(std::integral_constant<int, 32>());
    case 64:
      return body(std::integral_constant<int, 64>());
    case 96:
      return body(std::integral_constant<int, 96>());
    case 128:
      return body(std::integral_constant<int, 128>());
    default:
      check_head_dim(op, Device::cuda, head_dim);
  }
}

}  // namespace artel::cuda

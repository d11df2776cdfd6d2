#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/backend.h"

namespace artel {

namespace cuda {

class CublasHandle;
class Downloads;
class HostWait;
class UploadRing;
struct Bf16Rows;
struct GemmCall;

/// The elements of a tensor as kernels see them: T is float, __nv_bfloat16, double or std::int32_t. An undefined tensor
/// gives a null pointer. Errors: T is not the element type.
template <class T>
T* device_data(const Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return reinterpret_cast<__nv_bfloat16*>(tensor.data<bf16>());
  } else {
    return tensor.data<T>();
  }
}

/// Calls body(T()) with float or __nv_bfloat16, the type that kernels have for activations of `act`.
template <class Body>
void with_act(DType act, const Body& body) {
  if (act == DType::f32) {
    body(float());
  } else {
    body(__nv_bfloat16());
  }
}

}  // namespace cuda

/// The GPU implementation. Every kernel is put on one stream and returns at once; download() and the wait() of a copy
/// that was started wait for the stream to get there.
/// Sums have a fixed order: same inputs, same bits. Arguments are checked as by the CPU backend (kernels/checks), but
/// ids on the device are not looked at.
/// Errors: those of the checks; those that CUDA and cuBLAS report, which may come with a later call.
class CudaBackend final : public Backend {
 public:
  /// `allocator` gives memory that is safe to use again on `stream` as soon as it is freed; `wait` is how the host
  /// waits for copies. All must outlive this.
  CudaBackend(cudaStream_t stream, Allocator& allocator, const cuda::HostWait& wait);
  ~CudaBackend() override;

  Device device() const override { return Device::cuda; }
  bool has_native_bf16() const override { return true; }
  std::int64_t num_primitives_created() const override { return 0; }

  // cuda_backend.cpp
  void upload(const void* host, Out y) override;
  void download(In x, void* host) override;
  std::unique_ptr<HostCopy> start_download(In x, void* host) override;

  // elementwise.cu
  void fill(Out x, float value) override;
  void copy(In x, Out y) override;
  void add(In x, InOut y) override;
  void swap_leading(In x, Out y, Accumulate accumulate) override;

  // reductions.cu
  void sum(In x, Out sum) override;
  void sum_of_squares(In x, Out sum) override;
  void add_up(In x, InOut sum) override;

  // embedding.cu
  void embedding(In table, In ids, Out y) override;
  void embedding_backward(In ids, In dy, InOut dtable) override;

  // rms_norm.cu
  void rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) override;
  void rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) override;

  // linear.cpp (cuBLAS), weight_gradient.cu
  void linear(In x, In w, Out y, Accumulate accumulate) override;
  void linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) override;
  void linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) override;
  void grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) override;
  void grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx, Accumulate accumulate) override;
  void grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw, Accumulate accumulate) override;

  // rope.cu, attention.cu
  void rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y, Out rstd) override;
  void rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd, Out dqkv,
                     InOut dq_norm, InOut dk_norm) override;
  void attention(In qkv, const AttentionShape& shape, Out y, Out lse) override;
  void attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) override;

  // cached_attention.cu
  void store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) override;
  void cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) override;

  // swiglu.cu
  void swiglu(In gate_up, In weights, Out hidden) override;
  void swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) override;

  // routing.cu, uoe.cu
  void route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                   Out weights) override;
  void route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                            const AuxiliaryGradient& auxiliary, Out dscores) override;
  void uoe_bids(In gate_up, const BidOptions& options, Out bids, Out probs, Out lse, Out ids, Out weights,
                Out hidden) override;
  void uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                         const BidOptions& options, const AuxiliaryGradient& auxiliary, Out dgate_up) override;
  void row_norms(In x, Out norms) override;
  void row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) override;
  void expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) override;
  void load_balance(In counts, float scale, Out balance) override;
  void set_sums(In x, std::int64_t tokens_per_set, Out sums) override;
  void routing_statistics(In probs, In ids, In token_offsets, Out sums) override;

  // permutation.cu
  void sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) override;
  void gather_rows(In x, In index, Out y) override;
  void scatter_add_rows(In x, In index, InOut y) override;
  void sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) override;

  // slot_rows.cu
  void slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) override;

  // cross_entropy.cu
  void cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) override;

  // optimizer.cu
  void gradient_scale(In figures, double max_norm, Out scale) override;
  void adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg, InOut exp_avg_sq,
             Out param) override;

 private:
  static constexpr int num_scratch_slots = 4;
  /// Device memory that grows to the largest size asked for and is kept, at least num_bytes, aligned to 256 bytes,
  /// contents undefined. `slot` (0 .. num_scratch_slots-1) tells apart what one kernel uses at the same time; between
  /// kernels the stream's order keeps uses apart.
  void* scratch(int slot, std::int64_t num_bytes);
  template <class T>
  T* scratch_of(int slot, std::int64_t num_elements) {
    return static_cast<T*>(scratch(slot, num_elements * static_cast<std::int64_t>(sizeof(T))));
  }

  /// Made with the first product.
  const cuda::CublasHandle& cublas();
  // linear.cpp: products of one call, in one launch where cuBLAS can; those whose A is dy f32 and whose B is bf16.
  void multiply_all(const char* op, const std::vector<cuda::GemmCall>& gemms);
  void multiply_split(const char* op, In dy, std::int64_t out, std::vector<cuda::GemmCall> gemms);
  void backward_data(const char* op, In dy, In w, Out dx, std::span<const std::int32_t> offsets, bool grouped,
                     Accumulate accumulate);
  // weight_gradient.cu; device_offsets is undefined for the one group of all rows. Groups of bf16 go through a kernel,
  // others through a product of cuBLAS each.
  void backward_weight(const char* op, In x, In dy, Out dw, std::span<const std::int32_t> offsets, In device_offsets,
                       Accumulate accumulate);
  void multiply_weights_singly(const char* op, In x, const void* dy, std::int64_t dy_stride, Out dw,
                               std::span<const std::int32_t> offsets, Accumulate accumulate);
  void multiply_weights(const char* op, const cuda::Bf16Rows& x, const cuda::Bf16Rows& dy, Out dw,
                        std::span<const std::int32_t> offsets, In device_offsets, Accumulate accumulate);

  cudaStream_t stream_;
  Allocator& allocator_;
  std::unique_ptr<cuda::UploadRing> uploads_;
  std::unique_ptr<cuda::Downloads> downloads_;
  std::unique_ptr<cuda::CublasHandle> cublas_;
  std::array<Tensor, num_scratch_slots> scratch_;
};

}  // namespace artel

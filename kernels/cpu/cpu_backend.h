#pragma once

#include <memory>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"

namespace artel {

namespace cpu {
struct Machine;
}

struct CpuOptions {
  cpu::Isa isa = cpu::detect_isa();  ///< for the row kernels; tests choose a lesser one
};

/// The CPU implementation: row kernels compiled per instruction set, products through oneDNN on fixed tiles, tasks
/// shared out by the thread pool. Work is cut by shape alone, so results do not depend on the number of threads.
class CpuBackend final : public Backend {
 public:
  CpuBackend(ThreadPool& pool, Allocator& allocator, CpuOptions options = {});
  ~CpuBackend() override;

  Device device() const override { return Device::cpu; }
  bool has_native_bf16() const override { return gemm_.has_native_bf16(); }
  std::int64_t num_primitives_created() const override { return gemm_.num_prepared(); }

  // cpu_backend.cpp
  void upload(const void* host, Out y) override;
  void download(In x, void* host) override;
  std::unique_ptr<HostCopy> start_download(In x, void* host) override;

  // elementwise.cpp
  void fill(Out x, float value) override;
  void copy(In x, Out y) override;
  void add(In x, InOut y) override;
  void swap_leading(In x, Out y, Accumulate accumulate) override;

  // reductions.cpp
  void sum(In x, Out sum) override;
  void sum_of_squares(In x, Out sum) override;
  void add_up(In x, InOut sum) override;

  // embedding.cpp
  void embedding(In table, In ids, Out y) override;
  void embedding_backward(In ids, In dy, InOut dtable) override;

  // rms_norm.cpp
  void rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) override;
  void rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) override;

  // linear.cpp
  void linear(In x, In w, Out y, Accumulate accumulate) override;
  void linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) override;
  void linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) override;
  void grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) override;
  void grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx, Accumulate accumulate) override;
  void grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw, Accumulate accumulate) override;

  // rope.cpp, attention.cpp
  void rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y, Out rstd) override;
  void rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd, Out dqkv,
                     InOut dq_norm, InOut dk_norm) override;
  void attention(In qkv, const AttentionShape& shape, Out y, Out lse) override;
  void attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) override;

  // cached_attention.cpp
  void store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) override;
  void cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) override;

  // swiglu.cpp
  void swiglu(In gate_up, In weights, Out hidden) override;
  void swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) override;

  // routing.cpp, uoe.cpp
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

  // permutation.cpp
  void sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) override;
  void slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) override;
  void gather_rows(In x, In index, Out y) override;
  void scatter_add_rows(In x, In index, InOut y) override;
  void sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) override;

  // cross_entropy.cpp
  void cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) override;

  // optimizer.cpp
  void gradient_scale(In figures, double max_norm, Out scale) override;
  void adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg, InOut exp_avg_sq,
             Out param) override;

 private:
  /// Scratch of one worker that grows to the largest size asked for and is kept: at least num_floats floats, 64-byte
  /// aligned, contents undefined. `slot` tells apart buffers that are in use at the same time (0 ..
  /// num_scratch_slots-1).
  float* scratch(int worker, int slot, std::int64_t num_floats);
  static constexpr int num_scratch_slots = 8;
  /// What the products run on (kernels/cpu/products.h).
  cpu::Machine machine();

  ThreadPool& pool_;
  Allocator& allocator_;
  cpu::Isa isa_;
  cpu::Gemm gemm_;
  std::vector<Tensor> scratch_;  // [num_threads * num_scratch_slots]
};

}  // namespace artel

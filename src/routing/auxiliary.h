#pragma once

#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "config/schema.h"
#include "ops/moe_ops.h"
#include "ops/read_back.h"

namespace artel {

enum class AuxiliaryScope : std::uint8_t { sequence, micro, global };

struct AuxiliaryOptions {
  std::int64_t num_experts = 0;
  std::int64_t num_layers = 0;  ///< MoE layers of the model: losses are means over them
  float balance_coef = 0.0F;
  float z_coef = 0.0F;
  AuxiliaryScope scope = AuxiliaryScope::micro;
  Communicator* world = nullptr;  ///< for scope global
};
AuxiliaryOptions auxiliary_options(const ModelConfig& model, Communicator& world);

/// Values of one layer over an optimizer step on this rank, without coefficients.
struct AuxiliaryValues {
  double balance = 0.0;  ///< N · sum f_i P_i; 1 when perfectly balanced
  double z = 0.0;        ///< mean of lse²
};

/// What one pass leaves of a layer's values, on its way to the host.
struct NotedLosses {
  ReadBack<std::int32_t> counts;  ///< [M, N]
  ReadBack<float> sums;           ///< [M, N], of probs
  ReadBack<double> z;             ///< [1], sum of lse²
  double tokens_per_step;
  std::size_t num_experts;
};

/// The values of an optimizer step; waits for them.
AuxiliaryValues auxiliary_values(std::vector<NotedLosses>& passes);

/// Load-balance loss (Fedus et al., JMLR 2022) and router z-loss (Zoph et al., arXiv 2202.08906), the same for every
/// method: L = coef/L · N · sum_i f_i · sum_t p_ti / T_step with f_i the share of assignments within the scope's set
/// (no gradient). Gradients are injected at the scores; the values are only reported.
class AuxiliaryLosses {
 public:
  explicit AuxiliaryLosses(const AuxiliaryOptions& options) : options_(options) {}

  /// Takes note of a decision and returns what backward adds to the scores. ids [A], token_offsets [T + 1], probs [T,
  /// N], lse [T]. While a block is replayed the gradient of its first pass is returned and nothing is noted.
  AuxiliaryGradient add(Context& context, const Tensor& ids, const Tensor& token_offsets, const Tensor& probs,
                        const Tensor& lse, std::int64_t sequence_length, std::int64_t tokens_per_step);

  /// What was noted since the last call.
  std::vector<NotedLosses> take_noted() { return std::exchange(noted_, {}); }

 private:
  AuxiliaryOptions options_;
  std::vector<NotedLosses> noted_;
};

}  // namespace artel

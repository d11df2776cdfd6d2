#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "report/routing_inspection.h"
#include "routing/router.h"

// N experts · K experts per token · A assignments · T tokens.

namespace artel {

/// The choices of one layer for one batch, on the host.
struct HostChoices {
  std::vector<std::int32_t> ids;            ///< [A] in token order
  std::vector<std::int32_t> token_offsets;  ///< [T + 1]
  std::vector<float> weights;               ///< [A]

  std::int64_t num_tokens() const { return static_cast<std::int64_t>(token_offsets.size()) - 1; }
};
HostChoices download_choices(Context& context, const Routing& routing);

/// Counts of one layer over sets of tokens: load by set, pairs of experts chosen together, how decided the choices
/// were, and what another model chose for the same tokens.
class ChoiceCounter {
 public:
  explicit ChoiceCounter(std::int64_t num_experts);

  void begin_set();
  void add(const HostChoices& choices);
  void add_statistics(double entropy, double margin, std::int64_t num_tokens);
  /// `other`: of the same tokens.
  void compare(const HostChoices& choices, const HostChoices& other);

  /// Fills everything of a layer but the agreements and the shared contribution.
  void finish(LayerInspection& layer) const;

 private:
  std::size_t num_experts_;
  std::vector<std::vector<double>> load_by_set_;   ///< [sets][N]
  std::vector<std::vector<double>> coactivation_;  ///< [N][N], upper triangle and diagonal
  double entropy_ = 0.0;
  double margin_ = 0.0;
  double num_tokens_ = 0.0;
  double num_kept_ = 0.0;
  double num_compared_ = 0.0;
  double num_tokens_compared_ = 0.0;
  std::vector<double> other_load_;  ///< [N]
};

}  // namespace artel

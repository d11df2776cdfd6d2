#pragma once

#include <memory>
#include <string>

#include "nn/parameter.h"
#include "ops/moe_ops.h"
#include "ops/ops.h"

// Shapes: A rows after dispatch · d hidden_size · N_local experts of this rank · E width · r width of the travelling
// rows; E and r as they are in memory, padded_width of what is stored.

namespace artel {

struct ExpertOptions {
  std::string prefix;             ///< stored names are prefix + "{i}.gate_proj.weight" and so on
  std::int64_t hidden_size = 0;   ///< d
  std::int64_t stored_width = 0;  ///< D: width of the experts as a checkpoint stores them
  std::int64_t first_neuron = 0;  ///< neurons before this one belong to the router (UoE's routing neurons)
  std::int64_t first_expert = 0;  ///< of this rank
  std::int64_t num_local_experts = 0;
  /// The gate reads travelling rows of this width instead of x (AoE); 0: it reads x. As stored: the rows themselves
  /// come with padded_width of it.
  std::int64_t travelling_width = 0;
};

/// SwiGLU experts computed as grouped products: gate and up [N_local, 2, E, d], down [N_local, d, E]; with travelling
/// rows gate [N_local, E, r] and up [N_local, E, d] apart. Knows nothing of routing or ranks; a group without rows is
/// normal.
class GroupedExperts {
 public:
  GroupedExperts(ParameterStore& store, const ExpertOptions& options);

  /// y [A, d] = weighted expert outputs. Consumes `rows`, so that they can go before the outputs need their memory.
  Variable forward(Context& context, DispatchedRows rows, const std::shared_ptr<const GroupOffsets>& groups) const;

  /// E.
  std::int64_t width() const { return padded_width(options_.stored_width - options_.first_neuron); }

 private:
  Parameter& declare(ParameterStore& store, const std::string& name, const Shape& shape,
                     const std::vector<std::string>& projections) const;

  ExpertOptions options_;
  Parameter* gate_up_ = nullptr;
  Parameter* gate_ = nullptr;
  Parameter* up_ = nullptr;
  Parameter* down_ = nullptr;
};

}  // namespace artel

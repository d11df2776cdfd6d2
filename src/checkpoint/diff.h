#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/store.h"

namespace artel {

/// A tensor that both checkpoints hold in one shape.
struct TensorDifference {
  std::string name;
  std::int64_t num_elements = 0;
  std::int64_t num_different = 0;  ///< elements whose bits differ; of two types: whose values differ
  double max_abs = 0.0;            ///< largest |a - b|; NaN where a differing element of either is NaN
  double relative_l2 = 0.0;        ///< |a - b| / |a|; infinite when only a is zero
};

/// A tensor that both hold, but of another shape or type: "f32 [4, 8]".
struct TensorMismatch {
  std::string name;
  std::string a;
  std::string b;
};

/// A key of the resolved configs; JSON texts, empty where the key is absent.
struct ConfigDifference {
  std::string key;
  std::string a;
  std::string b;
  bool names_the_run = false;  ///< run.name, run.directory: does not make two checkpoints different
};

struct CheckpointDifference {
  std::int64_t step_a = 0;
  std::int64_t step_b = 0;
  std::vector<std::string> only_in_a;
  std::vector<std::string> only_in_b;
  std::vector<TensorMismatch> mismatches;  ///< in shape or type
  std::vector<TensorDifference> tensors;   ///< every tensor of one shape, equal ones too
  std::vector<ConfigDifference> config;

  std::int64_t num_tensors_that_differ() const;
  /// The same step, the same tensors with the same bits, and no key of the config differs but those that name the run.
  bool equal() const;
};

/// Compares two checkpoints tensor by tensor, by their global names: how either is spread over files does not matter.
/// Needs memory for a few million elements at a time. Errors: damage (a checksum that differs).
CheckpointDifference compare_checkpoints(const Checkpoint& a, const Checkpoint& b);

/// {"equal", "step": {"a", "b"}, "only_in_a", "only_in_b", "shape_or_type": [{"tensor", "a", "b"}], "tensors":
/// [{"tensor", "elements", "different", "max_abs", "relative_l2"}], "config": [{"key", "a", "b"}]}; NaN and infinities
/// are null.
Json difference_json(const CheckpointDifference& difference);

/// One line: "equal: …" or "different: …" with how many of what.
std::string difference_summary(const CheckpointDifference& difference);

}  // namespace artel

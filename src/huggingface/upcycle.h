#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/schema.h"
#include "huggingface/layout.h"

// Experts from the feed-forward part of a dense model, after Komatsuzaki et al., "Sparse Upcycling", ICLR 2023. Every
// expert is a copy of it, or of a slice of its neurons; slices are grouped so that a token's experts make up whole
// feed-forward parts ("virtual groups", He et al., arXiv 2410.07524). docs/huggingface.md has the tables.
// Shapes: d hidden_size · F intermediate_size of the dense model · N experts · K experts per token · D width of an
// expert · S routing neurons of an expert.

namespace artel {

struct UpcyclePlan {
  std::int64_t num_shared = 0;   ///< neurons that every token uses: the real shared expert's, or UoE's N·S
  std::int64_t slice_width = 0;  ///< neurons of an expert beside its routing neurons
  std::int64_t num_slices = 1;   ///< G: experts that together have the neurons left, once each
  bool whole_experts = false;    ///< UoE without a virtual shared expert: every expert has all F neurons
  bool tied_rows = false;        ///< the G experts of a group begin with the same row of the router
  float routed_scale = 1.0F;     ///< factor on the routed down projections
  bool keeps_function = false;   ///< logits equal the dense model's but for rounding
  std::string reason;            ///< why they do not; empty if they do
};

/// How the dense model becomes the target. Errors, naming keys and values that would do: a target that is not softmax
/// or uoe, widths that do not divide.
UpcyclePlan plan_upcycle(const ModelConfig& dense, const ModelConfig& target);

/// One line: "8 experts, each a copy of the dense feed-forward part; logits equal the dense model's".
std::string describe_upcycle(const UpcyclePlan& plan, const ModelConfig& target);

/// A stored tensor of the dense model by its name, row-major.
using ReadDense = std::function<std::vector<float>(const std::string& name)>;

/// A stored tensor of the target, row-major. Rows of a router are random: normal with initializer_range, the same
/// numbers for a seed as a run from random weights has.
std::vector<float> upcycled_tensor(const UpcyclePlan& plan, const ModelConfig& dense, const ModelConfig& target,
                                   std::int64_t seed, const HfTensor& tensor, const ReadDense& read);

}  // namespace artel

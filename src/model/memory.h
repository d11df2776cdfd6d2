#pragma once

#include <cstdint>

#include "config/schema.h"
#include "core/device.h"

namespace artel {

/// How a run would be laid out; a config alone does not say.
struct RankLayout {
  std::int64_t world = 1;  ///< ranks
  Device device = Device::cpu;
  bool bf16 = false;      ///< what train.precision: auto resolves to on the machine
  double max_load = 1.0;  ///< rows of experts on the fullest rank over the mean of the ranks, mean of the layers
};

/// Bytes at the fullest moment of a step, on the fullest rank.
///  - parameters: 2 (bf16) or 4 bytes each, dense ones whole, experts 1 / parallel.expert of them
///  - gradients: 4 bytes for each of those
///  - optimizer: 8 bytes of moments and, in bf16, 4 of master weight; with zero_stage 1 dense parameters are divided by
///    the ranks and experts by the ranks that hold the same ones
///  - activations: for a micro-batch what the backward pass reads again, in every layer (with recompute: block the
///    input of every layer and one whole layer), and the largest temporaries beside it, which are those of the last
///    feed-forward part's backward or of the logits. Ranks get as many rows of experts as they send, times max_load
///  - rounding: what the allocator adds to these, tensor by tensor (HostAllocator::rounded_size), and experts' padding
///  - communication: sums of gradients that are under way, at most; 0 on one rank
/// Not in it: buffers of kernels, the program itself.
struct MemoryEstimate {
  std::int64_t parameters = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t activations = 0;
  std::int64_t rounding = 0;
  std::int64_t communication = 0;

  std::int64_t tensors() const { return parameters + gradients + optimizer + activations + rounding; }
};

/// For a resolved model (config/resolve.h). Errors: as count_model.
MemoryEstimate memory_bytes_per_rank(const Config& config, const RankLayout& layout = {});

/// Whether the run computes in bf16 on that machine.
bool uses_bf16(const Config& config, const RankLayout& layout);

}  // namespace artel

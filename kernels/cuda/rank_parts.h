#pragma once

#include <cuda_runtime_api.h>

#include "core/rank_parts.h"

namespace artel::cuda {

/// See core/rank_parts.h.
void reduce_rank_parts(cudaStream_t stream, const RankParts& parts, void* out);

}  // namespace artel::cuda

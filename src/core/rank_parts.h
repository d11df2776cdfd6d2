#pragma once

#include <cstdint>
#include <functional>

#include "core/dtype.h"

namespace artel {

enum class PartReduction : std::uint8_t { sum, max, min };

/// What the ranks of a group have sent of the same elements, in the memory of one device.
struct RankParts {
  DType dtype = DType::f32;
  PartReduction reduction = PartReduction::sum;
  std::int64_t count = 0;  ///< elements of a part
  int num_parts = 1;       ///< ranks
  int own = 0;             ///< this rank, whose part lies by itself
  const void* own_part = nullptr;
  const void* other_parts = nullptr;  ///< those of the others in rank order
  std::int64_t stride_bytes = 0;      ///< from one of them to the next
};

/// out [count] = the parts reduced element by element in rank order, from rank 0's value on; bf16 in fp32, rounded
/// once; integers wrap round; in max and min a NaN wins. `out` may be the rank's own part. Put on `stream` (a
/// cudaStream_t) without waiting for it.
using ReduceRankParts = std::function<void(void* stream, const RankParts& parts, void* out)>;

}  // namespace artel

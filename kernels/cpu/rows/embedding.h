#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

template <class T>
struct EmbeddingRows {
  /// dtable [V, d] += rows of dy [T, d], columns begin .. end-1 alone, tokens in ascending order.
  void (*backward)(const std::int32_t* ids, const T* dy, float* dtable, std::int64_t num_tokens, std::int64_t d,
                   std::int64_t begin, std::int64_t end);
};

ARTEL_DECLARE_ROWS(EmbeddingRows<float>, embedding_rows_f32)
ARTEL_DECLARE_ROWS(EmbeddingRows<bf16>, embedding_rows_bf16)

}  // namespace artel::cpu

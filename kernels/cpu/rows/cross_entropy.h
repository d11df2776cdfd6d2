#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

template <class T>
struct LossRows {
  /// Cross-entropy of one row of logits [V] against target in [0, V). exponentials: room for V floats.
  float (*forward)(const T* logits, std::int64_t vocab_size, std::int32_t target, float* exponentials);
  /// The same; then logits = (softmax - onehot) · grad_scale.
  float (*backward)(T* logits, std::int64_t vocab_size, std::int32_t target, float grad_scale, float* exponentials);
};

ARTEL_DECLARE_ROWS(LossRows<float>, loss_rows_f32)
ARTEL_DECLARE_ROWS(LossRows<bf16>, loss_rows_bf16)

}  // namespace artel::cpu

#include "kernels/cpu/rows/cached_attention.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
void attend(const T* query, const T* keys, const T* values, std::int64_t num_keys, std::int64_t stride,
            std::int64_t head_dim, float scale, float* scores, T* y) {
  float largest = -__builtin_inff();
  for (std::int64_t k = 0; k < num_keys; ++k) {
    const T* key = keys + k * stride;
    const float score = scale * sum_vectors(head_dim, [=](std::int64_t i, auto part) {
                          return load_part(query + i, part) * load_part(key + i, part);
                        });
    scores[k] = score;
    largest = score > largest ? score : largest;
  }
  // Beyond the tail of the scores the exponential of minus infinity adds nothing.
  const float sum = sum_vectors(num_keys, [=](std::int64_t k, auto part) {
    const vfloat p = exp(load_part(scores + k, part, -__builtin_inff()) - largest);
    store_part(scores + k, p, part);
    return p;
  });
  const float inverse = 1.0F / sum;
  for_vectors(head_dim, [=](std::int64_t i, auto part) {
    vfloat out[2] = {};
    std::int64_t k = 0;
    for (; k + 2 <= num_keys; k += 2) {
      out[0] += scores[k] * load_part(values + k * stride + i, part);
      out[1] += scores[k + 1] * load_part(values + (k + 1) * stride + i, part);
    }
    if (k < num_keys) out[0] += scores[k] * load_part(values + k * stride + i, part);
    store_part(y + i, (out[0] + out[1]) * inverse, part);
  });
}

}  // namespace

extern const CachedAttentionRows<float> cached_attention_rows_f32;
extern const CachedAttentionRows<bf16> cached_attention_rows_bf16;
const CachedAttentionRows<float> cached_attention_rows_f32 = {attend<float>};
const CachedAttentionRows<bf16> cached_attention_rows_bf16 = {attend<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

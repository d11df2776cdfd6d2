#include "kernels/cpu/rows/cross_entropy.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

constexpr std::int64_t block = 2048;  // sums of f32 stay short: one per block, then the sum of those

template <class T>
float largest(const T* x, std::int64_t n) {
  const vfloat lowest = splat(-__builtin_inff());
  vfloat best[4] = {lowest, lowest, lowest, lowest};
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    for (int k = 0; k < 4; ++k) best[k] = max(best[k], load(x + i + k * width));
  }
  for (; i + width <= n; i += width) best[0] = max(best[0], load(x + i));
  if (i < n) best[0] = max(best[0], load_tail(x + i, n - i, -__builtin_inff()));
  return reduce_max(max(max(best[0], best[1]), max(best[2], best[3])));
}

/// e = exp(x - shift); the sum of e.
template <class T>
float exponentiate(const T* x, std::int64_t n, float shift, float* e) {
  float total = 0.0F;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t count = n - begin < block ? n - begin : block;
    total += sum_vectors(count, [=](std::int64_t i, auto part) {
      const vfloat v = exp(load_part(x + begin + i, part, -__builtin_inff()) - shift);
      store_part(e + begin + i, v, part);
      return v;
    });
  }
  return total;
}

struct RowSum {
  float loss;
  float sum;
};

template <class T>
RowSum sum_row(const T* logits, std::int64_t vocab_size, std::int32_t target, float* exponentials) {
  const float shift = largest(logits, vocab_size);
  const float sum = exponentiate(logits, vocab_size, shift, exponentials);
  return {__builtin_logf(sum) + (shift - load1(logits + target)), sum};
}

template <class T>
float forward(const T* logits, std::int64_t vocab_size, std::int32_t target, float* exponentials) {
  return sum_row(logits, vocab_size, target, exponentials).loss;
}

template <class T>
float backward(T* logits, std::int64_t vocab_size, std::int32_t target, float grad_scale, float* exponentials) {
  const RowSum row = sum_row(logits, vocab_size, target, exponentials);
  const float scale = grad_scale / row.sum;
  for_vectors(vocab_size, [=](std::int64_t i, auto part) {
    store_part(logits + i, load_part(exponentials + i, part) * scale, part);
  });
  store1(logits + target, (exponentials[target] / row.sum - 1.0F) * grad_scale);
  return row.loss;
}

}  // namespace

extern const LossRows<float> loss_rows_f32;
extern const LossRows<bf16> loss_rows_bf16;
const LossRows<float> loss_rows_f32 = {forward<float>, backward<float>};
const LossRows<bf16> loss_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

#include "kernels/cpu/rows/routing.h"

#include "kernels/cpu/rows/simd.h"
#include "kernels/cpu/rows/top_k.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

void choose(const float* scores, const float* bias, std::int64_t num_experts, const TopKOptions& options,
            std::int32_t* keys, const TopKResult& result, std::int64_t begin, std::int64_t end) {
  for (std::int64_t token = begin; token < end; ++token) {
    choose_top_k(scores + token * num_experts, bias, num_experts, options, keys, result, token);
  }
}

void choose_backward(const TopKGradient& gradient, std::int64_t num_experts, const TopKOptions& options, float* dscores,
                     std::int64_t begin, std::int64_t end) {
  for (std::int64_t token = begin; token < end; ++token) {
    const float* dweights = gradient.dweights != nullptr ? gradient.dweights + token * options.top_k : nullptr;
    scores_gradient(gradient, dweights, num_experts, options, dscores + token * num_experts, token);
  }
}

void column_sums(const float* x, std::int64_t stride, std::int64_t num_rows, std::int64_t num_columns, float* sums) {
  std::int64_t done = 0;
  for (; done + 4 * width <= num_columns; done += 4 * width) {  // side by side: a cache line is read once
    vfloat sum[4] = {};
    for (std::int64_t row = 0; row < num_rows; ++row) {
      for (int j = 0; j < 4; ++j) sum[j] += load(x + row * stride + done + j * width);
    }
    for (int j = 0; j < 4; ++j) store(sums + done + j * width, sum[j]);
  }
  for_vectors(num_columns - done, [=](std::int64_t i, auto part) {
    vfloat sum{};
    for (std::int64_t row = 0; row < num_rows; ++row) sum += load_part(x + row * stride + done + i, part);
    store_part(sums + done + i, sum, part);
  });
}

float entropy(const float* probs, std::int64_t num_experts) {
  const vfloat least = splat(__FLT_MIN__);  // below it p log p is nothing, and log_normal is undefined
  return -sum_vectors(num_experts, [=](std::int64_t i, auto part) {
    const vfloat p = load_part(probs + i, part);
    return p * log_normal(max(p, least));
  });
}

float margin(const float* probs, const std::int32_t* ids, std::int64_t num_slots, std::int64_t num_experts,
             float* row) {
  if (num_slots == 0 || num_slots == num_experts) return 0.0F;
  for_vectors(num_experts, [=](std::int64_t i, auto part) { store_part(row + i, load_part(probs + i, part), part); });
  float least = __builtin_inff();
  for (std::int64_t slot = 0; slot < num_slots; ++slot) {
    const float p = probs[ids[slot]];
    least = p < least ? p : least;
    row[ids[slot]] = 0.0F;
  }
  vfloat largest = vfloat{};
  for_vectors(num_experts, [&](std::int64_t i, auto part) { largest = max(load_part(row + i, part), largest); });
  return least - reduce_max(largest);
}

void statistics(const float* probs, const std::int32_t* ids, const std::int32_t* offsets, std::int64_t num_experts,
                float* row, std::int64_t begin, std::int64_t end, double* sums) {
  double total_entropy = 0.0;
  double total_margin = 0.0;
  for (std::int64_t token = begin; token < end; ++token) {
    const float* const p = probs + token * num_experts;
    total_entropy += (double)entropy(p, num_experts);
    total_margin += (double)margin(p, ids + offsets[token], offsets[token + 1] - offsets[token], num_experts, row);
  }
  sums[0] = total_entropy;
  sums[1] = total_margin;
}

template <class T>
void norms(const T* x, std::int64_t num_rows, std::int64_t size, float* out) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* const from = x + row * size;
    out[row] = sqrt1(sum_vectors(size, [=](std::int64_t i, auto part) {
      const vfloat v = load_part(from + i, part);
      return v * v;
    }));
  }
}

template <class T>
void norms_backward(const T* x, const float* norm, const float* dnorms, std::int64_t num_rows, std::int64_t size, T* dx,
                    bool accumulate) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const float factor = norm[row] == 0.0F ? 0.0F : dnorms[row] / norm[row];
    const T* const from = x + row * size;
    T* const to = dx + row * size;
    for_vectors(size, [=](std::int64_t i, auto part) {
      vfloat d = load_part(from + i, part) * factor;
      if (accumulate) d += load_part(to + i, part);
      store_part(to + i, d, part);
    });
  }
}

}  // namespace

extern const RoutingRows routing_rows;
const RoutingRows routing_rows = {choose, choose_backward, column_sums, statistics};
extern const RowNormRows<float> row_norm_rows_f32;
const RowNormRows<float> row_norm_rows_f32 = {norms<float>, norms_backward<float>};
extern const RowNormRows<bf16> row_norm_rows_bf16;
const RowNormRows<bf16> row_norm_rows_bf16 = {norms<bf16>, norms_backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

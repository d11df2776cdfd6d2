#include "kernels/cpu/rows/attention.h"

#include "kernels/cpu/rows/integers.h"
#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

std::int64_t num_visible(const ScoreBlock& block, std::int64_t row) {
  const std::int64_t num = block.first_visible + row;
  return num < 0 ? 0 : num < block.num_keys ? num : block.num_keys;
}

/// Keys at the beginning of the block that the row does not see, up to `visible`, where those end that it may see.
std::int64_t num_hidden(const ScoreBlock& block, std::int64_t row, std::int64_t visible) {
  if (block.starts == nullptr) return 0;
  const std::int64_t num = block.starts[row] - block.first_key;
  return num <= 0 ? 0 : num < visible ? num : visible;
}

vint first_lanes(std::int64_t n) {
  return lane_numbers() < (std::int32_t)n;
}

template <class P>
void set_zero(P* x, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; i += width) store(x + i, vfloat{});
}

/// The scores i .. of a row, -infinity but for those from hidden to n-1.
struct Scores {
  const float* scores;
  std::int64_t hidden;
  std::int64_t n;

  vfloat at(std::int64_t i) const {
    const vfloat lowest = splat(-__builtin_inff());
    vfloat found = load(scores + i);
    if (i < hidden) found = select(first_lanes(hidden - i), lowest, found);
    return i + width <= n ? found : select(first_lanes(n - i), found, lowest);
  }
};

float largest(const Scores& scores) {
  vfloat best[2] = {splat(-__builtin_inff()), splat(-__builtin_inff())};
  std::int64_t i = 0;
  for (; i < scores.hidden; i += width) best[0] = max(scores.at(i), best[0]);
  for (; i + 2 * width <= scores.n; i += 2 * width) {
    best[0] = max(load(scores.scores + i), best[0]);
    best[1] = max(load(scores.scores + i + width), best[1]);
  }
  for (; i < scores.n; i += width) best[0] = max(scores.at(i), best[0]);
  return reduce_max(max(best[0], best[1]));
}

/// p = exp(scale·scores - offset), 0 where there is no score; returns the sum.
template <class P>
float exponentials(const Scores& scores, P* p, float scale, float offset) {
  vfloat sums[2] = {};
  std::int64_t i = 0;
  const auto one = [&] {
    const vfloat value = exp(scores.at(i) * scale - offset);
    store(p + i, value);
    sums[0] += value;
    i += width;
  };
  while (i < scores.hidden) one();
  for (; i + 2 * width <= scores.n; i += 2 * width) {
    const vfloat first = exp(load(scores.scores + i) * scale - offset);
    const vfloat second = exp(load(scores.scores + i + width) * scale - offset);
    store(p + i, first);
    store(p + i + width, second);
    sums[0] += first;
    sums[1] += second;
  }
  while (i < scores.n) one();
  return reduce_add(sums[0] + sums[1]);
}

template <class P>
void softmax(const ScoreBlock& block, P* p, float* max_so_far, float* sum, float* out, std::int64_t ld,
             std::int64_t head_dim) {
  for (std::int64_t row = 0; row < block.rows; ++row, out += ld, p += block.ld) {
    const std::int64_t n = num_visible(block, row);
    const std::int64_t hidden = num_hidden(block, row, n);
    if (hidden == n) {
      set_zero(p, 0, block.num_columns);
      continue;
    }
    const Scores scores{block.scores + row * block.ld, hidden, n};
    const float before = max_so_far[row];
    const float found = largest(scores) * block.scale;
    const float now = found > before ? found : before;
    const float sum_now = exponentials(scores, p, block.scale, now);
    set_zero(p, (n + width - 1) / width * width, block.num_columns);
    const float shrink = exp1(before - now);
    max_so_far[row] = now;
    sum[row] = sum[row] * shrink + sum_now;
    if (shrink == 1.0F) continue;
    float* to = out;
    for_vectors(head_dim,
                [=](std::int64_t i, auto part) { store_part(to + i, load_part(to + i, part) * shrink, part); });
  }
}

void finish(std::int64_t rows, const float* max_found, const float* sum, float* out, std::int64_t ld,
            std::int64_t head_dim, float* lse) {
  for (std::int64_t row = 0; row < rows; ++row, out += ld) {
    const float inverse = 1.0F / sum[row];
    float* to = out;
    for_vectors(head_dim,
                [=](std::int64_t i, auto part) { store_part(to + i, load_part(to + i, part) * inverse, part); });
    lse[row] = max_found[row] + __builtin_logf(sum[row]);
  }
}

template <class P>
void delta(std::int64_t rows, const P* dy, const P* y, std::int64_t ld, std::int64_t head_dim, float* result) {
  for (std::int64_t row = 0; row < rows; ++row, dy += ld, y += ld) {
    const P* left = dy;
    const P* right = y;
    result[row] = sum_vectors(
        head_dim, [=](std::int64_t i, auto part) { return load_part(left + i, part) * load_part(right + i, part); });
  }
}

template <class P>
void gradient(const ScoreBlock& block, const float* lse, const float* delta_of_row, const float* dprobs, P* p, P* ds) {
  for (std::int64_t row = 0; row < block.rows; ++row, dprobs += block.ld, p += block.ld, ds += block.ld) {
    const std::int64_t n = num_visible(block, row);
    const std::int64_t hidden = num_hidden(block, row, n);
    const Scores scores{block.scores + row * block.ld, hidden, n};
    std::int64_t i = 0;
    const auto masked = [&] {
      const vfloat score = scores.at(i);
      const vfloat value = exp(score * block.scale - lse[row]);
      const vfloat slope = value * (load(dprobs + i) - delta_of_row[row]) * block.scale;
      store(p + i, value);
      store(ds + i, select(score == splat(-__builtin_inff()), vfloat{}, slope));
      i += width;
    };
    while (i < hidden) masked();
    for (; i + width <= n; i += width) {
      const vfloat value = exp(load(scores.scores + i) * block.scale - lse[row]);
      const vfloat slope = value * (load(dprobs + i) - delta_of_row[row]) * block.scale;
      store(p + i, value);
      store(ds + i, slope);
    }
    while (i < n) masked();
    set_zero(p, i, block.num_columns);
    set_zero(ds, i, block.num_columns);
  }
}

}  // namespace

extern const AttentionRowsF32 attention_rows_f32;
const AttentionRowsF32 attention_rows_f32 = {softmax<float>, finish, delta<float>, gradient<float>};
extern const AttentionRowsBf16 attention_rows_bf16;
const AttentionRowsBf16 attention_rows_bf16 = {softmax<bf16>, finish, delta<bf16>, gradient<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

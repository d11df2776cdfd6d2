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

void set_zero(float* x, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; i += width) store(x + i, vfloat{});
}

/// The largest of the first n scores.
float largest(const float* scores, std::int64_t n) {
  const vfloat lowest = splat(-__builtin_inff());
  vfloat best[2] = {lowest, lowest};
  std::int64_t i = 0;
  for (; i + 2 * width <= n; i += 2 * width) {
    best[0] = max(load(scores + i), best[0]);
    best[1] = max(load(scores + i + width), best[1]);
  }
  for (; i < n; i += width) best[0] = max(select(first_lanes(n - i), load(scores + i), lowest), best[0]);
  return reduce_max(max(best[0], best[1]));
}

/// scores = exp(scale·scores - offset), 0 from n on; returns the sum.
float exponentials(float* scores, std::int64_t n, float scale, float offset) {
  vfloat sums[2] = {};
  std::int64_t i = 0;
  for (; i + 2 * width <= n; i += 2 * width) {
    const vfloat first = exp(load(scores + i) * scale - offset);
    const vfloat second = exp(load(scores + i + width) * scale - offset);
    store(scores + i, first);
    store(scores + i + width, second);
    sums[0] += first;
    sums[1] += second;
  }
  for (; i < n; i += width) {
    const vfloat last = select(first_lanes(n - i), exp(load(scores + i) * scale - offset), vfloat{});
    store(scores + i, last);
    sums[0] += last;
  }
  return reduce_add(sums[0] + sums[1]);
}

void softmax(const ScoreBlock& block, float* max_so_far, float* sum, float* out, std::int64_t ld,
             std::int64_t head_dim) {
  for (std::int64_t row = 0; row < block.rows; ++row, out += ld) {
    float* scores = block.scores + row * block.ld;
    const std::int64_t n = num_visible(block, row);
    const std::int64_t hidden = num_hidden(block, row, n);
    if (hidden == n) {
      set_zero(scores, 0, block.num_keys);
      continue;
    }
    for (std::int64_t i = 0; i < hidden; ++i) scores[i] = -__builtin_inff();
    const float before = max_so_far[row];
    const float found = largest(scores, n) * block.scale;
    const float now = found > before ? found : before;
    const float sum_now = exponentials(scores, n, block.scale, now);
    set_zero(scores, (n + width - 1) / width * width, block.num_keys);
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

void delta(std::int64_t rows, const float* dy, const float* y, std::int64_t ld, std::int64_t head_dim, float* result) {
  for (std::int64_t row = 0; row < rows; ++row, dy += ld, y += ld) {
    const float* left = dy;
    const float* right = y;
    result[row] = sum_vectors(
        head_dim, [=](std::int64_t i, auto part) { return load_part(left + i, part) * load_part(right + i, part); });
  }
}

void gradient(const ScoreBlock& block, const float* lse, const float* delta_of_row, float* dprobs) {
  for (std::int64_t row = 0; row < block.rows; ++row) {
    float* scores = block.scores + row * block.ld;
    float* dscores = dprobs + row * block.ld;
    const std::int64_t n = num_visible(block, row);
    std::int64_t i = 0;
    for (; i + width <= n; i += width) {
      const vfloat p = exp(load(scores + i) * block.scale - lse[row]);
      store(scores + i, p);
      store(dscores + i, p * (load(dscores + i) - delta_of_row[row]) * block.scale);
    }
    if (i < n) {
      const vint seen = first_lanes(n - i);
      const vfloat p = exp(load(scores + i) * block.scale - lse[row]);
      const vfloat ds = p * (load(dscores + i) - delta_of_row[row]) * block.scale;
      store(scores + i, select(seen, p, vfloat{}));
      store(dscores + i, select(seen, ds, vfloat{}));
      i += width;
    }
    set_zero(scores, i, block.num_keys);
    set_zero(dscores, i, block.num_keys);
    for (std::int64_t hidden = num_hidden(block, row, n); hidden-- > 0;) scores[hidden] = dscores[hidden] = 0.0F;
  }
}

}  // namespace

extern const AttentionRows attention_rows;
const AttentionRows attention_rows = {softmax, finish, delta, gradient};

}  // namespace artel::cpu::ARTEL_ISA

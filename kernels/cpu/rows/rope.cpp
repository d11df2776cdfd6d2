#include "kernels/cpu/rows/rope.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

/// The elements i and i + head_dim/2 of a head, which turn together.
struct Pair {
  vfloat low;
  vfloat high;
};

template <class T, class Part>
Pair load_pair(const T* head, std::int64_t half, std::int64_t i, Part part) {
  return {load_part(head + i, part), load_part(head + half + i, part)};
}
template <class T, class Part>
void store_pair(T* head, std::int64_t half, std::int64_t i, Part part, Pair pair) {
  store_part(head + i, pair.low, part);
  store_part(head + half + i, pair.high, part);
}

/// By the angle whose cosine and sine these are; `turn(pair, {cos, -sin})` turns back.
Pair turn(Pair x, Pair cos_sin) {
  return {x.low * cos_sin.low - x.high * cos_sin.high, x.high * cos_sin.low + x.low * cos_sin.high};
}
Pair opposite(Pair cos_sin) {
  return {cos_sin.low, -cos_sin.high};
}

template <class T>
void copy_row(const T* x, T* y, std::int64_t n) {
  if (x == y) return;
  for_vectors(n, [=](std::int64_t i, auto part) { store_part(y + i, load_part(x + i, part), part); });
}

template <class T>
void turn_head(const T* x, const float* cos_sin, T* y, std::int64_t half) {
  for_vectors(half, [=](std::int64_t i, auto part) {
    store_pair(y, half, i, part, turn(load_pair(x, half, i, part), load_pair(cos_sin, half, i, part)));
  });
}

/// Returns rstd.
template <class T>
float norm_and_turn_head(const T* x, const T* w, float eps, const float* cos_sin, T* y, std::int64_t half) {
  const float squares = sum_vectors(2 * half, [=](std::int64_t i, auto part) {
    const vfloat v = load_part(x + i, part);
    return v * v;
  });
  const float rstd = 1.0F / sqrt1(squares / (float)(2 * half) + eps);
  for_vectors(half, [=](std::int64_t i, auto part) {
    const Pair pair = load_pair(x, half, i, part);
    const Pair weight = load_pair(w, half, i, part);
    const Pair normed = {pair.low * rstd * weight.low, pair.high * rstd * weight.high};
    store_pair(y, half, i, part, turn(normed, load_pair(cos_sin, half, i, part)));
  });
  return rstd;
}

template <class T>
void turn_head_back(const T* dy, const float* cos_sin, T* dx, std::int64_t half) {
  for_vectors(half, [=](std::int64_t i, auto part) {
    store_pair(dx, half, i, part, turn(load_pair(dy, half, i, part), opposite(load_pair(cos_sin, half, i, part))));
  });
}

/// With g = dy turned back and n = x·rstd: dx = rstd·(g·w - n·mean(g·w·n)), dw += g·n. dx may be dy.
template <class T>
void turn_back_and_norm_head(const T* dy, const float* cos_sin, const T* x, const T* w, float rstd, T* dx, float* dw,
                             std::int64_t half) {
  const float dot = sum_vectors(half, [=](std::int64_t i, auto part) {
    const Pair g = turn(load_pair(dy, half, i, part), opposite(load_pair(cos_sin, half, i, part)));
    const Pair pair = load_pair(x, half, i, part);
    const Pair weight = load_pair(w, half, i, part);
    return g.low * weight.low * pair.low + g.high * weight.high * pair.high;
  });
  const float pull = dot * rstd * rstd / (float)(2 * half);
  for_vectors(half, [=](std::int64_t i, auto part) {
    const Pair g = turn(load_pair(dy, half, i, part), opposite(load_pair(cos_sin, half, i, part)));
    const Pair pair = load_pair(x, half, i, part);
    const Pair weight = load_pair(w, half, i, part);
    store_pair(dx, half, i, part,
               {rstd * (g.low * weight.low - pair.low * pull), rstd * (g.high * weight.high - pair.high * pull)});
    const Pair sum = load_pair(dw, half, i, part);
    store_pair(dw, half, i, part, {sum.low + g.low * (pair.low * rstd), sum.high + g.high * (pair.high * rstd)});
  });
}

/// Cosines and sines of the token's position in its document.
const float* angles_of(const RopeShape& s, std::int64_t token, const float* cos_sin) {
  const std::int64_t start = s.document_starts == nullptr ? 0 : s.document_starts[token];
  return cos_sin + (token % s.sequence_length - start) * s.head_dim;
}

template <class T>
void forward(const RopeShape& s, std::int64_t begin, std::int64_t end, const T* qkv, const float* cos_sin,
             const T* q_norm, const T* k_norm, float eps, T* y, float* rstd) {
  const std::int64_t half = s.head_dim / 2;
  const std::int64_t num_turned = s.num_heads + s.num_kv_heads;
  const std::int64_t token_size = (num_turned + s.num_kv_heads) * s.head_dim;
  for (std::int64_t token = begin; token < end; ++token) {
    const float* angles = angles_of(s, token, cos_sin);
    const T* from = qkv + token * token_size;
    T* to = y + token * token_size;
    for (std::int64_t head = 0; head < num_turned; ++head, from += s.head_dim, to += s.head_dim) {
      if (q_norm == nullptr) {
        turn_head(from, angles, to, half);
      } else {
        const T* w = head < s.num_heads ? q_norm : k_norm;
        rstd[token * num_turned + head] = norm_and_turn_head(from, w, eps, angles, to, half);
      }
    }
    copy_row(from, to, s.num_kv_heads * s.head_dim);
  }
}

template <class T>
void backward(const RopeShape& s, std::int64_t begin, std::int64_t end, const T* dy, const float* cos_sin, const T* qkv,
              const T* q_norm, const T* k_norm, const float* rstd, T* dqkv, float* dnorms) {
  const std::int64_t half = s.head_dim / 2;
  const std::int64_t num_turned = s.num_heads + s.num_kv_heads;
  const std::int64_t token_size = (num_turned + s.num_kv_heads) * s.head_dim;
  if (q_norm != nullptr) {
    for_vectors(2 * s.head_dim, [=](std::int64_t i, auto part) { store_part(dnorms + i, vfloat{}, part); });
  }
  for (std::int64_t token = begin; token < end; ++token) {
    const float* angles = angles_of(s, token, cos_sin);
    const std::int64_t at = token * token_size;
    for (std::int64_t head = 0; head < num_turned; ++head) {
      const std::int64_t head_at = at + head * s.head_dim;
      if (q_norm == nullptr) {
        turn_head_back(dy + head_at, angles, dqkv + head_at, half);
      } else {
        const bool is_query = head < s.num_heads;
        turn_back_and_norm_head(dy + head_at, angles, qkv + head_at, is_query ? q_norm : k_norm,
                                rstd[token * num_turned + head], dqkv + head_at, dnorms + (is_query ? 0 : s.head_dim),
                                half);
      }
    }
    const std::int64_t values_at = at + num_turned * s.head_dim;
    copy_row(dy + values_at, dqkv + values_at, s.num_kv_heads * s.head_dim);
  }
}

}  // namespace

extern const RopeRows<float> rope_rows_f32;
extern const RopeRows<bf16> rope_rows_bf16;
const RopeRows<float> rope_rows_f32 = {forward<float>, backward<float>};
const RopeRows<bf16> rope_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

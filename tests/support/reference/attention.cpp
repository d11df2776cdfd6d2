#include "support/reference/attention.h"

#include <algorithm>

#include "support/reference/norm.h"

namespace artel::reference {
namespace {

struct Sizes {
  Sizes(const AttentionShape& shape, const Starts& document_starts)
      : starts(document_starts),
        B(static_cast<std::size_t>(shape.num_sequences)),
        Q(static_cast<std::size_t>(shape.sequence_length)),
        H(static_cast<std::size_t>(shape.num_heads)),
        J(static_cast<std::size_t>(shape.num_kv_heads)),
        h(static_cast<std::size_t>(shape.head_dim)) {}
  const Starts& starts;
  std::size_t B, Q, H, J, h;

  /// The first position that token t sees.
  std::size_t start(std::size_t t) const { return starts.empty() ? 0 : static_cast<std::size_t>(starts[t]); }
  /// Start of head `head` of token t in qkv.
  std::size_t at(std::size_t t, std::size_t head) const { return (t * (H + 2 * J) + head) * h; }
};

Vector slice(const Vector& x, std::size_t begin, std::size_t count) {
  const auto first = x.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

/// Probabilities of query (b, head, q) over positions start..q and the log of their normaliser.
struct Row {
  Vector p;
  double lse = 0.0;
};
Row attend(const Vector& qkv, const Sizes& n, std::size_t b, std::size_t head, std::size_t q) {
  const std::size_t query = n.at(b * n.Q + q, head);
  Row row;
  for (std::size_t position = n.start(b * n.Q + q); position <= q; ++position) {
    const std::size_t key = n.at(b * n.Q + position, n.H + head / (n.H / n.J));
    double score = 0.0;
    for (std::size_t i = 0; i < n.h; ++i) score += qkv[query + i] * qkv[key + i];
    row.p.push_back(score / std::sqrt(static_cast<double>(n.h)));
  }
  const double largest = *std::max_element(row.p.begin(), row.p.end());
  double sum = 0.0;
  for (const double score : row.p) sum += std::exp(score - largest);
  row.lse = largest + std::log(sum);
  for (double& score : row.p) score = std::exp(score - row.lse);
  return row;
}

}  // namespace

Vector rope_table(std::size_t sequence_length, std::size_t head_dim, double theta) {
  Vector table(sequence_length * head_dim);
  for (std::size_t position = 0; position < sequence_length; ++position) {
    for (std::size_t i = 0; i < head_dim / 2; ++i) {
      const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      const double angle = static_cast<double>(position) * frequency;
      table[position * head_dim + i] = std::cos(angle);
      table[position * head_dim + head_dim / 2 + i] = std::sin(angle);
    }
  }
  return table;
}

Rope rope(const Vector& qkv, const Vector& cos_sin, const AttentionShape& shape, const Vector& q_norm,
          const Vector& k_norm, double eps, const Starts& starts) {
  const Sizes n(shape, starts);
  Rope result{qkv, {}};
  for (std::size_t t = 0; t < n.B * n.Q; ++t) {
    for (std::size_t head = 0; head < n.H + n.J; ++head) {
      Vector x = slice(qkv, n.at(t, head), n.h);
      if (!q_norm.empty()) {
        const RmsNorm normed = rms_norm(x, head < n.H ? q_norm : k_norm, eps);
        x = normed.y;
        result.rstd.push_back(normed.rstd[0]);
      }
      const double* angle = &cos_sin[(t % n.Q - n.start(t)) * n.h];
      double* y = &result.y[n.at(t, head)];
      for (std::size_t i = 0; i < n.h / 2; ++i) {
        const double cosine = angle[i];
        const double sine = angle[n.h / 2 + i];
        y[i] = x[i] * cosine - x[n.h / 2 + i] * sine;
        y[n.h / 2 + i] = x[n.h / 2 + i] * cosine + x[i] * sine;
      }
    }
  }
  return result;
}

RopeGradients rope_backward(const Vector& dy, const Vector& cos_sin, const AttentionShape& shape, const Vector& qkv,
                            const Vector& q_norm, const Vector& k_norm, double eps, const Starts& starts) {
  const Sizes n(shape, starts);
  RopeGradients result{dy, Vector(q_norm.size(), 0.0), Vector(k_norm.size(), 0.0)};
  for (std::size_t t = 0; t < n.B * n.Q; ++t) {
    for (std::size_t head = 0; head < n.H + n.J; ++head) {
      const double* angle = &cos_sin[(t % n.Q - n.start(t)) * n.h];
      Vector dx(n.h);
      for (std::size_t i = 0; i < n.h / 2; ++i) {  // the transpose of the forward's 2 x 2 matrix
        const double upper = dy[n.at(t, head) + i];
        const double lower = dy[n.at(t, head) + n.h / 2 + i];
        dx[i] = upper * angle[i] + lower * angle[n.h / 2 + i];
        dx[n.h / 2 + i] = lower * angle[i] - upper * angle[n.h / 2 + i];
      }
      if (!q_norm.empty()) {
        const Vector x = slice(qkv, n.at(t, head), n.h);
        const RmsNormGradients g = rms_norm_backward(x, head < n.H ? q_norm : k_norm, eps, dx);
        dx = g.dx;
        Vector& dw = head < n.H ? result.dq_norm : result.dk_norm;
        for (std::size_t i = 0; i < n.h; ++i) dw[i] += g.dw[i];
      }
      std::copy(dx.begin(), dx.end(), result.dqkv.begin() + static_cast<std::ptrdiff_t>(n.at(t, head)));
    }
  }
  return result;
}

Attention attention(const Vector& qkv, const AttentionShape& shape, Term term, const Starts& starts) {
  const Sizes n(shape, starts);
  Attention result{Vector(n.B * n.Q * n.H * n.h, 0.0), Vector(n.B * n.H * n.Q)};
  for (std::size_t b = 0; b < n.B; ++b) {
    for (std::size_t head = 0; head < n.H; ++head) {
      for (std::size_t q = 0; q < n.Q; ++q) {
        const Row row = attend(qkv, n, b, head, q);
        const std::size_t start = n.start(b * n.Q + q);
        result.lse[(b * n.H + head) * n.Q + q] = row.lse;
        double* y = &result.y[((b * n.Q + q) * n.H + head) * n.h];
        for (std::size_t position = start; position <= q; ++position) {
          const std::size_t value = n.at(b * n.Q + position, n.H + n.J + head / (n.H / n.J));
          for (std::size_t i = 0; i < n.h; ++i) y[i] += term(row.p[position - start] * qkv[value + i]);
        }
      }
    }
  }
  return result;
}

Vector attention_backward(const Vector& qkv, const Vector& y, const Vector& dy, const AttentionShape& shape, Term term,
                          const Starts& starts) {
  const Sizes n(shape, starts);
  const double scale = 1.0 / std::sqrt(static_cast<double>(n.h));
  Vector dqkv(qkv.size(), 0.0);
  for (std::size_t b = 0; b < n.B; ++b) {
    for (std::size_t head = 0; head < n.H; ++head) {
      for (std::size_t q = 0; q < n.Q; ++q) {
        const Row row = attend(qkv, n, b, head, q);
        const std::size_t start = n.start(b * n.Q + q);
        const std::size_t query = n.at(b * n.Q + q, head);
        const std::size_t out = ((b * n.Q + q) * n.H + head) * n.h;
        double mean = 0.0;  // sum over positions of p · dp, which is <dy, y>
        for (std::size_t i = 0; i < n.h; ++i) mean += dy[out + i] * y[out + i];
        for (std::size_t position = start; position <= q; ++position) {
          const std::size_t key = n.at(b * n.Q + position, n.H + head / (n.H / n.J));
          const std::size_t value = key + n.J * n.h;
          double dp = 0.0;
          for (std::size_t i = 0; i < n.h; ++i) {
            dp += dy[out + i] * qkv[value + i];
            dqkv[value + i] += term(row.p[position - start] * dy[out + i]);
          }
          const double dscore = row.p[position - start] * (dp - mean);
          for (std::size_t i = 0; i < n.h; ++i) {
            dqkv[query + i] += term(scale * dscore * qkv[key + i]);
            dqkv[key + i] += term(scale * dscore * qkv[query + i]);
          }
        }
      }
    }
  }
  return dqkv;
}

}  // namespace artel::reference

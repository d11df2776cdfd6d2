#include "kernels/cpu/attention_blocks.h"

#include <algorithm>

namespace artel::cpu {

void F32Blocks::by_keys(const float* x, std::int64_t m, const float* keys, std::int64_t n, float* scores,
                        const GemmWorker& /*worker*/) const {
  gemm_.multiply(
      {.transpose_b = Transpose::yes, .m = m, .n = n, .k = head_dim_, .lda = ld(), .ldb = ld(), .ldc = score_ld(n)}, x,
      keys, scores);
}

void F32Blocks::by_scores(const float* probabilities, std::int64_t m, const float* keys, std::int64_t n, float* out,
                          const GemmWorker& /*worker*/) const {
  gemm_.multiply({.m = m, .n = head_dim_, .k = n, .lda = score_ld(n), .ldb = ld(), .ldc = ld(), .accumulate = true},
                 probabilities, keys, out);
}

void F32Blocks::by_transposed(const float* probabilities, std::int64_t m, const float* x, std::int64_t n, float* out,
                              const GemmWorker& /*worker*/) const {
  gemm_.multiply({.transpose_a = Transpose::yes,
                  .m = n,
                  .n = head_dim_,
                  .k = m,
                  .lda = score_ld(n),
                  .ldb = ld(),
                  .ldc = ld(),
                  .accumulate = true},
                 probabilities, x, out);
}

Bf16Blocks::Bf16Blocks(const Gemm& gemm, std::int64_t head_dim) : gemm_(gemm), head_dim_(head_dim) {
  if (!gemm.has_native_bf16()) return;
  usable_ = true;
  for (std::size_t i = 0; i < by_keys_.size(); ++i) {
    const std::int64_t n = (static_cast<std::int64_t>(i) + 1) * query_block;
    GemmTile tile = {.transpose_b = Transpose::yes,
                     .m = query_block,
                     .n = n,
                     .k = head_dim,
                     .lda = head_dim,
                     .ldb = head_dim,
                     .ldc = n};
    by_keys_.at(i) = gemm.prepare({.tile = tile});
    tile = {.m = query_block, .n = head_dim, .k = n, .lda = n, .ldb = head_dim, .ldc = head_dim, .accumulate = true};
    by_scores_.at(i) = gemm.prepare({.tile = tile});
    tile.transpose_a = Transpose::yes;
    tile.m = n;
    tile.k = query_block;
    by_transposed_.at(i) = gemm.prepare({.tile = tile});
    for (const Bf16Product* product : {by_keys_.at(i), by_scores_.at(i), by_transposed_.at(i)}) {
      usable_ = usable_ && product != nullptr;
      if (product != nullptr) workspace_floats_ = std::max(workspace_floats_, Gemm::workspace_floats(*product));
    }
  }
}

const Bf16Product& Bf16Blocks::of(const Products& products, std::int64_t n) {
  return *products.at(static_cast<std::size_t>(completed(n) / query_block - 1));
}

void Bf16Blocks::by_keys(const bf16* x, std::int64_t /*m*/, const bf16* keys, std::int64_t n, float* scores,
                         const GemmWorker& worker) const {
  gemm_.multiply(of(by_keys_, n), x, keys, scores, worker);
}

void Bf16Blocks::by_scores(const bf16* probabilities, std::int64_t /*m*/, const bf16* keys, std::int64_t n, float* out,
                           const GemmWorker& worker) const {
  gemm_.multiply(of(by_scores_, n), probabilities, keys, out, worker);
}

void Bf16Blocks::by_transposed(const bf16* probabilities, std::int64_t /*m*/, const bf16* x, std::int64_t n, float* out,
                               const GemmWorker& worker) const {
  gemm_.multiply(of(by_transposed_, n), probabilities, x, out, worker);
}

}  // namespace artel::cpu

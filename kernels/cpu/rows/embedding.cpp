#include "kernels/cpu/rows/embedding.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
void backward(const std::int32_t* ids, const T* dy, float* dtable, std::int64_t num_tokens, std::int64_t d,
              std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = 0; t < num_tokens; ++t) {
    const T* from = dy + t * d + begin;
    float* to = dtable + ids[t] * d + begin;
    for_vectors(end - begin, [=](std::int64_t i, auto part) {
      store_part(to + i, load_part(to + i, part) + load_part(from + i, part), part);
    });
  }
}

}  // namespace

extern const EmbeddingRows<float> embedding_rows_f32;
extern const EmbeddingRows<bf16> embedding_rows_bf16;
const EmbeddingRows<float> embedding_rows_f32 = {backward<float>};
const EmbeddingRows<bf16> embedding_rows_bf16 = {backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

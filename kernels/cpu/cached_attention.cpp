#include "kernels/checks/cached_attention.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <type_traits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/cached_attention.h"

namespace artel {
namespace {

const cpu::CachedAttentionRows<float>& table(cpu::Isa isa, float*) {
  return cpu::cached_attention_rows_f32(isa);
}
const cpu::CachedAttentionRows<bf16>& table(cpu::Isa isa, bf16*) {
  return cpu::cached_attention_rows_bf16(isa);
}

}  // namespace

void CpuBackend::store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) {
  const DType act = check_store_keys_values(qkv, shape, past, cache);
  const std::size_t head_bytes = static_cast<std::size_t>(shape.head_dim) * dtype_size(act);
  const std::size_t token_bytes = static_cast<std::size_t>(shape.num_qkv_heads()) * head_bytes;
  const std::size_t row_bytes = static_cast<std::size_t>(2 * shape.num_kv_heads) * head_bytes;
  const char* from = static_cast<const char*>(qkv.raw()) + static_cast<std::size_t>(shape.num_heads) * head_bytes;
  char* to = static_cast<char*>(cache.raw()) + static_cast<std::size_t>(past) * row_bytes;
  for (std::int64_t token = 0; token < shape.sequence_length; ++token, from += token_bytes, to += row_bytes) {
    std::memcpy(to, from, row_bytes);
  }
}

void CpuBackend::cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) {
  const DType act = check_cached_attention(qkv, cache, shape, past, y);
  const auto run = [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto& rows = table(isa_, type);
    const std::int64_t h = shape.head_dim;
    const std::int64_t stride = 2 * shape.num_kv_heads * h;
    const std::int64_t heads_per_kv = shape.num_heads / shape.num_kv_heads;
    const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(h)));
    const auto task = [&](std::int64_t index, int worker) {
      const std::int64_t token = index / shape.num_heads;
      const std::int64_t head = index % shape.num_heads;
      const std::int64_t num_keys = past + token + 1;
      const T* keys = cache.data<T>() + head / heads_per_kv * h;
      rows.attend(qkv.data<T>() + (token * shape.num_qkv_heads() + head) * h, keys, keys + shape.num_kv_heads * h,
                  num_keys, stride, h, scale, scratch(worker, 0, num_keys + 16), y.data<T>() + index * h);
    };
    pool_.parallel_for(shape.num_tokens() * shape.num_heads, std::ref(task));
  };
  if (act == DType::f32) {
    run(static_cast<float*>(nullptr));
  } else {
    run(static_cast<bf16*>(nullptr));
  }
}

}  // namespace artel

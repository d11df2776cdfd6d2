#include "kernels/checks/rope.h"

#include <type_traits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/elementwise.h"
#include "kernels/cpu/rows/rope.h"
#include "kernels/cpu/tasks.h"

namespace artel {
namespace {

constexpr std::int64_t tokens_per_task = 64;  // each has its own partial sums of the gradients of the norms

const cpu::RopeRows<float>& table(cpu::Isa isa, float*) {
  return cpu::rope_rows_f32(isa);
}
const cpu::RopeRows<bf16>& table(cpu::Isa isa, bf16*) {
  return cpu::rope_rows_bf16(isa);
}

template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

cpu::RopeShape rows_shape(const AttentionShape& s) {
  return {s.sequence_length, s.num_heads, s.num_kv_heads, s.head_dim, data_or_null<std::int32_t>(s.document_starts)};
}

template <class Run>
void with_act(DType act, const Run& run) {
  if (act == DType::f32) {
    run(static_cast<float*>(nullptr));
  } else {
    run(static_cast<bf16*>(nullptr));
  }
}

}  // namespace

void CpuBackend::rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y,
                      Out rstd) {
  const DType act = check_rope(qkv, cos_sin, shape, q_norm, k_norm, y, rstd);
  with_act(act, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto& rows = table(isa_, type);
    const cpu::RopeShape s = rows_shape(shape);
    for_chunks(pool_, shape.num_tokens(), tokens_per_task, [&](std::int64_t begin, std::int64_t end, int) {
      rows.forward(s, begin, end, qkv.data<T>(), cos_sin.data<float>(), data_or_null<T>(q_norm),
                   data_or_null<T>(k_norm), eps, y.data<T>(), q_norm.defined() ? rstd.data<float>() : nullptr);
    });
  });
}

void CpuBackend::rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                               Out dqkv, InOut dq_norm, InOut dk_norm) {
  const DType act = check_rope_backward(dy, cos_sin, shape, qkv, q_norm, k_norm, rstd, dqkv, dq_norm, dk_norm);
  const bool has_norms = q_norm.defined();
  const std::int64_t h = shape.head_dim;
  const std::int64_t num_tasks = num_chunks(shape.num_tokens(), tokens_per_task);
  float* const partials = has_norms ? scratch(0, 0, num_tasks * 2 * h) : nullptr;
  with_act(act, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto& rows = table(isa_, type);
    const cpu::RopeShape s = rows_shape(shape);
    for_chunks(pool_, shape.num_tokens(), tokens_per_task, [&](std::int64_t begin, std::int64_t end, int) {
      float* const partial = has_norms ? partials + begin / tokens_per_task * 2 * h : nullptr;
      rows.backward(s, begin, end, dy.data<T>(), cos_sin.data<float>(), has_norms ? qkv.data<T>() : nullptr,
                    data_or_null<T>(q_norm), data_or_null<T>(k_norm), has_norms ? rstd.data<float>() : nullptr,
                    dqkv.data<T>(), partial);
    });
  });
  if (!has_norms) return;
  const auto add = cpu::element_rows_f32_f32(isa_).add;
  for (std::int64_t i = 0; i < num_tasks; ++i) {
    add(partials + i * 2 * h, dq_norm.data<float>(), h);
    add(partials + i * 2 * h + h, dk_norm.data<float>(), h);
  }
}

}  // namespace artel

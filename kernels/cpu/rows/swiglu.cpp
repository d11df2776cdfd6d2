#include "kernels/cpu/rows/swiglu.h"

#include "kernels/cpu/rows/ragged.h"
#include "kernels/cpu/rows/silu.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
void forward(const T* gate_up, const float* weights, T* hidden, std::int64_t num_rows, std::int64_t size) {
  const T* const gate_up_end = gate_up + num_rows * 2 * size;
  const T* const hidden_end = hidden + num_rows * size;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* const gate = gate_up + row * 2 * size;
    const T* const up = gate + size;
    T* const out = hidden + row * size;
    const vfloat weight = splat(weights != nullptr ? weights[row] : 1.0F);
    for_ragged_vectors(size, [=](std::int64_t i, auto part) {
      const vfloat h = silu(load_ragged(gate + i, part, gate_up_end)) * load_ragged(up + i, part, gate_up_end);
      store_ragged(out + i, weight * h, part, hidden_end);
    });
  }
}

template <class T>
void backward(const T* gate_up, const float* weights, const T* dhidden, T* dgate_up, float* dweights,
              std::int64_t num_rows, std::int64_t size) {
  const T* const gate_up_end = gate_up + num_rows * 2 * size;
  const T* const dhidden_end = dhidden + num_rows * size;
  const T* const dgate_up_end = dgate_up + num_rows * 2 * size;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* const gate = gate_up + row * 2 * size;
    const T* const dout = dhidden + row * size;
    T* const dgate = dgate_up + row * 2 * size;
    const vfloat weight = splat(weights != nullptr ? weights[row] : 1.0F);
    vfloat dot{};
    for_ragged_vectors(size, [&](std::int64_t i, auto part) {
      const Silu act = silu_with_slope(load_ragged(gate + i, part, gate_up_end));
      const vfloat up = load_ragged(gate + size + i, part, gate_up_end);
      const vfloat dh = load_ragged(dout + i, part, dhidden_end);
      dot += cut_ragged(dh * (act.value * up), part);
      store_ragged(dgate + i, weight * dh * up * act.slope, part, dgate_up_end);
      store_ragged(dgate + size + i, weight * dh * act.value, part, dgate_up_end);
    });
    if (dweights != nullptr) dweights[row] = reduce_add(dot);
  }
}

}  // namespace

extern const SwigluRows<float> swiglu_rows_f32;
const SwigluRows<float> swiglu_rows_f32 = {forward<float>, backward<float>};
extern const SwigluRows<bf16> swiglu_rows_bf16;
const SwigluRows<bf16> swiglu_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

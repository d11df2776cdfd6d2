#include "kernels/cpu/rows/swiglu.h"

#include "kernels/cpu/rows/ragged.h"
#include "kernels/cpu/rows/silu.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
void forward(const T* gate_up, const float* weights, T* hidden, std::int64_t num_rows, std::int64_t size) {
  const T* const gate_up_end = gate_up + num_rows * 2 * size;
  const T* const hidden_end = hidden + num_rows * size;
  const std::int64_t whole = size / width * width;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* gate = gate_up + row * 2 * size;
    const T* up = gate + size;
    T* out = hidden + row * size;
    const vfloat weight = splat(weights != nullptr ? weights[row] : 1.0F);
    if (whole < size) {
      const std::int64_t rest = size - whole;
      const vfloat h = silu(load_ragged(gate + whole, rest, gate_up_end)) * load_ragged(up + whole, rest, gate_up_end);
      store_ragged(out + whole, weight * h, rest, hidden_end);
    }
    for (std::int64_t i = 0; i < whole; i += width) {
      const vfloat h = silu(load(gate + i)) * load(up + i);
      store(out + i, weight * h);
    }
  }
}

/// The gradients of one vector of gate and up; adds the products behind dweight to `dot`.
inline void backward_vector(vfloat gate, vfloat up, vfloat weight, vfloat dhidden, vfloat& dgate, vfloat& dup,
                            vfloat& dot) {
  const Silu act = silu_with_slope(gate);
  dot += dhidden * (act.value * up);
  const vfloat dh = weight * dhidden;
  dgate = dh * up * act.slope;
  dup = dh * act.value;
}

template <class T>
void backward(const T* gate_up, const float* weights, const T* dhidden, T* dgate_up, float* dweights,
              std::int64_t num_rows, std::int64_t size) {
  const T* const gate_up_end = gate_up + num_rows * 2 * size;
  const T* const dhidden_end = dhidden + num_rows * size;
  const T* const dgate_up_end = dgate_up + num_rows * 2 * size;
  const std::int64_t whole = size / width * width;
  const std::int64_t rest = size - whole;
  const vint in_row = first_lanes(rest);
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* gate = gate_up + row * 2 * size;
    const T* up = gate + size;
    const T* dh = dhidden + row * size;
    T* dgate = dgate_up + row * 2 * size;
    T* dup = dgate + size;
    const vfloat weight = splat(weights != nullptr ? weights[row] : 1.0F);
    vfloat dot{};
    vfloat dg;
    vfloat du;
    if (rest > 0) {
      backward_vector(load_ragged(gate + whole, rest, gate_up_end), load_ragged(up + whole, rest, gate_up_end), weight,
                      load_ragged(dh + whole, rest, dhidden_end), dg, du, dot);
      dot = select(in_row, dot, vfloat{});
      store_ragged(dgate + whole, dg, rest, dgate_up_end);
      store_ragged(dup + whole, du, rest, dgate_up_end);
    }
    for (std::int64_t i = 0; i < whole; i += width) {
      backward_vector(load(gate + i), load(up + i), weight, load(dh + i), dg, du, dot);
      store(dgate + i, dg);
      store(dup + i, du);
    }
    if (dweights != nullptr) dweights[row] = reduce_add(dot);
  }
}

}  // namespace

extern const SwigluRows<float> swiglu_rows_f32;
const SwigluRows<float> swiglu_rows_f32 = {forward<float>, backward<float>};
extern const SwigluRows<bf16> swiglu_rows_bf16;
const SwigluRows<bf16> swiglu_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA

#include "kernels/cpu/rows/swiglu.h"

#include "kernels/checks/swiglu.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/tasks.h"

namespace artel {
namespace {

template <class T>
void run_forward(ThreadPool& pool, const cpu::SwigluRows<T>& rows, In gate_up, In weights, Out hidden) {
  const std::int64_t size = hidden.size(1);
  const T* const in = gate_up.data<T>();
  const float* const w = weights.defined() ? weights.data<float>() : nullptr;
  T* const out = hidden.data<T>();
  for_chunks(pool, hidden.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.forward(in + begin * 2 * size, w == nullptr ? nullptr : w + begin, out + begin * size, end - begin, size);
  });
}

template <class T>
void run_backward(ThreadPool& pool, const cpu::SwigluRows<T>& rows, In gate_up, In weights, In dhidden, Out dgate_up,
                  Out dweights) {
  const std::int64_t size = dhidden.size(1);
  const T* const in = gate_up.data<T>();
  const float* const w = weights.defined() ? weights.data<float>() : nullptr;
  const T* const dout = dhidden.data<T>();
  T* const din = dgate_up.data<T>();
  float* const dw = dweights.defined() ? dweights.data<float>() : nullptr;
  for_chunks(pool, dhidden.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.backward(in + begin * 2 * size, w == nullptr ? nullptr : w + begin, dout + begin * size,
                  din + begin * 2 * size, dw == nullptr ? nullptr : dw + begin, end - begin, size);
  });
}

}  // namespace

void CpuBackend::swiglu(In gate_up, In weights, Out hidden) {
  check_swiglu(gate_up, weights, hidden);
  if (gate_up.dtype() == DType::f32) {
    run_forward(pool_, cpu::swiglu_rows_f32(isa_), gate_up, weights, hidden);
  } else {
    run_forward(pool_, cpu::swiglu_rows_bf16(isa_), gate_up, weights, hidden);
  }
}

void CpuBackend::swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  check_swiglu_backward(gate_up, weights, dhidden, dgate_up, dweights);
  if (gate_up.dtype() == DType::f32) {
    run_backward(pool_, cpu::swiglu_rows_f32(isa_), gate_up, weights, dhidden, dgate_up, dweights);
  } else {
    run_backward(pool_, cpu::swiglu_rows_bf16(isa_), gate_up, weights, dhidden, dgate_up, dweights);
  }
}

}  // namespace artel

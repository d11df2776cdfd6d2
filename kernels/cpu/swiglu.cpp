#include "kernels/cpu/rows/swiglu.h"
#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

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

/// Checks gate_up and weights; returns the type.
DType check_inputs(const char* op, In gate_up, In weights) {
  check_rank(op, "gate_up", gate_up, 3);
  const DType act = check_act(op, "gate_up", gate_up);
  check_dense(op, "gate_up", gate_up, {gate_up.size(0), 2, gate_up.size(2)}, act);
  if (weights.defined()) check_dense(op, "weights", weights, {gate_up.size(0)}, DType::f32);
  return act;
}

}  // namespace

void CpuBackend::swiglu(In gate_up, In weights, Out hidden) {
  const DType act = check_inputs("swiglu", gate_up, weights);
  check_dense("swiglu", "hidden", hidden, {gate_up.size(0), gate_up.size(2)}, act);
  if (act == DType::f32) {
    run_forward(pool_, cpu::swiglu_rows_f32(isa_), gate_up, weights, hidden);
  } else {
    run_forward(pool_, cpu::swiglu_rows_bf16(isa_), gate_up, weights, hidden);
  }
}

void CpuBackend::swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  const char* const op = "swiglu_backward";
  const DType act = check_inputs(op, gate_up, weights);
  check_dense(op, "dhidden", dhidden, {gate_up.size(0), gate_up.size(2)}, act);
  check_dense(op, "dgate_up", dgate_up, gate_up.shape(), act);
  if (weights.defined()) {
    check_dense(op, "dweights", dweights, {gate_up.size(0)}, DType::f32);
  } else if (dweights.defined()) {
    fail(op, "required dweights undefined like weights, found one of shape " + dweights.shape().to_string());
  }
  if (dgate_up.same_data(gate_up)) fail(op, "required dgate_up apart from gate_up, found the same memory");
  if (act == DType::f32) {
    run_backward(pool_, cpu::swiglu_rows_f32(isa_), gate_up, weights, dhidden, dgate_up, dweights);
  } else {
    run_backward(pool_, cpu::swiglu_rows_bf16(isa_), gate_up, weights, dhidden, dgate_up, dweights);
  }
}

}  // namespace artel

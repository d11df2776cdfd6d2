#include <string>

#include "kernels/checks/cross_entropy.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/cross_entropy.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

/// Before any row is overwritten.
void check_targets(const Tensor& targets, std::int64_t vocab_size) {
  const std::int32_t* const values = targets.data<std::int32_t>();
  for (std::int64_t row = 0; row < targets.numel(); ++row) {
    if (values[row] < 0 || values[row] >= vocab_size) {
      fail("cross_entropy", "required targets from 0 to " + std::to_string(vocab_size - 1) + ", found " +
                                std::to_string(values[row]) + " in row " + std::to_string(row));
    }
  }
}

}  // namespace

void CpuBackend::cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) {
  check_cross_entropy(logits, targets, losses);
  const std::int64_t num_rows = logits.size(0);
  const std::int64_t vocab_size = logits.size(1);
  check_targets(targets, vocab_size);

  const std::int32_t* const ptargets = targets.data<std::int32_t>();
  float* const plosses = losses.data<float>();
  const auto run = [&]<class T>(const cpu::LossRows<T>& rows, T* plogits) {
    for_chunks(pool_, num_rows, rows_per_task(vocab_size), [&](std::int64_t begin, std::int64_t end, int worker) {
      float* const exponentials = scratch(worker, 0, vocab_size);
      for (std::int64_t row = begin; row < end; ++row) {
        T* const x = plogits + row * vocab_size;
        plosses[row] = backward ? rows.backward(x, vocab_size, ptargets[row], grad_scale, exponentials)
                                : rows.forward(x, vocab_size, ptargets[row], exponentials);
      }
    });
  };
  if (logits.dtype() == DType::f32) {
    run(cpu::loss_rows_f32(isa_), logits.data<float>());
  } else {
    run(cpu::loss_rows_bf16(isa_), logits.data<bf16>());
  }
}

}  // namespace artel

#include "kernels/cpu/rows/reductions.h"

#include "kernels/checks/reductions.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/tasks.h"

namespace artel {
namespace {

/// Scratch for one f64 per chunk of x.
std::int64_t partial_floats(const Tensor& x) {
  return 2 * num_chunks(x.numel(), elements_per_task);
}

/// sum = the chunks' sums in ascending order.
void reduce(ThreadPool& pool, const Tensor& x, double (*reduce_row)(const float*, std::int64_t), float* room,
            const Tensor& sum) {
  auto* const partials = reinterpret_cast<double*>(room);
  const float* const data = x.data<float>();
  for_chunks(pool, x.numel(), elements_per_task, [=](std::int64_t begin, std::int64_t end, int) {
    partials[begin / elements_per_task] = reduce_row(data + begin, end - begin);
  });
  double total = 0.0;
  for (std::int64_t i = 0; i < num_chunks(x.numel(), elements_per_task); ++i) total += partials[i];
  *sum.data<double>() = total;
}

}  // namespace

void CpuBackend::sum(In x, Out sum) {
  check_reduction("sum", x, sum);
  reduce(pool_, x, cpu::reduction_rows(isa_).sum, scratch(0, 0, partial_floats(x)), sum);
}

void CpuBackend::sum_of_squares(In x, Out sum) {
  check_reduction("sum_of_squares", x, sum);
  reduce(pool_, x, cpu::reduction_rows(isa_).sum_of_squares, scratch(0, 0, partial_floats(x)), sum);
}

void CpuBackend::add_up(In x, InOut sum) {
  check_add_up(x, sum);
  const double* const data = x.data<double>();
  double total = *sum.data<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) total += data[i];
  *sum.data<double>() = total;
}

}  // namespace artel

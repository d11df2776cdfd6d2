#include "kernels/checks/reductions.h"

#include "kernels/checks/checks.h"

namespace artel {

void check_reduction(const char* op, In x, Out sum) {
  check_rank(op, "x", x, 1);
  check_dense(op, "x", x, x.shape(), DType::f32);
  check_dense(op, "sum", sum, {1}, DType::f64);
}

}  // namespace artel

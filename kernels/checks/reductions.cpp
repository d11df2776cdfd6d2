#include "kernels/checks/reductions.h"

#include "kernels/checks/checks.h"

namespace artel {

void check_reduction(const char* op, In x, Out sum) {
  check_rank(op, "x", x, 1);
  check_dense(op, "x", x, x.shape(), DType::f32);
  check_dense(op, "sum", sum, {1}, DType::f64);
}

void check_add_up(In x, InOut sum) {
  check_rank("add_up", "x", x, 1);
  check_dense("add_up", "x", x, x.shape(), DType::f64);
  check_dense("add_up", "sum", sum, {1}, DType::f64);
}

}  // namespace artel

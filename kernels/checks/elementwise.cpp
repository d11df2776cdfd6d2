#include "kernels/checks/elementwise.h"

#include <cmath>
#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {

void check_fill(Out x, float value) {
  check_contiguous("fill", "x", x);
  if (x.dtype() != DType::i32) return;
  if (!(value >= -0x1p31F && value < 0x1p31F) || value != std::floor(value)) {
    fail("fill", "required a whole number for a tensor of type i32, found " + std::to_string(value));
  }
}

void check_elementwise(const char* op, In x, Out y) {
  check_contiguous(op, "x", x);
  check_contiguous(op, "y", y);
  if (x.numel() != y.numel()) {
    fail(op, "required x and y of the same number of elements, found " + x.shape().to_string() + " and " +
                 y.shape().to_string());
  }
  check_act(op, "x", x);
  check_act(op, "y", y);
}

void check_swap_leading(In x, Out y) {
  const char* const op = "swap_leading";
  check_rank(op, "x", x, 3);
  check_contiguous(op, "x", x);
  check_shape(op, "y", y, {x.size(1), x.size(0), x.size(2)});
  check_contiguous(op, "y", y);
  check_act(op, "x", x);
  check_act(op, "y", y);
}

}  // namespace artel

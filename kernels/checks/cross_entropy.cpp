#include "kernels/checks/cross_entropy.h"

#include "kernels/checks/checks.h"

namespace artel {

void check_cross_entropy(InOut logits, In targets, Out losses) {
  const char* const op = "cross_entropy";
  check_rank(op, "logits", logits, 2);
  check_act(op, "logits", logits);
  check_contiguous(op, "logits", logits);
  check_dense(op, "targets", targets, {logits.size(0)}, DType::i32);
  check_dense(op, "losses", losses, {logits.size(0)}, DType::f32);
}

}  // namespace artel

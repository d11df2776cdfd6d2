#include "kernels/checks/embedding.h"

#include "kernels/checks/checks.h"

namespace artel {

void check_embedding(In table, In ids, Out y) {
  const char* const op = "embedding";
  check_rank(op, "table", table, 2);
  const DType act = check_act(op, "table", table);
  check_contiguous(op, "table", table);
  check_rank(op, "ids", ids, 1);
  check_dense(op, "ids", ids, {ids.size(0)}, DType::i32);
  check_dense(op, "y", y, {ids.size(0), table.size(1)}, act);
}

void check_embedding_backward(In ids, In dy, InOut dtable) {
  const char* const op = "embedding_backward";
  check_rank(op, "dtable", dtable, 2);
  check_dense(op, "dtable", dtable, dtable.shape(), DType::f32);
  check_rank(op, "ids", ids, 1);
  check_dense(op, "ids", ids, {ids.size(0)}, DType::i32);
  const DType act = check_act(op, "dy", dy);
  check_dense(op, "dy", dy, {ids.size(0), dtable.size(1)}, act);
}

}  // namespace artel

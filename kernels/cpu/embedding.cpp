#include <string>

#include "kernels/checks/embedding.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/embedding.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

// The tasks of the backward own columns, so that each gradient has one owner however often its id occurs (in text a few
// ids make up much of the tokens: tasks that own ids would wait for the one with the blank). 32 floats: two cache
// lines.
constexpr std::int64_t columns_per_task = 32;

void check_ids(const char* op, const Tensor& ids, std::int64_t vocab_size) {
  const std::int32_t* const values = ids.data<std::int32_t>();
  for (std::int64_t t = 0; t < ids.numel(); ++t) {
    if (values[t] < 0 || values[t] >= vocab_size) {
      fail(op, "required ids from 0 to " + std::to_string(vocab_size - 1) + ", found " + std::to_string(values[t]) +
                   " at token " + std::to_string(t));
    }
  }
}

template <class T>
void run_backward(ThreadPool& pool, const cpu::EmbeddingRows<T>& rows, const Tensor& ids, const Tensor& dy,
                  const Tensor& dtable) {
  const std::int32_t* const pids = ids.data<std::int32_t>();
  const T* const pdy = dy.data<T>();
  float* const pdtable = dtable.data<float>();
  const std::int64_t num_tokens = dy.size(0);
  const std::int64_t d = dy.size(1);
  for_chunks(pool, d, columns_per_task, [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.backward(pids, pdy, pdtable, num_tokens, d, begin, end);
  });
}

}  // namespace

void CpuBackend::embedding(In table, In ids, Out y) {
  check_embedding(table, ids, y);
  check_ids("embedding", ids, table.size(0));
  gather_rows(table, ids, y);
}

void CpuBackend::embedding_backward(In ids, In dy, InOut dtable) {
  check_embedding_backward(ids, dy, dtable);
  check_ids("embedding_backward", ids, dtable.size(0));
  if (dy.dtype() == DType::f32) {
    run_backward(pool_, cpu::embedding_rows_f32(isa_), ids, dy, dtable);
  } else {
    run_backward(pool_, cpu::embedding_rows_bf16(isa_), ids, dy, dtable);
  }
}

}  // namespace artel

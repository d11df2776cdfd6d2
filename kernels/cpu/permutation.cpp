#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/checks/permutation.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/permutation.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

template <class T>
void run_scatter_add(ThreadPool& pool, const cpu::PermutationRows<T>& rows, In x, In index, InOut y) {
  const T* const px = x.data<T>();
  const std::int32_t* const pindex = index.data<std::int32_t>();
  T* const py = y.data<T>();
  const std::int64_t x_stride = x.row_stride();
  const std::int64_t y_stride = y.row_stride();
  const std::int64_t size = x.size(1);
  for_chunks(pool, x.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.scatter_add(px + begin * x_stride, x_stride, pindex + begin, end - begin, py, y_stride, size);
  });
}

void scatter_add_integers(ThreadPool& pool, In x, In index, InOut y) {
  for_chunks(pool, x.size(0), rows_per_task(x.size(1)), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int32_t* const from = x.data<std::int32_t>() + row * x.row_stride();
      std::int32_t* const to = y.data<std::int32_t>() + index.data<std::int32_t>()[row] * y.row_stride();
      for (std::int64_t i = 0; i < x.size(1); ++i) to[i] += from[i];
    }
  });
}

template <class T>
void run_sum(ThreadPool& pool, const cpu::PermutationRows<T>& rows, In x, In token_offsets, In row_of_slot, Out y,
             Accumulate accumulate) {
  const T* const px = x.data<T>();
  const std::int32_t* const offsets = token_offsets.data<std::int32_t>();
  const std::int32_t* const slots = row_of_slot.data<std::int32_t>();
  T* const py = y.data<T>();
  const std::int64_t x_stride = x.row_stride();
  const std::int64_t y_stride = y.row_stride();
  const std::int64_t size = y.size(1);
  for_chunks(pool, y.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.sum(px, x_stride, offsets + begin, slots, end - begin, py + begin * y_stride, y_stride, size,
             accumulate == Accumulate::yes);
  });
}

}  // namespace

// On one thread: the whole sort takes less than a millisecond where the products that it prepares take a hundred.
void CpuBackend::sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) {
  check_sort_by_expert(ids, num_experts, offsets, slot_of_row, row_of_slot);
  const std::int64_t num_slots = ids.size(0);
  const std::int32_t* const expert_of_slot = ids.data<std::int32_t>();
  std::int32_t* const first = offsets.data<std::int32_t>();
  std::fill_n(first, num_experts + 1, 0);
  for (std::int64_t slot = 0; slot < num_slots; ++slot) {
    const std::int32_t expert = expert_of_slot[slot];
    if (expert < 0 || expert >= num_experts) {
      fail("sort_by_expert", "required ids from 0 to " + std::to_string(num_experts - 1) + ", found " +
                                 std::to_string(expert) + " at slot " + std::to_string(slot));
    }
    ++first[expert + 1];
  }
  for (std::int64_t expert = 0; expert < num_experts; ++expert) first[expert + 1] += first[expert];

  // first[e] runs through the rows of e; it ends where e + 1 begins, so that one shift makes offsets of it again.
  std::int32_t* const slots = slot_of_row.data<std::int32_t>();
  std::int32_t* const rows = row_of_slot.data<std::int32_t>();
  for (std::int64_t slot = 0; slot < num_slots; ++slot) {
    const std::int32_t row = first[expert_of_slot[slot]]++;
    slots[row] = static_cast<std::int32_t>(slot);
    rows[slot] = row;
  }
  for (std::int64_t expert = num_experts; expert > 0; --expert) first[expert] = first[expert - 1];
  first[0] = 0;
}

void CpuBackend::slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) {
  check_slot_rows(ids, token_offsets, stride, rows);
  const std::int32_t* const offsets = token_offsets.data<std::int32_t>();
  std::int32_t* const to = rows.data<std::int32_t>();
  for (std::int64_t token = 0; token + 1 < token_offsets.numel(); ++token) {
    std::fill(to + offsets[token], to + offsets[token + 1], static_cast<std::int32_t>(token * stride));
  }
  if (!ids.defined()) return;
  const std::int32_t* const added = ids.data<std::int32_t>();
  for (std::int64_t slot = 0; slot < rows.numel(); ++slot) to[slot] += added[slot];
}

void CpuBackend::gather_rows(In x, In index, Out y) {
  check_gather_rows(x, index, y);
  const std::size_t element = dtype_size(x.dtype());
  const std::size_t row_bytes = static_cast<std::size_t>(x.size(1)) * element;
  const char* const from = static_cast<const char*>(x.raw());
  char* const to = static_cast<char*>(y.raw());
  const std::int64_t from_stride = x.row_stride() * static_cast<std::int64_t>(element);
  const std::int64_t to_stride = y.row_stride() * static_cast<std::int64_t>(element);
  const std::int32_t* const rows = index.data<std::int32_t>();
  const auto gather = [=](std::int64_t begin, std::int64_t end, std::size_t bytes) {
    for (std::int64_t a = begin; a < end; ++a) std::memcpy(to + a * to_stride, from + rows[a] * from_stride, bytes);
  };
  for_chunks(pool_, y.size(0), rows_per_task(x.size(1)), [=](std::int64_t begin, std::int64_t end, int) {
    if (row_bytes == 4) {
      gather(begin, end, 4);  // one move: weights and ids travel as rows of one element
    } else {
      gather(begin, end, row_bytes);
    }
  });
}

void CpuBackend::scatter_add_rows(In x, In index, InOut y) {
  check_scatter_add_rows(x, index, y);
  switch (x.dtype()) {
    case DType::f32:
      return run_scatter_add(pool_, cpu::permutation_rows_f32(isa_), x, index, y);
    case DType::bf16:
      return run_scatter_add(pool_, cpu::permutation_rows_bf16(isa_), x, index, y);
    case DType::i32:
      return scatter_add_integers(pool_, x, index, y);
    case DType::f64:
      return;  // refused by the check
  }
}

void CpuBackend::sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) {
  if (check_sum_rows(x, token_offsets, row_of_slot, y) == DType::f32) {
    run_sum(pool_, cpu::permutation_rows_f32(isa_), x, token_offsets, row_of_slot, y, accumulate);
  } else {
    run_sum(pool_, cpu::permutation_rows_bf16(isa_), x, token_offsets, row_of_slot, y, accumulate);
  }
}

}  // namespace artel

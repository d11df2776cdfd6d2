#include "kernels/cpu/routing.h"

#include <algorithm>
#include <string>

#include "kernels/checks/routing.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/routing.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

template <class T>
void run_norms(ThreadPool& pool, const cpu::RowNormRows<T>& rows, In x, Out norms) {
  const std::int64_t size = x.size(1);
  const T* const px = x.data<T>();
  float* const pnorms = norms.data<float>();
  for_chunks(pool, x.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.norms(px + begin * size, end - begin, size, pnorms + begin);
  });
}

template <class T>
void run_norms_backward(ThreadPool& pool, const cpu::RowNormRows<T>& rows, In x, In norms, In dnorms, Out dx,
                        Accumulate accumulate) {
  const std::int64_t size = x.size(1);
  const T* const px = x.data<T>();
  const float* const pnorms = norms.data<float>();
  const float* const pdnorms = dnorms.data<float>();
  T* const pdx = dx.data<T>();
  for_chunks(pool, x.size(0), rows_per_task(size), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    rows.backward(px + begin * size, pnorms + begin, pdnorms + begin, end - begin, size, pdx + begin * size,
                  accumulate == Accumulate::yes);
  });
}

}  // namespace

void CpuBackend::route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                             Out weights) {
  check_route_top_k(scores, selection_bias, options, probs, lse, ids, weights);
  const std::int64_t num_experts = scores.size(1);
  const cpu::TopKResult result = cpu::top_k_result(probs, lse, ids, weights);
  const float* const pscores = scores.data<float>();
  const float* const bias = selection_bias.defined() ? selection_bias.data<float>() : nullptr;
  const cpu::RoutingRows& rows = cpu::routing_rows(isa_);
  for_chunks(pool_, scores.size(0), rows_per_task(num_experts), [&](std::int64_t begin, std::int64_t end, int worker) {
    auto* const keys = reinterpret_cast<std::int32_t*>(scratch(worker, 0, cpu::whole_vectors_of_any(num_experts)));
    rows.choose(pscores, bias, num_experts, options, keys, result, begin, end);
  });
}

void CpuBackend::route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                      const AuxiliaryGradient& auxiliary, Out dscores) {
  check_route_top_k_backward(probs, lse, ids, weights, dweights, options, auxiliary, dscores);
  const std::int64_t num_tokens = probs.size(0);
  const std::int64_t num_experts = probs.size(1);
  const cpu::TopKGradient gradient = cpu::top_k_gradient(probs, lse, ids, weights, dweights, auxiliary);
  float* const pdscores = dscores.data<float>();
  const cpu::RoutingRows& rows = cpu::routing_rows(isa_);
  for_chunks(pool_, num_tokens, rows_per_task(num_experts), [&](std::int64_t begin, std::int64_t end, int) {
    rows.backward(gradient, num_experts, options, pdscores, begin, end);
  });
}

void CpuBackend::row_norms(In x, Out norms) {
  if (check_row_norms(x, norms) == DType::f32) {
    run_norms(pool_, cpu::row_norm_rows_f32(isa_), x, norms);
  } else {
    run_norms(pool_, cpu::row_norm_rows_bf16(isa_), x, norms);
  }
}

void CpuBackend::row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) {
  if (check_row_norms_backward(x, norms, dnorms, dx) == DType::f32) {
    run_norms_backward(pool_, cpu::row_norm_rows_f32(isa_), x, norms, dnorms, dx, accumulate);
  } else {
    run_norms_backward(pool_, cpu::row_norm_rows_bf16(isa_), x, norms, dnorms, dx, accumulate);
  }
}

void CpuBackend::expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) {
  check_expert_counts(ids, token_offsets, tokens_per_set, counts);
  const std::int64_t num_tokens = token_offsets.size(0) - 1;
  const std::int64_t num_experts = counts.size(1);
  const std::int32_t* const expert_of_slot = ids.data<std::int32_t>();
  const std::int32_t* const offsets = token_offsets.data<std::int32_t>();
  std::int32_t* const all_counts = counts.data<std::int32_t>();
  for_chunks(pool_, counts.size(0), 1, [=](std::int64_t set, std::int64_t, int) {
    std::int32_t* const of_set = all_counts + set * num_experts;
    std::fill_n(of_set, num_experts, 0);
    const std::int32_t first = offsets[std::min(num_tokens, set * tokens_per_set)];
    const std::int32_t last = offsets[std::min(num_tokens, (set + 1) * tokens_per_set)];
    for (std::int32_t slot = first; slot < last; ++slot) {
      const std::int32_t expert = expert_of_slot[slot];
      if (expert < 0 || expert >= num_experts) {
        fail("expert_counts", "required ids from 0 to " + std::to_string(num_experts - 1) + ", found " +
                                  std::to_string(expert) + " at slot " + std::to_string(slot));
      }
      ++of_set[expert];
    }
  });
}

void CpuBackend::routing_statistics(In probs, In ids, In token_offsets, Out sums) {
  check_routing_statistics(probs, ids, token_offsets, sums);
  const std::int64_t num_tokens = probs.size(0);
  const std::int64_t num_experts = probs.size(1);
  const std::int64_t per_task = rows_per_task(num_experts);
  auto* const partials = reinterpret_cast<double*>(scratch(0, 0, 4 * num_chunks(num_tokens, per_task)));
  const cpu::RoutingRows& rows = cpu::routing_rows(isa_);
  for_chunks(pool_, num_tokens, per_task, [&](std::int64_t begin, std::int64_t end, int worker) {
    rows.statistics(probs.data<float>(), ids.data<std::int32_t>(), token_offsets.data<std::int32_t>(), num_experts,
                    scratch(worker, 1, num_experts), begin, end, partials + begin / per_task * 2);
  });
  double* const totals = sums.data<double>();
  totals[0] = totals[1] = 0.0;
  for (std::int64_t i = 0; i < 2 * num_chunks(num_tokens, per_task); ++i) totals[i % 2] += partials[i];
}

void CpuBackend::set_sums(In x, std::int64_t tokens_per_set, Out sums) {
  constexpr std::int64_t columns_per_task = 64;
  check_set_sums(x, tokens_per_set, sums);
  const std::int64_t num_tokens = x.size(0);
  const std::int64_t num_columns = x.size(1);
  const float* const px = x.data<float>();
  float* const psums = sums.data<float>();
  const cpu::RoutingRows& rows = cpu::routing_rows(isa_);
  const std::int64_t blocks = num_chunks(num_columns, columns_per_task);
  for_chunks(pool_, sums.size(0) * blocks, 1, [=, &rows](std::int64_t task, std::int64_t, int) {
    const std::int64_t set = task / blocks;
    const std::int64_t column = task % blocks * columns_per_task;
    const std::int64_t first = std::min(num_tokens, set * tokens_per_set);
    const std::int64_t last = std::min(num_tokens, (set + 1) * tokens_per_set);
    rows.column_sums(px + first * num_columns + column, num_columns, last - first,
                     std::min(columns_per_task, num_columns - column), psums + set * num_columns + column);
  });
}

}  // namespace artel

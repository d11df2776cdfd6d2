#include "kernels/cpu/routing.h"

#include <algorithm>
#include <string>

#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/routing.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

void check_sets(const char* op, std::int64_t num_tokens, std::int64_t tokens_per_set, std::int64_t num_sets) {
  if (tokens_per_set < 1) {
    fail(op, "required tokens_per_set of at least 1, found " + std::to_string(tokens_per_set));
  }
  if (num_sets < num_chunks(num_tokens, tokens_per_set)) {
    fail(op, "required " + std::to_string(num_chunks(num_tokens, tokens_per_set)) + " sets for " +
                 std::to_string(num_tokens) + " tokens in sets of " + std::to_string(tokens_per_set) + ", found " +
                 std::to_string(num_sets));
  }
}

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

cpu::TopKResult check_top_k(const char* op, std::int64_t num_tokens, std::int64_t num_experts,
                            const TopKOptions& options, Out probs, Out lse, Out ids, Out weights) {
  if (options.top_k < 1 || options.top_k > num_experts) {
    fail(op, "required top_k from 1 to the " + std::to_string(num_experts) + " experts, found " +
                 std::to_string(options.top_k));
  }
  check_dense(op, "probs", probs, {num_tokens, num_experts}, DType::f32);
  check_dense(op, "lse", lse, {num_tokens}, DType::f32);
  check_dense(op, "ids", ids, {num_tokens, options.top_k}, DType::i32);
  check_dense(op, "weights", weights, {num_tokens, options.top_k}, DType::f32);
  return {probs.data<float>(), lse.data<float>(), ids.data<std::int32_t>(), weights.data<float>()};
}

cpu::TopKGradient check_top_k_gradient(const char* op, std::int64_t num_tokens, std::int64_t num_experts,
                                       const TopKOptions& options, In probs, In lse, In ids, In weights, In dweights,
                                       const AuxiliaryGradient& auxiliary) {
  const cpu::TopKResult result = check_top_k(op, num_tokens, num_experts, options, probs, lse, ids, weights);
  cpu::TopKGradient gradient{.probs = result.probs, .lse = result.lse, .ids = result.ids, .weights = result.weights};
  if (dweights.defined()) {
    check_dense(op, "dweights", dweights, {num_tokens, options.top_k}, DType::f32);
    gradient.dweights = dweights.data<float>();
  }
  if (auxiliary.balance.defined()) {
    check_rank(op, "auxiliary.balance", auxiliary.balance, 2);
    check_dense(op, "auxiliary.balance", auxiliary.balance, {auxiliary.balance.size(0), num_experts}, DType::f32);
    check_sets(op, num_tokens, auxiliary.tokens_per_set, auxiliary.balance.size(0));
    gradient.balance = auxiliary.balance.data<float>();
    gradient.tokens_per_set = auxiliary.tokens_per_set;
  }
  gradient.z_scale = auxiliary.z_scale;
  return gradient;
}

void CpuBackend::route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                             Out weights) {
  const char* const op = "route_top_k";
  check_rank(op, "scores", scores, 2);
  const std::int64_t num_experts = scores.size(1);
  check_dense(op, "scores", scores, scores.shape(), DType::f32);
  if (selection_bias.defined()) check_dense(op, "selection_bias", selection_bias, {num_experts}, DType::f32);
  const cpu::TopKResult result = check_top_k(op, scores.size(0), num_experts, options, probs, lse, ids, weights);
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
  const char* const op = "route_top_k_backward";
  check_rank(op, "probs", probs, 2);
  const std::int64_t num_tokens = probs.size(0);
  const std::int64_t num_experts = probs.size(1);
  const cpu::TopKGradient gradient =
      check_top_k_gradient(op, num_tokens, num_experts, options, probs, lse, ids, weights, dweights, auxiliary);
  check_dense(op, "dscores", dscores, probs.shape(), DType::f32);
  float* const pdscores = dscores.data<float>();
  const cpu::RoutingRows& rows = cpu::routing_rows(isa_);
  for_chunks(pool_, num_tokens, rows_per_task(num_experts), [&](std::int64_t begin, std::int64_t end, int) {
    rows.backward(gradient, num_experts, options, pdscores, begin, end);
  });
}

void CpuBackend::row_norms(In x, Out norms) {
  check_rank("row_norms", "x", x, 2);
  const DType act = check_act("row_norms", "x", x);
  check_contiguous("row_norms", "x", x);
  check_dense("row_norms", "norms", norms, {x.size(0)}, DType::f32);
  if (act == DType::f32) {
    run_norms(pool_, cpu::row_norm_rows_f32(isa_), x, norms);
  } else {
    run_norms(pool_, cpu::row_norm_rows_bf16(isa_), x, norms);
  }
}

void CpuBackend::row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) {
  const char* const op = "row_norms_backward";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  check_contiguous(op, "x", x);
  check_dense(op, "norms", norms, {x.size(0)}, DType::f32);
  check_dense(op, "dnorms", dnorms, {x.size(0)}, DType::f32);
  check_dense(op, "dx", dx, x.shape(), act);
  if (act == DType::f32) {
    run_norms_backward(pool_, cpu::row_norm_rows_f32(isa_), x, norms, dnorms, dx, accumulate);
  } else {
    run_norms_backward(pool_, cpu::row_norm_rows_bf16(isa_), x, norms, dnorms, dx, accumulate);
  }
}

void CpuBackend::expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) {
  const char* const op = "expert_counts";
  check_dtype(op, "ids", ids, DType::i32);
  check_contiguous(op, "ids", ids);
  check_rank(op, "token_offsets", token_offsets, 1);
  check_rank(op, "counts", counts, 2);
  check_dense(op, "token_offsets", token_offsets, token_offsets.shape(), DType::i32);
  check_dense(op, "counts", counts, counts.shape(), DType::i32);
  const std::int64_t num_tokens = token_offsets.size(0) - 1;
  const std::int64_t num_experts = counts.size(1);
  check_sets(op, num_tokens, tokens_per_set, counts.size(0));
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
        fail(op, "required ids from 0 to " + std::to_string(num_experts - 1) + ", found " + std::to_string(expert) +
                     " at slot " + std::to_string(slot));
      }
      ++of_set[expert];
    }
  });
}

void CpuBackend::routing_statistics(In probs, In ids, In token_offsets, Out sums) {
  const char* const op = "routing_statistics";
  check_rank(op, "probs", probs, 2);
  check_dense(op, "probs", probs, probs.shape(), DType::f32);
  check_dtype(op, "ids", ids, DType::i32);
  check_contiguous(op, "ids", ids);
  const std::int64_t num_tokens = probs.size(0);
  const std::int64_t num_experts = probs.size(1);
  check_dense(op, "token_offsets", token_offsets, {num_tokens + 1}, DType::i32);
  check_dense(op, "sums", sums, {2}, DType::f64);
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
  check_rank("set_sums", "x", x, 2);
  check_dense("set_sums", "x", x, x.shape(), DType::f32);
  check_rank("set_sums", "sums", sums, 2);
  const std::int64_t num_tokens = x.size(0);
  const std::int64_t num_columns = x.size(1);
  check_dense("set_sums", "sums", sums, {sums.size(0), num_columns}, DType::f32);
  check_sets("set_sums", num_tokens, tokens_per_set, sums.size(0));
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

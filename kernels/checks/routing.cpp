#include "kernels/checks/routing.h"

#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

void check_sets(const char* op, std::int64_t num_tokens, std::int64_t tokens_per_set, std::int64_t num_sets) {
  if (tokens_per_set < 1) {
    fail(op, "required tokens_per_set of at least 1, found " + std::to_string(tokens_per_set));
  }
  const std::int64_t required = num_tokens / tokens_per_set + (num_tokens % tokens_per_set != 0 ? 1 : 0);
  if (num_sets < required) {
    fail(op, "required " + std::to_string(required) + " sets for " + std::to_string(num_tokens) +
                 " tokens in sets of " + std::to_string(tokens_per_set) + ", found " + std::to_string(num_sets));
  }
}

}  // namespace

void check_top_k(const char* op, std::int64_t num_tokens, std::int64_t num_experts, const TopKOptions& options,
                 In probs, In lse, In ids, In weights) {
  if (options.top_k < 1 || options.top_k > num_experts) {
    fail(op, "required top_k from 1 to the " + std::to_string(num_experts) + " experts, found " +
                 std::to_string(options.top_k));
  }
  check_dense(op, "probs", probs, {num_tokens, num_experts}, DType::f32);
  check_dense(op, "lse", lse, {num_tokens}, DType::f32);
  check_dense(op, "ids", ids, {num_tokens, options.top_k}, DType::i32);
  check_dense(op, "weights", weights, {num_tokens, options.top_k}, DType::f32);
}

void check_top_k_gradient(const char* op, std::int64_t num_tokens, std::int64_t num_experts, const TopKOptions& options,
                          In probs, In lse, In ids, In weights, In dweights, const AuxiliaryGradient& auxiliary) {
  check_top_k(op, num_tokens, num_experts, options, probs, lse, ids, weights);
  if (dweights.defined()) check_dense(op, "dweights", dweights, {num_tokens, options.top_k}, DType::f32);
  if (auxiliary.balance.defined()) {
    check_rank(op, "auxiliary.balance", auxiliary.balance, 2);
    check_dense(op, "auxiliary.balance", auxiliary.balance, {auxiliary.balance.size(0), num_experts}, DType::f32);
    check_sets(op, num_tokens, auxiliary.tokens_per_set, auxiliary.balance.size(0));
  }
}

void check_route_top_k(In scores, In selection_bias, const TopKOptions& options, In probs, In lse, In ids, In weights) {
  const char* const op = "route_top_k";
  check_rank(op, "scores", scores, 2);
  const std::int64_t num_experts = scores.size(1);
  check_dense(op, "scores", scores, scores.shape(), DType::f32);
  if (selection_bias.defined()) check_dense(op, "selection_bias", selection_bias, {num_experts}, DType::f32);
  check_top_k(op, scores.size(0), num_experts, options, probs, lse, ids, weights);
}

void check_route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                const AuxiliaryGradient& auxiliary, In dscores) {
  const char* const op = "route_top_k_backward";
  check_rank(op, "probs", probs, 2);
  check_top_k_gradient(op, probs.size(0), probs.size(1), options, probs, lse, ids, weights, dweights, auxiliary);
  check_dense(op, "dscores", dscores, probs.shape(), DType::f32);
}

DType check_row_norms(In x, In norms) {
  const char* const op = "row_norms";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  check_contiguous(op, "x", x);
  check_dense(op, "norms", norms, {x.size(0)}, DType::f32);
  return act;
}

DType check_row_norms_backward(In x, In norms, In dnorms, In dx) {
  const char* const op = "row_norms_backward";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  check_contiguous(op, "x", x);
  check_dense(op, "norms", norms, {x.size(0)}, DType::f32);
  check_dense(op, "dnorms", dnorms, {x.size(0)}, DType::f32);
  check_dense(op, "dx", dx, x.shape(), act);
  return act;
}

void check_expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, In counts) {
  const char* const op = "expert_counts";
  check_dtype(op, "ids", ids, DType::i32);
  check_contiguous(op, "ids", ids);
  check_rank(op, "token_offsets", token_offsets, 1);
  check_rank(op, "counts", counts, 2);
  check_dense(op, "token_offsets", token_offsets, token_offsets.shape(), DType::i32);
  check_dense(op, "counts", counts, counts.shape(), DType::i32);
  check_sets(op, token_offsets.size(0) - 1, tokens_per_set, counts.size(0));
}

void check_load_balance(In counts, In balance) {
  const char* const op = "load_balance";
  check_rank(op, "counts", counts, 2);
  check_dense(op, "counts", counts, counts.shape(), DType::i32);
  check_dense(op, "balance", balance, counts.shape(), DType::f32);
}

void check_set_sums(In x, std::int64_t tokens_per_set, In sums) {
  const char* const op = "set_sums";
  check_rank(op, "x", x, 2);
  check_dense(op, "x", x, x.shape(), DType::f32);
  check_rank(op, "sums", sums, 2);
  check_dense(op, "sums", sums, {sums.size(0), x.size(1)}, DType::f32);
  check_sets(op, x.size(0), tokens_per_set, sums.size(0));
}

void check_routing_statistics(In probs, In ids, In token_offsets, In sums) {
  const char* const op = "routing_statistics";
  check_rank(op, "probs", probs, 2);
  check_dense(op, "probs", probs, probs.shape(), DType::f32);
  check_dtype(op, "ids", ids, DType::i32);
  check_contiguous(op, "ids", ids);
  check_dense(op, "token_offsets", token_offsets, {probs.size(0) + 1}, DType::i32);
  check_dense(op, "sums", sums, {2}, DType::f64);
}

}  // namespace artel

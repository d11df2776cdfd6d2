#include "kernels/checks/cached_attention.h"

#include <string>

#include "kernels/checks/attention.h"
#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

DType check_both(const char* op, In qkv, const AttentionShape& shape, std::int64_t past, In cache) {
  check_attention_shape(op, shape);
  if (shape.num_sequences != 1) {
    fail(op, "required one sequence, found " + std::to_string(shape.num_sequences));
  }
  const DType act = check_act(op, "qkv", qkv);
  check_dense(op, "qkv", qkv, qkv_shape(shape), act);
  check_rank(op, "cache", cache, 3);
  check_dense(op, "cache", cache, {cache.size(0), 2 * shape.num_kv_heads, shape.head_dim}, act);
  if (past < 0 || past > cache.size(0) - shape.sequence_length) {
    fail(op, "required room for " + std::to_string(shape.sequence_length) + " tokens behind " + std::to_string(past) +
                 ", found a cache of " + std::to_string(cache.size(0)));
  }
  return act;
}

}  // namespace

DType check_store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) {
  return check_both("store_keys_values", qkv, shape, past, cache);
}

DType check_cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) {
  const char* const op = "cached_attention";
  const DType act = check_both(op, qkv, shape, past, cache);
  check_dense(op, "y", y, {shape.num_tokens(), shape.num_heads, shape.head_dim}, act);
  return act;
}

}  // namespace artel

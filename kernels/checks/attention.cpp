#include "kernels/checks/attention.h"

#include <string>

#include "util/error.h"

namespace artel {

void check_attention_shape(const char* op, const AttentionShape& s) {
  if (s.num_sequences < 0 || s.sequence_length < 0) {
    fail(op, "required numbers of sequences and positions that are not negative, found " +
                 std::to_string(s.num_sequences) + " and " + std::to_string(s.sequence_length));
  }
  if (s.num_heads < 1 || s.num_kv_heads < 1 || s.num_heads % s.num_kv_heads != 0) {
    fail(op, "required num_heads to be a multiple of num_kv_heads, found " + std::to_string(s.num_heads) + " and " +
                 std::to_string(s.num_kv_heads));
  }
  if (s.head_dim < 2 || s.head_dim % 2 != 0) {
    fail(op, "required an even head_dim, found " + std::to_string(s.head_dim));
  }
}

}  // namespace artel

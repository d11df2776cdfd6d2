#pragma once

#include "support/reference/types.h"

namespace artel::reference {

/// losses [R] = -log softmax(logits)[target], in nats. logits [R, V], targets [R].
Vector cross_entropy(const Vector& logits, const Ids& targets, std::size_t vocab_size);
/// dlogits [R, V] of <dlosses, losses>; dlosses [R].
Vector cross_entropy_backward(const Vector& logits, const Ids& targets, std::size_t vocab_size, const Vector& dlosses);

}  // namespace artel::reference

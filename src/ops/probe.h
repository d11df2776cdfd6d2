#pragma once

#include "ops/tape.h"

namespace artel {

/// Looks at the named tensors of a pass: values in forward order, gradients in backward order. Put into Context::probe
/// to find out where something went wrong; a normal pass has none and pays a comparison per tensor.
class TensorProbe {
 public:
  TensorProbe() = default;
  TensorProbe(const TensorProbe&) = delete;
  TensorProbe& operator=(const TensorProbe&) = delete;
  virtual ~TensorProbe() = default;

  /// `layer`: -1 for what stands before, between and behind the layers.
  virtual void value(Context& context, std::int64_t layer, const char* name, const Tensor& x) = 0;
  virtual void gradient(Context& context, std::int64_t layer, const char* name, const Tensor& dx) = 0;
};

/// Shows a tensor that has no gradient. The second pass of a recomputed block shows nothing a second time.
inline void watch_value(Context& context, std::int64_t layer, const char* name, const Tensor& x) {
  if (context.probe != nullptr && !context.replaying && x.defined()) context.probe->value(context, layer, name, x);
}

/// Shows x and, under a tape, its gradient once that is complete: then x is replaced by itself behind a node that looks
/// at what comes back. For x that nothing has read yet.
void watch(Context& context, std::int64_t layer, const char* name, Variable& x);

}  // namespace artel

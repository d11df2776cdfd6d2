#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"

// Shapes: C capacity in tokens · J key/value heads · h head_dim.

namespace artel {

/// The keys and values that a model has computed for the tokens of one sequence, so that a further token needs no look
/// at them but in attention. Memory: 2·J·h·C elements a layer.
class KvCache {
 public:
  /// Room for `capacity` tokens in every layer, empty.
  KvCache(Context& context, std::int64_t num_layers, std::int64_t num_kv_heads, std::int64_t head_dim, DType dtype,
          std::int64_t capacity) {
    for (std::int64_t layer = 0; layer < num_layers; ++layer) {
      layers_.push_back(context.empty({capacity, 2 * num_kv_heads, head_dim}, dtype));
    }
  }

  /// Tokens that it holds.
  std::int64_t length() const { return length_; }
  /// Of all layers.
  std::size_t nbytes() const { return layers_.empty() ? 0 : layers_.size() * layers_[0].nbytes(); }
  /// [C, 2J, h], keys before values.
  const Tensor& layer(std::int64_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }

  /// The pass that wrote rows of `num_tokens` more tokens into every layer is done.
  void advance(std::int64_t num_tokens) { length_ += num_tokens; }
  void clear() { length_ = 0; }

 private:
  std::vector<Tensor> layers_;
  std::int64_t length_ = 0;
};

}  // namespace artel

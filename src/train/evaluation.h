#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/transformer.h"

namespace artel {

struct Evaluation {
  double loss = 0.0;  ///< nats, mean over tokens
  std::int64_t tokens = 0;
  std::vector<std::vector<std::int64_t>> expert_counts;  ///< [L][N] assignments; empty for dense models
};

/// Data options of a model's samples: windows of max_position_embeddings + 1 tokens.
DataOptions data_options(const Config& config);
DataSource data_source(const DataFile& file);

/// Sum of the cross-entropy over the tokens of `batch` in nats, without gradients; `observer` may be null.
double batch_loss(Context& context, Transformer& model, const Batch& batch, RoutingObserver* observer);

/// Loss of `reader`'s first `batches` micro-batches (0: the whole set) without gradients.
Evaluation evaluate(Context& context, Transformer& model, const ValidationReader& reader, std::int64_t batch_size,
                    std::int64_t batches);

/// Copies ids to the device: [B·S] i32.
Tensor upload_ids(Context& context, const std::vector<std::int32_t>& ids);

}  // namespace artel

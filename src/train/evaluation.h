#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/transformer.h"

namespace artel {

struct Evaluation {
  double loss = 0.0;  ///< nats, mean over tokens
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;                                ///< of the tokens' text; 0: not known
  std::vector<std::vector<std::int64_t>> expert_counts;  ///< [L][N] assignments; empty for dense models
  bool complete = true;           ///< the same on every rank; false: one cannot read its windows, and no figure counts
  std::exception_ptr error = {};  ///< what keeps this rank from reading
};

/// Data options of a model's samples: windows of max_position_embeddings + 1 tokens.
DataOptions data_options(const Config& config);
DataSource data_source(const DataFile& file);
/// The id behind which, by data.document_mask, nothing of what stands before is seen; none without the mask, or where
/// the files alone say where documents end.
std::optional<std::int32_t> masked_document_end(const Config& config);

/// Sum of the cross-entropy over the tokens of `batch` in nats, without gradients; `observer` may be null.
double batch_loss(Context& context, Transformer& model, const Batch& batch, RoutingObserver* observer);

struct EvaluationOptions {
  std::int64_t batch_size = 1;        ///< windows in a batch
  std::int64_t batches = 0;           ///< of the set's first windows; 0: the whole set
  std::int64_t micro_batch_size = 1;  ///< windows in a pass of a rank; changes memory and time alone
  Communicator* world = nullptr;      ///< the ranks that share the windows out; none: one rank
  const std::vector<std::int32_t>* bytes_of_id = nullptr;  ///< lengths of the texts of ids; none or empty: not known
  std::optional<std::int32_t> document_end = {};           ///< masked_document_end, for texts that are no files
};

/// `batches` batches as large as those of training, in micro-batches of the config's size.
EvaluationOptions evaluation_options(const Config& config, std::int64_t batches, Communicator* world = nullptr);

/// Mean loss over a set's windows without gradients, the same on every rank. Every rank calls it. A file that cannot
/// be read is no exception but an Evaluation that is not complete, so that the ranks can go on together.
Evaluation evaluate(Context& context, Transformer& model, const ValidationReader& reader,
                    const EvaluationOptions& options);

/// Mean loss over a set in bits, divided by the mean bytes of a token; none where these are not known.
std::optional<double> bits_per_byte(const Evaluation& evaluation);

/// Copies ids to the device: [B·S] i32.
Tensor upload_ids(Context& context, const std::vector<std::int32_t>& ids);

}  // namespace artel

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "config/schema.h"
#include "core/context.h"
#include "data/loader.h"
#include "model/transformer.h"
#include "report/routing_inspection.h"

namespace artel {

struct InspectOptions {
  std::int64_t batch_size = 1;  ///< sequences
  std::int64_t batches = 4;     ///< per text; 0: all of it
  std::int64_t sampled_tokens =
      2048;                        ///< over all texts, spread over the first batch of each: every expert runs on them
  std::int64_t shown_tokens = 24;  ///< per text, from its start: their choices are kept
  /// Called with the choices of every token, if set.
  std::function<void(const TokenChoices&, const std::string& set)> each_token;
};

/// A text to look at.
struct InspectText {
  std::string name;
  const ValidationReader* reader = nullptr;
};

/// Looks at the routing of `model` on `texts`. `other`, with as many layers and experts, is asked for its choices on
/// the same tokens; `without_shared` is the same model less what every token gets, for its loss. Both may be null. All
/// are f32. Errors: models without experts, or that cannot be compared.
RoutingInspection inspect_routing(Context& context, Transformer& model, Transformer* other, Transformer* without_shared,
                                  const std::vector<InspectText>& texts, const InspectOptions& options);

/// A checkpoint's model in f32.
std::unique_ptr<Transformer> load_for_inspection(Context& context, Communicator& world, const ModelConfig& config,
                                                 const Checkpoint& checkpoint);
/// The same without what every token gets, a real or a virtual shared expert; null when it has none.
std::unique_ptr<Transformer> load_without_shared(Context& context, Communicator& world, const ModelConfig& config,
                                                 const Checkpoint& checkpoint);

}  // namespace artel

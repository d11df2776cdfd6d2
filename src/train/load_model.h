#pragma once

#include "checkpoint/store.h"
#include "config/schema.h"
#include "model/transformer.h"

namespace artel {

/// Names of router state in a checkpoint begin with this.
inline constexpr const char* router_state_prefix = "router_state.";

/// The config that a checkpoint was written with. Errors: naming the key that this version does not know.
Config checkpoint_config(const Checkpoint& checkpoint);

/// Fills an allocated model with what a checkpoint holds of it: parameters, converted to the model's type, and router
/// state. Errors: a tensor that is missing, of another shape, or damaged, naming it.
void load_model(Context& context, const Checkpoint& checkpoint, Transformer& model);

/// The router state alone.
void load_router_state(Context& context, const Checkpoint& checkpoint, const Transformer& model);

}  // namespace artel

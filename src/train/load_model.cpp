#include "train/load_model.h"

#include "checkpoint/parameters.h"
#include "config/yaml.h"

namespace artel {

Config checkpoint_config(const Checkpoint& checkpoint) {
  return config_from_json(json_member(checkpoint.manifest(), "config", checkpoint.path()), checkpoint.path());
}

void load_model(Context& context, const Checkpoint& checkpoint, Transformer& model) {
  read_pieces(context, model.parameters(), checkpoint, "", model.parameters().values());
  load_router_state(context, checkpoint, model);
}

void load_router_state(Context& context, const Checkpoint& checkpoint, const Transformer& model) {
  for (const RouterState& state : model.router_state()) {
    read_piece(context, checkpoint, router_state_prefix + state.name, state.tensor);
  }
}

}  // namespace artel

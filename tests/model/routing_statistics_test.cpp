#include <cmath>

#include "model/transformer.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/golden.h"
#include "support/reference/routing.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

// Adds up, in double precision, what the layers decided.
class Reference final : public RoutingObserver {
 public:
  void on_routing(std::int64_t layer, const Tensor& x, const Routing& routing,
                  const std::vector<std::int32_t>& expert_offsets) override {
    const auto num_experts = usize(routing.probs.size(1));
    CHECK(x.size(0) == routing.probs.size(0));
    CHECK(expert_offsets.size() == num_experts + 1);
    const auto sums = reference::routing_statistics(values_of(routing.probs), num_experts, ids_of(routing.expert_ids),
                                                    ids_of(routing.token_offsets));
    if (layer == 1) {
      entropy += sums.entropy;
      margin += sums.margin;
    }
  }
  void on_output(std::int64_t, const Tensor& y) override {
    ++num_outputs;
    CHECK(y.size(1) > 0);
  }

  double entropy = 0.0;
  double margin = 0.0;
  int num_outputs = 0;
};

TEST_CASE("A step's choice statistics are those of all its micro-batches, and recomputed blocks count once") {
  const auto name = GENERATE(as<std::string>{}, "softmax_shared", "uoe_default", "aoe_norm");
  const bool recompute_blocks = GENERATE(false, true);
  INFO(name << (recompute_blocks ? ", blocks recomputed" : ""));
  const Golden golden(name);
  const Config config = golden.config();
  TestDevice device(2);
  Context context = device.context();
  const auto world = make_self_communicator();
  Transformer model(config.model, *world);
  model.allocate(context, DType::f32);
  golden.load_weights(context, model.parameters());
  PassInfo info;
  info.num_sequences = golden.at("tokens").shape[0];
  info.step = 1;
  info.training = true;
  info.tokens_per_step = 2 * golden.at("tokens").shape.numel();
  Reference reference;
  for (int micro_batch = 0; micro_batch < 2; ++micro_batch) {
    info.recompute_blocks = recompute_blocks;
    backward(context, {model.loss(context, golden.ids(context, "tokens"), golden.ids(context, "targets"), info)});
    PassInfo look = info;
    look.training = false;
    look.recompute_blocks = false;
    look.observer = &reference;
    model.loss(context, golden.ids(context, "tokens"), golden.ids(context, "targets"), look);
  }
  const std::vector<LayerStatistics> layers = layer_statistics(model.take_statistics());
  CHECK(layers[1].choice.num_tokens == info.tokens_per_step);
  CHECK(layers[1].choice.entropy == Approx(reference.entropy).epsilon(1e-6));
  CHECK(layers[1].choice.margin == Approx(reference.margin).epsilon(1e-5));
  CHECK(reference.entropy > 0.0);
  CHECK(reference.num_outputs == 2 * config.model.num_hidden_layers);
  CHECK(layer_statistics(model.take_statistics())[1].choice.num_tokens == 0);
}

}  // namespace
}  // namespace artel

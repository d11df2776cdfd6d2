// What does not depend on the experts runs while rows travel between ranks, forward and backward.

#include <chrono>
#include <thread>

#include "comm/thread_communicator.h"
#include "config/yaml.h"
#include "core/trace.h"
#include "model/transformer.h"
#include "support/catch.h"
#include "support/test_device.h"

using namespace artel;

namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr double delay_seconds = 0.05;

// UoE whose virtual shared expert takes `pause` longer.
class SlowSideOutput final : public Router {
 public:
  SlowSideOutput(const RouterSetup& setup, Milliseconds pause)
      : Router(auxiliary_options(setup.model, setup.world)), router_(make_uoe_router(setup)), pause_(pause) {}

  ExpertOptions expert_options() const override { return router_->expert_options(); }
  Routing route(Context& context, const RouteInput& input) override { return router_->route(context, input); }
  Variable side_output(Context& context, const Routing& routing) override {
    std::this_thread::sleep_for(pause_);
    return router_->side_output(context, routing);
  }

 private:
  std::unique_ptr<Router> router_;
  Milliseconds pause_;
};

ModelConfig one_layer() {
  return parse_config(
             "model: {vocab_size: 32, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 1, "
             "num_key_value_heads: 1, max_position_embeddings: 8, num_experts: 4, num_experts_per_tok: 2, "
             "moe_intermediate_size: 16, shared_expert_intermediate_size: 8, routing: {type: uoe}}\n"
             "data: {train: [{path: unused.bin}]}\n",
             "one_layer.yaml")
      .model;
}

// The spans of rank 0 in a forward and backward pass over two ranks whose messages are late.
std::vector<TraceEvent> trace_pass(Milliseconds pause) {
  std::vector<TraceEvent> events;
  ThreadRanksOptions options;
  options.delay_seconds = delay_seconds;
  run_thread_ranks(2, options, [&](Communicator& world) {
    TestDevice device;
    Context context = device.context();
    Tracer tracer(device.allocator, 4096);
    MeshSizes sizes;
    sizes.world_size = 2;
    sizes.expert = 2;
    sizes.num_experts = 4;
    sizes.global_batch_size = 2;
    const Mesh mesh(world, MeshLayout(sizes));
    Transformer model(one_layer(), mesh, [pause](const RouterSetup& setup) -> std::unique_ptr<Router> {
      return std::make_unique<SlowSideOutput>(setup, pause);
    });
    model.allocate(context, DType::f32);
    model.initialise(context, 1);
    const std::vector<std::int32_t> ids{1, 5, 9, 13, 2, 6, 10, 14};
    const Tensor tokens = context.empty({8}, DType::i32);
    context.backend.upload(ids.data(), tokens);
    PassInfo info;
    info.num_sequences = 1;
    info.step = 1;
    info.tokens_per_step = 16;
    info.training = true;
    context.tracer = &tracer;
    context.progress = &world;
    backward(context, {model.loss(context, tokens, tokens, info)});
    if (world.rank() == 0) events = tracer.events();
  });
  return events;
}

std::vector<TraceEvent> spans_of(const std::vector<TraceEvent>& events, const std::string& name, TraceKind kind) {
  std::vector<TraceEvent> found;
  for (const TraceEvent& event : events) {
    if (event.name == name && event.kind == kind) found.push_back(event);
  }
  return found;
}

double seconds_of(const TraceEvent& event) {
  return static_cast<double>(event.end_ns - event.begin_ns) * 1.0e-9;
}

}  // namespace

TEST_CASE("The virtual shared expert runs between start and wait of the dispatch, and its backward on the way back") {
  const std::vector<TraceEvent> events = trace_pass(Milliseconds(0));
  const auto start = spans_of(events, "row_exchange_start", TraceKind::communication);
  const auto wait = spans_of(events, "row_exchange_wait", TraceKind::communication);
  const auto side = spans_of(events, "uoe_output", TraceKind::forward);
  REQUIRE(start.size() == 3);  // rows, weights; and the way back of the experts' outputs
  REQUIRE(wait.size() == 3);
  REQUIRE(side.size() == 1);
  CHECK(start[1].end_ns <= side[0].begin_ns);
  CHECK(side[0].end_ns <= wait[0].begin_ns);

  const auto way_back = spans_of(events, "row_exchange_wait", TraceKind::backward);
  const auto arrival = spans_of(events, "row_exchange_start", TraceKind::backward);
  const auto side_backward = spans_of(events, "uoe_output", TraceKind::backward);
  REQUIRE(way_back.size() == 3);
  REQUIRE(arrival.size() == 3);
  REQUIRE(side_backward.size() == 1);
  CHECK(way_back[2].end_ns <= side_backward[0].begin_ns);
  CHECK(side_backward[0].end_ns <= arrival[1].begin_ns);
}

TEST_CASE("Work between start and wait hides the time that rows travel", "[slow]") {
  const auto waited = [](Milliseconds pause) {
    const auto wait = spans_of(trace_pass(pause), "row_exchange_wait", TraceKind::communication);
    return seconds_of(wait.at(0)) + seconds_of(wait.at(1));
  };
  CHECK(waited(Milliseconds(0)) > 0.5 * delay_seconds);
  CHECK(waited(Milliseconds(150)) < 0.2 * delay_seconds);
}

// What expert parallelism sends, against the formulas of docs/parallelism.md, to the byte.

#include <mutex>
#include <numeric>

#include "comm/thread_communicator.h"
#include "config/yaml.h"
#include "model/transformer.h"
#include "support/catch.h"
#include "support/test_device.h"

using namespace artel;

namespace {

constexpr std::int64_t num_experts = 4, num_layers = 2, hidden_size = 32, sequence_length = 8,
                       travelling_width = padded_width(5);

ModelConfig model_of(const std::string& routing) {
  return parse_config(
             "model: {vocab_size: 32, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 1, "
             "num_key_value_heads: 1, max_position_embeddings: 8, num_experts: 4, num_experts_per_tok: 2, "
             "moe_intermediate_size: 16, shared_expert_intermediate_size: 8, "
             "routing: {type: " +
                 routing +
                 ", aoe: {d_low: 5, expert_width: 9}}}\n"
                 "data: {train: [{path: unused.bin}]}\n",
             "two_layers.yaml")
      .model;
}

// What one rank sent in a forward and backward pass, and the choices of its tokens: [num_layers][num_experts].
struct Sent {
  std::int64_t dispatch = 0;
  std::int64_t combine = 0;
  std::vector<std::vector<std::int64_t>> choices;
};

struct Pass {
  std::string routing;
  int num_ranks = 2;
  DType dtype = DType::f32;
  bool recompute = false;
};

Sent run_rank(Communicator& world, const Pass& pass) {
  TestDevice device;
  Context context = device.context();
  MeshSizes sizes;
  sizes.world_size = pass.num_ranks;
  sizes.expert = pass.num_ranks;
  sizes.num_experts = num_experts;
  sizes.global_batch_size = pass.num_ranks;
  const Mesh mesh(world, MeshLayout(sizes));
  Transformer model(model_of(pass.routing), mesh);
  model.allocate(context, pass.dtype);
  model.initialise(context, 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(sequence_length));
  std::iota(ids.begin(), ids.end(), 7 * world.rank());
  const Tensor tokens = context.empty({sequence_length}, DType::i32);
  context.backend.upload(ids.data(), tokens);
  PassInfo info;
  info.num_sequences = 1;
  info.step = 1;
  info.tokens_per_step = sequence_length * pass.num_ranks;
  info.training = true;
  info.recompute_blocks = pass.recompute;
  backward(context, {model.loss(context, tokens, tokens, info)});
  Sent sent;
  for (const Communicator* group : {&mesh.world(), &mesh.expert(), &mesh.expert_replicas()}) {
    sent.dispatch += group->counters().bytes_sent[static_cast<std::size_t>(Purpose::dispatch)];
    sent.combine += group->counters().bytes_sent[static_cast<std::size_t>(Purpose::combine)];
  }
  for (const LayerStatistics& layer : layer_statistics(model.take_statistics()))
    sent.choices.push_back(layer.expert_counts);
  return sent;
}

std::vector<Sent> run(const Pass& pass) {
  std::vector<Sent> sent(static_cast<std::size_t>(pass.num_ranks));
  run_thread_ranks(pass.num_ranks, {},
                   [&](Communicator& world) { sent[static_cast<std::size_t>(world.rank())] = run_rank(world, pass); });
  return sent;
}

// Choices of a layer by the tokens of `from` that fall on experts of `to`.
std::int64_t rows(const std::vector<Sent>& sent, std::size_t layer, std::size_t from, std::size_t to) {
  const std::size_t per_rank = static_cast<std::size_t>(num_experts) / sent.size();
  const auto first = sent[from].choices[layer].begin() + static_cast<std::ptrdiff_t>(to * per_rank);
  return std::accumulate(first, first + static_cast<std::ptrdiff_t>(per_rank), std::int64_t{0});
}

void check_formulas(const Pass& pass) {
  INFO(pass.routing << " on " << pass.num_ranks << " ranks, " << dtype_name(pass.dtype) << ", recompute "
                    << pass.recompute);
  const std::vector<Sent> sent = run(pass);
  const std::int64_t width = static_cast<std::int64_t>(dtype_size(pass.dtype));
  const std::int64_t travelling = pass.routing == "aoe" ? travelling_width : 0;
  const std::int64_t again = pass.recompute ? 1 : 0;
  const std::int64_t to_expert = hidden_size * width + 4 + travelling * width, back = hidden_size * width;
  for (std::size_t rank = 0; rank < sent.size(); ++rank) {
    INFO("rank " << rank);
    std::int64_t dispatch = 0, combine = 0;
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(num_layers); ++layer) {
      std::int64_t leaving = 0, arriving = 0;  // R and Q
      for (std::size_t other = 0; other < sent.size(); ++other) {
        if (other == rank) continue;
        leaving += rows(sent, layer, rank, other);
        arriving += rows(sent, layer, other, rank);
      }
      const auto num_ranks = static_cast<std::int64_t>(sent.size());
      dispatch += 8 * (num_ranks - 1) * num_experts / num_ranks + leaving * ((1 + again) * to_expert + back);
      combine += arriving * ((1 + again) * back + to_expert);
    }
    CHECK(sent[rank].dispatch == dispatch);
    CHECK(sent[rank].combine == combine);
  }
}

}  // namespace

TEST_CASE("Dispatch and combine send as many bytes as the formulas say") {
  for (const char* routing : {"uoe", "softmax", "aoe"}) {
    for (const int num_ranks : {2, 4}) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const bool recompute : {false, true}) check_formulas({routing, num_ranks, dtype, recompute});
      }
    }
  }
}

TEST_CASE("A choice of an expert elsewhere costs UoE as many bytes as it costs a softmax MoE") {
  const auto bytes_per_choice = [](const std::string& routing) {
    const std::vector<Sent> sent = run({routing, 2});
    std::int64_t choices = 0, bytes = 0;
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(num_layers); ++layer) {
      choices += rows(sent, layer, 0, 1) + rows(sent, layer, 1, 0);
    }
    for (const Sent& rank : sent) bytes += rank.dispatch + rank.combine - num_layers * 8 * num_experts / 2;
    REQUIRE(choices > 0);
    REQUIRE(bytes % choices == 0);
    return bytes / choices;
  };
  CHECK(bytes_per_choice("uoe") == bytes_per_choice("softmax"));
}

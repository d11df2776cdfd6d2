#include "inspect/routing_inspector.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "checkpoint/parameters.h"
#include "inspect/dense_experts.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_directory.h"
#include "support/tensors.h"
#include "support/test_device.h"
#include "train/evaluation.h"

namespace artel {
namespace {

void write_tokens(const std::string& path, int count, std::uint32_t state, int num_ids) {
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    file.put(static_cast<char>((state >> 16) % static_cast<std::uint32_t>(num_ids)));
  }
}

// A model with golden weights, saved as a checkpoint, and two texts.
struct Case {
  explicit Case(const std::string& name)
      : golden(name), config(golden.config()), context(device.context()), world(make_self_communicator()) {
    const auto vocab = static_cast<int>(config.model.vocab_size);
    write_tokens(directory.file("a.bin"), 900, 1, vocab);
    write_tokens(directory.file("b.bin"), 700, 2, vocab / 2);
    for (const char* text : {"a", "b"}) {
      DataSource source;
      source.path = directory.file(std::string(text) + ".bin");
      readers.push_back(std::make_unique<ValidationReader>(source, data_options(config)));
      texts.push_back({text, readers.back().get()});
    }
    model = std::make_unique<Transformer>(config.model, *world);
    model->allocate(context, DType::f32);
    golden.load_weights(context, model->parameters());
    Snapshot snapshot;
    snapshot.step = 1;
    snapshot.config = {{"run", {{"seed", 1}}}};
    snapshot.world = {{"size", 1}, {"expert", 1}};
    append_pieces(context, model->parameters(), model->parameters().values(), "", snapshot.pieces);
    path = save_checkpoint(files, directory.file("checkpoints"), snapshot, 1);
    options.batch_size = 4;
    options.batches = 2;
    options.sampled_tokens = 200;
  }

  RoutingInspection inspect(Transformer* other = nullptr, Transformer* without_shared = nullptr) {
    return inspect_routing(context, *model, other, without_shared, texts, options);
  }
  Evaluation evaluated(Transformer& transformer, std::size_t text) {
    return evaluate(context, transformer, *readers[text], {options.batch_size, options.batches, options.batch_size});
  }

  TemporaryDirectory directory;
  PosixFileLayer files;
  Golden golden;
  Config config;
  TestDevice device{2};
  Context context;
  std::unique_ptr<Communicator> world;
  std::vector<std::unique_ptr<ValidationReader>> readers;
  std::vector<InspectText> texts;
  std::unique_ptr<Transformer> model;
  std::string path;
  InspectOptions options;
};

// Everything that a layer decided and gave, token by token.
class Recorder final : public RoutingObserver {
 public:
  void on_routing(std::int64_t layer, const Tensor& x, const Routing& routing,
                  const std::vector<std::int32_t>&) override {
    if (layer != 1) return;
    inputs = x;
    probs = values_of(routing.probs);
    ids = ids_of(routing.expert_ids);
  }
  void on_output(std::int64_t layer, const Tensor& y) override {
    if (layer == 1) output = y;
  }

  Tensor inputs, output;
  std::vector<double> probs;
  std::vector<std::int32_t> ids;
};

// 1 - 6 sum d² / (n (n² - 1)): Spearman's own formula, for values without ties.
double spearman_without_ties(const std::vector<double>& a, const std::vector<double>& b) {
  const auto rank = [](const std::vector<double>& values, std::size_t i) {
    return static_cast<double>(std::count_if(values.begin(), values.end(), [&](double v) { return v < values[i]; }));
  };
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(rank(a, i) - rank(b, i), 2);
  const auto n = static_cast<double>(a.size());
  return 1.0 - 6.0 * sum / (n * (n * n - 1.0));
}

double mean_norm(const std::vector<double>& values, std::size_t width) {
  double sum = 0.0;
  for (std::size_t first = 0; first < values.size(); first += width) {
    double square = 0.0;
    for (std::size_t i = first; i < first + width; ++i) square += values[i] * values[i];
    sum += std::sqrt(square);
  }
  return sum / static_cast<double>(values.size() / width);
}

TEST_CASE("correlations, strongest experts and shared parts equal those of the recorded layer") {
  const auto name = GENERATE(as<std::string>{}, "softmax_shared", "uoe_default", "aoe_norm");
  INFO(name);
  Case c(name);
  c.texts.resize(1);
  c.options.sampled_tokens = 4 * c.config.model.max_position_embeddings;  // all of the first batch
  const RoutingInspection inspection = c.inspect();
  CHECK(inspection.sampled_tokens == c.options.sampled_tokens);
  Batch batch;
  c.readers[0]->read(0, 4, batch);
  Recorder recorder;
  batch_loss(c.context, *c.model, batch, &recorder);
  const DenseExperts experts(c.config.model, c.model->parameters());  // checked by dense_experts_test.cpp
  const ExpertNorms norms = experts.norms(c.context, 1, recorder.inputs);

  const auto num_experts = usize(c.config.model.num_experts);
  const auto top_k = usize(c.config.model.num_experts_per_tok);
  double correlation = 0.0;
  double strongest = 0.0;
  const std::size_t num_tokens = recorder.probs.size() / num_experts;
  for (std::size_t t = 0; t < num_tokens; ++t) {
    const auto row = [&](const std::vector<double>& values) {
      return std::vector<double>(values.begin() + static_cast<std::ptrdiff_t>(t * num_experts),
                                 values.begin() + static_cast<std::ptrdiff_t>((t + 1) * num_experts));
    };
    const std::vector<double> activation = row(norms.activation);
    correlation += spearman_without_ties(row(recorder.probs), activation) / static_cast<double>(num_tokens);
    for (std::size_t slot = 0; slot < top_k; ++slot) {
      const double chosen = activation[usize(recorder.ids[t * top_k + slot])];
      const auto num_stronger =
          std::count_if(activation.begin(), activation.end(), [&](double value) { return value > chosen; });
      if (num_stronger < static_cast<std::ptrdiff_t>(top_k)) strongest += 1.0;
    }
  }
  const LayerInspection& layer = inspection.layers[1];
  REQUIRE(layer.agreements.size() == (name == "uoe_default" ? 4 : 3));
  CHECK(layer.agreements[1].target == "activation");
  CHECK(layer.agreements[1].rank_correlation == Approx(correlation).epsilon(1e-12));
  CHECK(layer.agreements[1].chosen_strongest == Approx(strongest / static_cast<double>(num_tokens * top_k)));
  CHECK(layer.agreements[1].lower_quartile < layer.agreements[1].upper_quartile);

  const auto width = usize(c.config.model.hidden_size);
  const std::vector<double> shared = values_of(experts.shared_output(c.context, 1, recorder.inputs));
  std::vector<double> difference = values_of(recorder.output);
  CHECK(layer.shared.output_norm == Approx(mean_norm(difference, width)));
  CHECK(layer.shared.norm == Approx(mean_norm(shared, width)));
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= shared[i];
  CHECK(layer.shared.other_norm == Approx(mean_norm(difference, width)));
}

TEST_CASE("loads by text and losses are those of an evaluation, and loads add up") {
  const auto name = GENERATE(as<std::string>{}, "softmax_no_shared_no_norm", "uoe_no_norm", "aoe_no_norm");
  Case c(name);
  const RoutingInspection inspection = c.inspect();
  const auto top_k = static_cast<double>(c.config.model.num_experts_per_tok);
  REQUIRE(inspection.sets.size() == 2);
  for (std::size_t set = 0; set < 2; ++set) {
    const Evaluation evaluation = c.evaluated(*c.model, set);
    CHECK(inspection.sets[set].loss == evaluation.loss);
    CHECK(inspection.sets[set].tokens == evaluation.tokens);
    REQUIRE(evaluation.expert_counts.size() == inspection.layers.size());
    for (std::size_t layer = 0; layer < inspection.layers.size(); ++layer) {
      const std::vector<double>& load = inspection.layers[layer].load_by_set[set];
      CHECK(std::equal(load.begin(), load.end(), evaluation.expert_counts[layer].begin(),
                       [](double a, std::int64_t b) { return a == static_cast<double>(b); }));
      double total = 0.0;
      for (const double count : load) total += count;
      CHECK(total == top_k * static_cast<double>(evaluation.tokens));
    }
  }
  CHECK(inspection.tokens == inspection.sets[0].tokens + inspection.sets[1].tokens);
  CHECK(inspection.layers[0].specialisation > 0.0);
  CHECK(inspection.layers[0].choice_entropy > 0.0);
  CHECK(inspection.layers[0].choice_entropy < 1.0);
}

TEST_CASE("a model keeps all of its own choices and few of a stranger's") {
  Case c("uoe_default");
  const RoutingInspection same = c.inspect(c.model.get());
  for (const LayerInspection& layer : same.layers) CHECK(layer.kept == 1.0);
  Transformer stranger(c.config.model, *c.world);
  stranger.allocate(c.context, DType::f32);
  stranger.initialise(c.context, 99);
  const RoutingInspection different = c.inspect(&stranger);
  for (const LayerInspection& layer : different.layers) {
    CHECK(layer.kept < 0.8);
    CHECK(layer.kept_by_chance > 0.0);
    CHECK(layer.kept_by_chance < 0.8);
  }
}

TEST_CASE("a checkpoint loads with and without what every token gets") {
  const auto name = GENERATE(as<std::string>{}, "softmax_shared", "uoe_default", "softmax_no_shared_no_norm");
  INFO(name);
  Case c(name);
  const Checkpoint checkpoint(c.files, c.path);
  const auto loaded = load_for_inspection(c.context, *c.world, c.config.model, checkpoint);
  CHECK(c.evaluated(*loaded, 0).loss == c.evaluated(*c.model, 0).loss);
  const auto without = load_without_shared(c.context, *c.world, c.config.model, checkpoint);
  if (name == "softmax_no_shared_no_norm") {
    CHECK(without == nullptr);
    return;
  }
  REQUIRE(without != nullptr);
  // Layer 0 sees the same input with and without, so its outputs differ by exactly the shared part.
  class FirstOutput final : public RoutingObserver {
   public:
    void on_routing(std::int64_t layer, const Tensor& x, const Routing&, const std::vector<std::int32_t>&) override {
      if (layer == 0) input = x;
    }
    void on_output(std::int64_t layer, const Tensor& y) override {
      if (layer == 0) output = values_of(y);
    }
    Tensor input;
    std::vector<double> output;
  };
  FirstOutput with;
  FirstOutput less;
  Batch batch;
  c.readers[0]->read(0, 4, batch);
  batch_loss(c.context, *loaded, batch, &with);
  batch_loss(c.context, *without, batch, &less);
  const DenseExperts experts(c.config.model, loaded->parameters());
  const std::vector<double> shared = values_of(experts.shared_output(c.context, 0, with.input));
  std::vector<double> sum = less.output;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += shared[i];
  expect_close("output", with.output, sum, tolerance_for(DType::f32, usize(c.config.model.hidden_size), largest(sum)));
  CHECK(largest(shared) > 1e-3);
  const RoutingInspection inspection = c.inspect(nullptr, without.get());
  CHECK(inspection.sets[1].loss_without_shared == c.evaluated(*without, 1).loss);
}

TEST_CASE("the first tokens of each text are listed and every token is reported on request") {
  Case c("softmax_shared");
  c.options.shown_tokens = 5;
  std::map<std::string, std::int64_t> num_reported;
  std::int64_t last_sequence = 0;
  c.options.each_token = [&](const TokenChoices& choices, const std::string& set) {
    ++num_reported[set];
    last_sequence = choices.sequence;
    REQUIRE(choices.experts.size() == usize(c.config.model.num_hidden_layers));
    for (std::size_t layer = 0; layer < choices.experts.size(); ++layer) {
      REQUIRE(choices.experts[layer].size() == usize(c.config.model.num_experts_per_tok));
      CHECK(choices.weights[layer][0] >= choices.weights[layer][1]);
    }
  };
  const RoutingInspection inspection = c.inspect();
  CHECK(num_reported["a"] == inspection.sets[0].tokens);
  CHECK(num_reported["b"] == inspection.sets[1].tokens);
  CHECK(last_sequence == 7);
  REQUIRE(inspection.choices.size() == 10);
  CHECK(inspection.choices[4].position == 4);
  CHECK(inspection.choices[5].set == 1);
  Batch batch;
  c.readers[1]->read(0, 1, batch);
  CHECK(inspection.choices[6].token == batch.inputs[1]);
}

TEST_CASE("nothing is sampled on request, and models that do not match are refused") {
  Case c("uoe_default");
  c.options.sampled_tokens = 0;
  const RoutingInspection inspection = c.inspect();
  CHECK(inspection.sampled_tokens == 0);
  CHECK(inspection.layers[0].agreements.empty());
  CHECK(inspection.layers[0].shared.kind == "none");
  ModelConfig smaller = c.config.model;
  smaller.num_hidden_layers = 1;
  Transformer other(smaller, *c.world);
  other.allocate(c.context, DType::f32);
  expect_contains(error_text([&] { c.inspect(&other); }), "[inspect] required --other to have 2 layers of");
  const Golden dense("dense_qknorm_tied");
  Transformer without_experts(dense.config().model, *c.world);
  CHECK(error_text([&] { inspect_routing(c.context, without_experts, nullptr, nullptr, c.texts, c.options); }) ==
        "[inspect] required a model with experts, found a dense one");
}

}  // namespace
}  // namespace artel

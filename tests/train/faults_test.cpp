#include <cmath>
#include <limits>

#include "data/loader.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "train/evaluation.h"
#include "train/tiny_run.h"

// Numbers that go wrong in training: where they are found, what is written, and that nothing is damaged by them.

using namespace artel;

namespace {

constexpr float huge = 1.0e38F;
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

const Parameter& parameter(Trainer& trainer, const std::string& name) {
  for (const Parameter& candidate : trainer.model().parameters().parameters()) {
    if (candidate.name == name) return candidate;
  }
  FAIL("no parameter " << name);
  throw 0;
}

// Column 0 of a matrix, or of every matrix of a stack, over the last dimension; rows `first` and every `stride`-th.
void set_column(Trainer& trainer, const std::string& name, float value, std::int64_t first = 0,
                std::int64_t stride = 1) {
  const Tensor data = parameter(trainer, name).variable.data;
  const std::int64_t width = data.shape()[data.shape().rank() - 1];
  for (std::int64_t row = first; row < data.numel() / width; row += stride) data.data<float>()[row * width] = value;
}

// Row 0 of every matrix [d, …] of a stack of them: what it writes to dimension 0 of the residual stream.
void silence_row(Trainer& trainer, const std::string& name, std::int64_t hidden_size) {
  const Tensor data = parameter(trainer, name).variable.data;
  const std::int64_t width = data.shape()[data.shape().rank() - 1];
  for (std::int64_t row = 0; row < data.numel() / width; row += hidden_size) {
    for (std::int64_t i = 0; i < width; ++i) data.data<float>()[row * width + i] = 0.0F;
  }
}

// Token 'z' alone has something in dimension 0 of the stream, in every layer: a weight that reads it and is huge makes
// an infinity of that token and of no other.
void mark_tokens(Trainer& trainer) {
  set_column(trainer, "model.embed_tokens.weight", 0.0F);
  const Tensor table = parameter(trainer, "model.embed_tokens.weight").variable.data;
  table.data<float>()[std::int64_t{'z'} * table.size(1)] = 1.0F;
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    silence_row(trainer, layer + "self_attn.o_proj.weight", 32);
    silence_row(trainer, layer + "mlp.experts.down_proj", 32);
    silence_row(trainer, layer + "mlp.shared_expert.down_proj.weight", 32);
  }
}

// Every 16th window holds one 'z'.
void prepare_marked(const TemporaryDirectory& directory) {
  prepare(directory);
  std::fstream file(directory.file("train.bin"), std::ios::in | std::ios::out | std::ios::binary);
  for (int window = 0; window < 235; window += 16) {
    file.seekp(window * 17 + window / 16);
    file.put('z');
  }
}

// Global indices of the samples of a step whose inputs hold a 'z', of its first micro-batch that has any.
std::vector<std::int64_t> marked_samples(const Config& config, std::int64_t step) {
  DataLoader loader({data_source(config.data.train[0])}, data_options(config),
                    static_cast<std::uint64_t>(config.run.seed));
  const std::int64_t size = config.train.global_batch_size;
  const Batch batch = loader.load((step - 1) * size, size);
  std::vector<std::int64_t> samples;
  for (std::int64_t row = 0; row < size; ++row) {
    if (row % config.train.micro_batch_size == 0 && !samples.empty()) break;
    for (std::int64_t i = row * batch.seq_len; i < (row + 1) * batch.seq_len; ++i) {
      if (batch.inputs[static_cast<std::size_t>(i)] != 'z') continue;
      samples.push_back((step - 1) * size + row);
      break;
    }
  }
  return samples;
}

// Figures of a step read at its end, as on the CPU, or during the next one, as on a GPU.
TrainOptions early_or_late() {
  TrainOptions options;
  options.late_figures = GENERATE(false, true);
  return options;
}

std::string values_of_model(Trainer& trainer) {
  const Tensor& values = trainer.model().parameters().values();
  return {static_cast<const char*>(values.raw()), values.nbytes()};
}

struct Poison {
  const char* parameter;
  std::int64_t first_row;
  std::int64_t stride;
  std::int64_t layer;
  const char* tensor;
};

}  // namespace

TEST_CASE("The first tensor that is not finite is named with its layer and the samples that make it so") {
  const auto poison =
      GENERATE(Poison{"model.layers.0.self_attn.qkv_proj.weight", 0, 1000, 0, "self_attn"},
               Poison{"model.layers.1.self_attn.qkv_proj.weight", 0, 1000, 1, "self_attn"},
               Poison{"model.layers.1.mlp.gate.weight", 0, 1000, 1, "mlp.router.probs"},
               Poison{"model.layers.0.mlp.experts.gate_and_up_proj", 0, 1, 0, "mlp.experts"},
               Poison{"model.layers.1.mlp.shared_expert.gate_up_proj.weight", 0, 1, 1, "mlp.shared_expert"},
               Poison{"lm_head.weight", 7, 1000, -1, "logits"});
  const std::string recompute = GENERATE("none", "block");
  INFO(poison.parameter << ", recompute " << recompute);
  const TemporaryDirectory directory;
  prepare_marked(directory);
  const Config config = config_of(directory, "softmax", "fp32",
                                  {"optimizer.lr=0.0", "train.recompute=" + recompute, "train.max_bad_steps=100",
                                   "validation.every=0", "train.steps=24"});
  TinyTrainer tiny(config, early_or_late());
  mark_tokens(tiny.trainer);
  set_column(tiny.trainer, poison.parameter, huge, poison.first_row, poison.stride);
  tiny.trainer.run();
  const std::vector<Json> events = events_of(config, "non_finite_step");
  std::size_t num_expected = 0;
  for (std::int64_t step = 1; step <= 24; ++step) num_expected += marked_samples(config, step).empty() ? 0 : 1;
  REQUIRE(num_expected >= 2);
  CHECK(events.size() == num_expected);
  for (const Json& event : events) {
    INFO(event.dump());
    CHECK(event["layer"] == (poison.layer >= 0 ? Json(poison.layer) : Json()));
    CHECK(event["tensor"] == poison.tensor);
    CHECK(event["direction"] == "forward");
    CHECK(event["applied"] == false);
    const auto expected = marked_samples(config, event["step"].get<std::int64_t>());
    CHECK(event["samples"] == Json(expected));
    CHECK(event["num_samples"] == expected.size());
    REQUIRE(event["windows"].size() == expected.size());
    CHECK(event["windows"][0]["window"].get<std::int64_t>() % 16 == 0);
    CHECK(event["windows"][0]["file"] == directory.file("train.bin"));
  }
}

TEST_CASE("A gradient that leaves the range of its type is found in backward order") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32", {"train.max_bad_steps=1", "validation.every=0"});
  TinyTrainer tiny(config, early_or_late());
  mark_tokens(tiny.trainer);
  // Dimension 0 of the stream is 0, so huge weights that read it change no value, only the gradient that comes back.
  set_column(tiny.trainer, "lm_head.weight", huge, 7, 1000);
  parameter(tiny.trainer, "model.norm.weight").variable.data.data<float>()[0] = 1.0e7F;
  const std::string before = values_of_model(tiny.trainer);
  expect_contains(error_text([&] { tiny.trainer.run(); }), "layer 1, mlp (backward) of sample 0 (window ");
  CHECK((values_of_model(tiny.trainer) == before));
  const std::vector<Json> events = events_of(config, "non_finite_step");
  REQUIRE(events.size() == 1);
  CHECK(events[0]["layer"] == 1);
  CHECK(events[0]["tensor"] == "mlp");
  CHECK(events[0]["direction"] == "backward");
  CHECK(events[0]["samples"] == Json({0, 1}));  // the first micro-batch
  CHECK(rows_of(config)[0]["loss"].is_number());
}

TEST_CASE("The gradient of a single weight that is not finite is found by its stored name") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32", {"train.max_bad_steps=1"});
  TinyTrainer tiny(config, early_or_late());
  GradientSlot* slot = parameter(tiny.trainer, "model.layers.1.mlp.experts.down_proj").variable.slot.get();
  slot->on_complete = [slot] { slot->gradient.data<float>()[slot->gradient.numel() - 1] = nan_value; };
  CHECK_THROWS_AS(tiny.trainer.run(), Error);
  const Json event = events_of(config, "non_finite_step").at(0);
  CHECK(event["tensor"] == "model.layers.1.mlp.experts.5.down_proj.weight");
  CHECK(event["layer"] == 1);
  CHECK(event["direction"] == "backward");
}

TEST_CASE("What does not appear again when the step is repeated is said to be the machine's") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "bf16", {"train.max_bad_steps=2"});
  TinyTrainer tiny(config, early_or_late());
  GradientSlot* slot = parameter(tiny.trainer, "lm_head.weight").variable.slot.get();
  int calls = 0;
  slot->on_complete = [&] { slot->gradient.data<float>()[0] = ++calls == 4 ? nan_value : 0.0F; };
  tiny.trainer.run();
  const std::vector<Json> events = events_of(config, "non_finite_step");
  REQUIRE(events.size() == 1);
  CHECK(events[0]["step"] == 2);
  CHECK(events[0]["tensor"].is_null());
  CHECK(events[0]["samples"].empty());
  // Steps after it count anew: one bad step in a row is not two.
  CHECK(tiny.trainer.step() == 12);
}

TEST_CASE("Weights that are not finite are named, no checkpoint of them is written, and the last good one stands") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe");
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config =
      config_of(directory, routing, "fp32", {"train.max_bad_steps=3", "checkpoint.every=1", "validation.every=1"});
  std::string error;
  {
    TinyTrainer tiny(config, early_or_late());
    const auto poison = [&] {
      if (tiny.trainer.step() == 4) {
        const Tensor data = parameter(tiny.trainer, "model.layers.1.mlp.experts.down_proj").variable.data;
        data.data<float>()[3 * data.shape().inner() + 5] = nan_value;
      }
      return false;
    };
    error = error_text([&] { tiny.trainer.run(poison); });
  }
  expect_contains(error,
                  "3 steps in a row without, up to step 7: first in "
                  "model.layers.1.mlp.experts.3.down_proj.weight (parameter)");
  const std::vector<Json> events = events_of(config, "non_finite_step");
  REQUIRE(events.size() == 3);
  CHECK(events[0]["layer"] == 1);
  CHECK(events[0]["direction"] == "parameter");
  CHECK(events[0]["samples"].empty());
  const std::vector<Json> refused = events_of(config, "checkpoint_refused");
  REQUIRE(refused.size() == 2);  // steps 5 and 6; step 7 ended the run
  CHECK(refused[0]["tensor"] == "model.layers.1.mlp.experts.3.down_proj.weight");
  CHECK(events_of(config, "non_finite_validation").size() == 2);
  // The checkpoint of step 4 is there, verifies and trains on.
  expect_contains(checkpoints_of(config).at(0), "step-00000004");
  CHECK(train(config).size() == 12);
}

TEST_CASE("Bad steps in a row are counted over a stop and a resume") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32", {"train.max_bad_steps=4", "validation.every=0"});
  {
    TinyTrainer tiny(config, early_or_late());
    const Tensor head = parameter(tiny.trainer, "lm_head.weight").variable.data;
    for (std::int64_t i = 0; i < head.numel(); ++i) head.data<float>()[i] = i % 2 == 0 ? huge : -huge;
    CHECK_FALSE(tiny.trainer.run([&] { return tiny.trainer.step() == 2; }));
  }
  expect_contains(error_text([&] { train(config); }), "4 steps in a row without, up to step 4: first in logits");
}

TEST_CASE("A loss that is infinite while its gradient is not changes nothing") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32", {"train.max_bad_steps=1", "validation.every=0"});
  TinyTrainer tiny(config, early_or_late());
  // Logits of plus and minus 3e38: each is finite, the difference of two is not.
  set_column(tiny.trainer, "model.embed_tokens.weight", 1.0F);
  set_column(tiny.trainer, "lm_head.weight", 0.5F * huge, 0, 2);
  set_column(tiny.trainer, "lm_head.weight", -0.5F * huge, 1, 2);
  const std::string before = values_of_model(tiny.trainer);
  expect_contains(error_text([&] { tiny.trainer.run(); }), "first in loss (forward) of sample ");
  CHECK((values_of_model(tiny.trainer) == before));
  CHECK(rows_of(config).at(0)["loss"].is_null());
  CHECK(rows_of(config).at(0)["grad_norm"].is_number());
}

TEST_CASE("A gradient whose squares leave fp32 changes nothing") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32",
                                  {"train.max_bad_steps=1", "optimizer.grad_clip=0.0", "validation.every=0"});
  TinyTrainer tiny(config, early_or_late());
  GradientSlot* slot = parameter(tiny.trainer, "lm_head.weight").variable.slot.get();
  slot->on_complete = [slot] { slot->gradient.data<float>()[0] = 1.0e30F; };
  const std::string before = values_of_model(tiny.trainer);
  expect_contains(error_text([&] { tiny.trainer.run(); }), "first in grad_norm");
  CHECK((values_of_model(tiny.trainer) == before));
}

TEST_CASE("Spikes are logged, and with skip their steps change nothing") {
  const std::string action = GENERATE("log", "skip");
  const TemporaryDirectory directory;
  prepare(directory);
  const auto named = [&](const std::string& name, const std::string& window) {
    return config_of(directory, "uoe", "fp32",
                     {"run.name=" + name, "train.spike_window=" + window, "train.spike_z_score=1.0",
                      "train.spike_action=" + action, "train.steps=30", "validation.every=0", "checkpoint.every=0"});
  };
  const Config config = named("r", "6");
  std::map<std::int64_t, std::string> values;
  {
    TinyTrainer tiny(config, early_or_late());
    tiny.trainer.run([&] {
      values[tiny.trainer.step()] = values_of_model(tiny.trainer);
      return false;
    });
    values[30] = values_of_model(tiny.trainer);
  }
  const std::vector<Json> spikes = events_of(config, "spike");
  REQUIRE(spikes.size() >= 2);
  std::set<std::int64_t> steps;
  for (const Json& spike : spikes) {
    steps.insert(spike["step"].get<std::int64_t>());
    CHECK(spike["applied"] == (action == "log"));
    CHECK(spike["z_score"].get<double>() > 1.0);
    CHECK((spike["quantity"] == "loss" || spike["quantity"] == "grad_norm"));
  }
  for (std::int64_t step = 1; step <= 30; ++step) {
    INFO("step " << step);
    CHECK((values[step] == values[step - 1]) == (action == "skip" && steps.count(step) > 0));
  }
  if (action == "skip") return;
  // Only looking changes nothing: the run without a detector has the same rows.
  const Config without = named("off", "0");
  CHECK(train(without) == training_rows(config));
  CHECK(events_of(without, "spike").empty());
}

TEST_CASE("A resumed run skips the steps that an uninterrupted one skips, with the same bits") {
  const TemporaryDirectory directory;
  prepare(directory);
  const auto named = [&](const std::string& name) {
    return config_of(directory, "softmax", "bf16",
                     {"run.name=" + name, "train.spike_window=6", "train.spike_z_score=1.0", "train.steps=30",
                      "train.spike_action=skip", "validation.every=0"});
  };
  const auto expected = train(named("whole"));
  train(named("parts"), 11);
  CHECK(train(named("parts")) == expected);
  CHECK(checkpoint_tensors(named("parts")) == checkpoint_tensors(named("whole")));
  const auto spikes_of = [&](const std::string& name) {
    std::vector<Json> rows = events_of(named(name), "spike");
    for (Json& row : rows) row.erase("attempt");
    return rows;
  };
  CHECK(spikes_of("parts") == spikes_of("whole"));
  CHECK(spikes_of("whole").back()["step"].get<std::int64_t>() > 12);
}

// Training on several ranks against training on one: the same global batch, the same numbers to a stated tolerance.

#include <cmath>
#include <map>
#include <mutex>

#include "checkpoint/parameters.h"
#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"
#include "train/trainer.h"

using namespace artel;

namespace {

struct Layout {
  int world = 1;
  int expert = 1;
  int zero_stage = 1;
  int accumulation = 1;
  std::string recompute = "none";
  std::string precision = "fp32";
};

std::string text_of(const Layout& layout) {
  return "world " + std::to_string(layout.world) + ", expert " + std::to_string(layout.expert) + ", zero " +
         std::to_string(layout.zero_stage) + ", accumulation " + std::to_string(layout.accumulation) + ", recompute " +
         layout.recompute + ", " + layout.precision;
}

struct Balance {
  std::string scope = "sequence";
  double coefficient = 0.01;
};

constexpr int global_batch_size = 8;

Config config_of(const TemporaryDirectory& directory, const std::string& routing, const Layout& layout,
                 const Balance& balance, int steps) {
  std::vector<std::string> overrides = {
      "model.num_experts=8",
      "model.router_aux_loss_scope=" + balance.scope,
      "model.router_aux_loss_coef=" + std::to_string(balance.coefficient),
      "train.steps=" + std::to_string(steps),
      "train.global_batch_size=" + std::to_string(global_batch_size),
      "train.micro_batch_size=" + std::to_string(global_batch_size / layout.world / layout.accumulation),
      "train.threads=1",
      "train.recompute=" + layout.recompute,
      "parallel.expert=" + std::to_string(layout.expert),
      "parallel.zero_stage=" + std::to_string(layout.zero_stage),
      "checkpoint.every=0",
      "validation.every=0",
      "run.tensorboard=false",
  };
  return config_of(directory, routing, layout.precision, overrides);
}

struct Result {
  std::map<std::int64_t, double> losses;                 ///< by step
  std::map<std::string, std::vector<double>> gradients;  ///< of the last step, by stored name
};

// Puts pieces of fp32 tensors, which are rectangles of rows, into whole tensors.
void add_pieces(const std::vector<TensorPiece>& pieces, std::map<std::string, std::vector<double>>& tensors) {
  for (const TensorPiece& piece : pieces) {
    std::vector<double>& tensor = tensors[piece.name];
    tensor.resize(static_cast<std::size_t>(piece.shape.numel()), std::nan(""));
    const bool matrix = piece.shape.rank() == 2;
    const int last = matrix ? 1 : 0;
    const std::int64_t columns = matrix ? piece.shape[1] : piece.shape[0];
    const auto* value = reinterpret_cast<const float*>(piece.bytes.data());
    for (std::int64_t row = matrix ? piece.begin[0] : 0; row < (matrix ? piece.end[0] : 1); ++row) {
      for (std::int64_t column = piece.begin[last]; column < piece.end[last]; ++column) {
        tensor[static_cast<std::size_t>(row * columns + column)] = *value++;
      }
    }
  }
}

Result train(const std::string& routing, const Layout& layout, const Balance& balance, int steps) {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, routing, layout, balance, steps);
  Result result;
  std::mutex mutex;
  run_thread_ranks(layout.world, {}, [&](Communicator& world) {
    PosixFileLayer files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, world);
    Trainer trainer(config, runtime, files, log, {});
    trainer.run();
    const ParameterStore& store = trainer.model().parameters();
    std::vector<TensorPiece> pieces;
    append_pieces(runtime.context(), store, store.gradients(), ArenaRanges::whole(store.num_elements()),
                  trainer.own_pieces(), "", pieces);
    const std::lock_guard lock(mutex);
    add_pieces(pieces, result.gradients);
  });
  result.losses = losses_of(config);
  return result;
}

void expect_equal_losses(const Result& actual, const Result& expected, double tolerance) {
  REQUIRE(actual.losses.size() == expected.losses.size());
  for (const auto& [step, loss] : expected.losses) {
    INFO("step " << step);
    CHECK(std::abs(actual.losses.at(step) - loss) <= tolerance * loss);
  }
}

// Distance of every gradient from the expected one, in parts of its length.
void expect_equal_gradients(const Result& actual, const Result& expected, double tolerance) {
  REQUIRE(actual.gradients.size() == expected.gradients.size());
  for (const auto& [name, values] : expected.gradients) {
    const std::vector<double>& found = actual.gradients.at(name);
    REQUIRE(found.size() == values.size());
    double distance = 0.0;
    double length = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      distance += (found[i] - values[i]) * (found[i] - values[i]);
      length += values[i] * values[i];
    }
    INFO(name << ": " << std::sqrt(distance) << " of " << std::sqrt(length));
    CHECK(std::sqrt(distance) <= tolerance * std::sqrt(length) + 1.0e-12);
  }
}

std::vector<Layout> all_layouts() {
  std::vector<Layout> layouts;
  for (const int world : {1, 2, 4}) {
    for (const int expert : {1, 2, 4}) {
      if (expert > world) continue;
      for (const int zero_stage : {0, 1}) {
        for (const int accumulation : {1, 2}) layouts.push_back({world, expert, zero_stage, accumulation});
      }
    }
  }
  return layouts;
}

void expect_invariance(const std::string& routing, const std::vector<Layout>& layouts, const Balance& balance,
                       int steps) {
  const Result first = train(routing, {}, balance, 1);
  const Result all = train(routing, {}, balance, steps);
  for (const Layout& layout : layouts) {
    INFO(routing << ", " << text_of(layout) << ", " << balance.scope << " " << balance.coefficient);
    expect_equal_gradients(train(routing, layout, balance, 1), first, 1.0e-6);
    expect_equal_losses(train(routing, layout, balance, steps), all, 1.0e-5);
  }
}

}  // namespace

TEST_CASE("A global batch gives the same losses and gradients on any layout of ranks") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  expect_invariance(routing, {{2, 1, 1, 1}, {2, 2, 0, 2}, {4, 2, 1, 1}, {4, 4, 1, 2}}, {}, 10);
}

TEST_CASE("Layouts drawn by the seed of the tests, over 50 steps") {
  const std::vector<Layout> layouts = all_layouts();
  const std::vector<std::string> routings = {"softmax", "uoe", "aoe"};
  const int draw = GENERATE(take(4, random(0, (1 << 24) - 1)));
  const auto number = static_cast<std::size_t>(draw);
  const Layout& layout = layouts[number % layouts.size()];
  const double coefficient = (number / 64) % 2 == 0 ? 0.0 : 0.01;
  expect_invariance(routings[(number / 256) % 3], {layout}, {"sequence", coefficient}, 50);
}

TEST_CASE("Every layout, with and without a balance loss, over 50 steps", "[slow][full]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const auto coefficient = GENERATE(0.0, 0.01);
  expect_invariance(routing, all_layouts(), {"sequence", coefficient}, 50);
}

TEST_CASE("A balance loss over micro-batches needs equal sets, one over all ranks a single pass") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe");
  const Result two_sets = train(routing, {1, 1, 1, 2}, {"micro", 1.0}, 10);
  expect_equal_losses(train(routing, {2, 1, 1, 1}, {"micro", 1.0}, 10), two_sets, 1.0e-5);
  expect_equal_losses(train(routing, {2, 2, 1, 1}, {"micro", 1.0}, 10), two_sets, 1.0e-5);
  const Result one_set = train(routing, {1, 1, 1, 1}, {"micro", 1.0}, 10);
  CHECK(std::abs(one_set.losses.at(10) - two_sets.losses.at(10)) > 1.0e-5 * one_set.losses.at(10));

  const Result global = train(routing, {1, 1, 1, 1}, {"global", 1.0}, 10);
  CHECK(global.losses == one_set.losses);
  expect_equal_losses(train(routing, {4, 2, 1, 1}, {"global", 1.0}, 10), global, 1.0e-5);
}

TEST_CASE("ZeRO stages 0 and 1 have the same bits") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const auto precision = GENERATE(as<std::string>{}, "fp32", "bf16");
  const Result replicated = train(routing, {4, 2, 0, 1, "none", precision}, {}, 6);
  const Result sharded = train(routing, {4, 2, 1, 1, "none", precision}, {}, 6);
  CHECK(replicated.losses == sharded.losses);
  CHECK(replicated.gradients == sharded.gradients);
}

TEST_CASE("Recomputed blocks on several ranks have the bits of kept ones") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const Result kept = train(routing, {2, 2, 1, 2, "none"}, {"global", 0.01}, 4);
  const Result recomputed = train(routing, {2, 2, 1, 2, "block"}, {"global", 0.01}, 4);
  CHECK(kept.losses == recomputed.losses);
  CHECK(kept.gradients == recomputed.gradients);
}

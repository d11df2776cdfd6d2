// Training and evaluation within documents (data.document_mask).

#include <cmath>
#include <mutex>

#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/test_device.h"
#include "support/token_files.h"
#include "train/evaluation.h"
#include "train/tiny_run.h"
#include "train/train_step.h"
#include "util/text.h"

using namespace artel;

namespace {

const std::vector<std::string> masked = {"data.document_mask=true", "data.end_of_document=98"};  // 'b'

std::vector<std::string> with(std::vector<std::string> overrides, const std::vector<std::string>& more) {
  overrides.insert(overrides.end(), more.begin(), more.end());
  return overrides;
}

// A step's batch of 4 in micro-batches of `micro_batch_size` on every one of `world` ranks.
std::map<std::int64_t, double> losses_on(int world, int expert, int micro_batch_size,
                                         const std::vector<std::string>& overrides, bool by_bounds = false) {
  const TemporaryDirectory directory;
  prepare(directory);
  if (by_bounds) {
    const auto sizes = {std::pair("train", 4000), std::pair("val", 400)};
    for (const auto& [name, size] : sizes) {
      std::vector<std::int64_t> lengths, bounds = {0};
      for (std::int64_t at = 0; at < size; at += lengths.back()) {
        lengths.push_back(std::min<std::int64_t>(size - at, 1 + at % 13));
        bounds.push_back(static_cast<std::int64_t>(lengths.size()));
      }
      std::ofstream(directory.file(std::string(name) + ".idx"), std::ios::binary)
          << megatron_index(1, 1, lengths, bounds);
    }
  }
  const Config config =
      config_of(directory, "uoe", "fp32",
                with(overrides, {"train.threads=1", "model.router_aux_loss_scope=sequence",
                                 "train.micro_batch_size=" + std::to_string(micro_batch_size),
                                 "parallel.expert=" + std::to_string(expert), "run.tensorboard=false"}));
  run_thread_ranks(world, {}, [&](Communicator& ranks) {
    PosixFileLayer files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, ranks);
    Trainer(config, runtime, files, log, {}).run();
  });
  std::map<std::int64_t, double> losses = losses_of(config);
  for (const Json& row : rows_of(config)) {
    if (row.contains("val_loss")) losses[-1 - row["step"].get<std::int64_t>()] = row["val_loss"].get<double>();
  }
  return losses;
}

void check_equal(const std::map<std::int64_t, double>& found, const std::map<std::int64_t, double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (const auto& [step, loss] : expected) {
    INFO("step " << step << " (below 0: validation)");
    CHECK(std::abs(found.at(step) - loss) <= 1.0e-5 * loss);
  }
}

}  // namespace

TEST_CASE("Within documents losses are those of one rank and one pass, whatever the ranks and micro-batches") {
  for (const bool by_bounds : {false, true}) {
    INFO((by_bounds ? "documents by an index" : "documents by an id"));
    const auto expected = losses_on(1, 1, 4, masked, by_bounds);
    REQUIRE(expected.size() == 12 + 4);
    const auto unmasked = losses_on(1, 1, 4, {}, by_bounds);
    CHECK(std::abs(unmasked.at(1) - expected.at(1)) > 1.0e-4);
    CHECK(std::abs(unmasked.at(-1) - expected.at(-1)) > 1.0e-4);  // before the first step: evaluation alone
    check_equal(losses_on(1, 1, 1, masked, by_bounds), expected);
    check_equal(losses_on(2, 1, 2, masked, by_bounds), expected);
    check_equal(losses_on(2, 2, 1, masked, by_bounds), expected);
  }
}

TEST_CASE("Evaluation within documents has the loss of training") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32", masked);
  TestDevice device(2);
  Context context = device.context();
  const auto world = make_self_communicator();
  Transformer model(config.model, *world);
  model.allocate(context, DType::f32);
  model.initialise(context, 3);
  Batch batch;
  ValidationReader(data_source(config.data.validation[0]), data_options(config)).read(0, 4, batch);
  REQUIRE(!batch.document_starts.empty());
  const double evaluated = batch_loss(context, model, batch, nullptr);
  StepOptions options;
  options.tokens_per_step = 64;
  double trained = 0.0;
  context.backend.download(micro_batch_loss(context, model, batch, 0, 4, options).data, &trained);
  CHECK(evaluated == Approx(trained).epsilon(1e-6));
  batch.document_starts.clear();
  CHECK(std::abs(batch_loss(context, model, batch, nullptr) - evaluated) > 1e-3);
}

TEST_CASE(
    "Whichever ranks cannot read a validation file, the last step is saved and the run goes on when it is mended") {
  // 8 windows of 17 ids are read by two ranks, two at a time: behind byte 34 the second rank's begin.
  for (const int bytes_left : {10, 40}) {
    INFO(bytes_left << " bytes left");
    const TemporaryDirectory whole, parts;
    prepare(whole);
    prepare(parts);
    const auto config_in = [&](const TemporaryDirectory& directory) {
      return config_of(directory, "softmax", "fp32", {"train.threads=1", "parallel.expert=2", "run.tensorboard=false"});
    };
    const auto train_ranks = [](const Config& config, const std::function<void(std::int64_t)>& before_step) {
      std::vector<std::string> texts;
      std::mutex mutex;
      run_thread_ranks(2, {}, [&](Communicator& world) {
        PosixFileLayer files;
        Log log("", Screen::none);
        Runtime runtime(config.train, log, world);
        Trainer trainer(config, runtime, files, log, {});
        const std::string text = error_text([&] {
          trainer.run([&] {
            if (world.rank() == 0) before_step(trainer.step());
            return false;
          });
        });
        const std::lock_guard lock(mutex);
        texts.push_back(text);
      });
      return texts;
    };
    train_ranks(config_in(whole), [](std::int64_t) {});
    const Config config = config_in(parts);
    const std::string path = parts.file("val.bin");
    const std::string bytes = read_file(path);
    const auto texts = train_ranks(config, [&](std::int64_t step) {
      if (step == 5) std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes_left));
    });
    for (const std::string& text : texts) {
      INFO(text);
      CHECK(contains(text, path));
      CHECK_FALSE(contains(text, "\n"));
    }
    PosixFileLayer files;
    CHECK(files.read(run_file(config, "checkpoints/latest")) == "step-00000008\n");
    write_file_atomic(files, path, bytes);
    train_ranks(config, [](std::int64_t) {});
    CHECK(losses_of(config) == losses_of(config_in(whole)));
    CHECK(losses_of(config).size() == 12);
  }
}

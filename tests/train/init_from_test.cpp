#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/tensors.h"
#include "train/tiny_run.h"

using namespace artel;

namespace {

double validation_loss(const Config& config, std::int64_t step) {
  for (const Json& row : rows_of(config)) {
    if (row.contains("val_loss") && row["step"] == step) return row["val_loss"].get<double>();
  }
  FAIL("no validation at step " << step);
  return 0.0;
}

}  // namespace

TEST_CASE("A new run begins with the weights of another one, at step 0 and with data of its own") {
  const auto precision = GENERATE(as<std::string>{}, "fp32", "bf16");
  INFO(precision);
  const TemporaryDirectory directory;
  prepare(directory);
  const Config first = config_of(directory, "uoe", precision, {"train.steps=8"});
  train(first);
  const std::vector<std::string> other = {"run.name=second",     "train.init_from=" + directory.file("r"),
                                          "run.seed=77",         "train.steps=8",
                                          "optimizer.lr=1.0e-4", "model.router_aux_loss_coef=0.5"};
  const Config second = config_of(directory, "uoe", precision, other);
  const auto whole = train(second);
  CHECK(validation_loss(second, 0) == validation_loss(first, 8));
  CHECK(whole.begin()->first == 1);
  CHECK(events_of(second, "resumed").empty());

  // Once it has checkpoints of its own it goes on from these.
  const TemporaryDirectory again;
  Config third = second;
  third.run.directory = again.path();
  train(third, 4);
  CHECK(train(third) == whole);

  // From a bf16 run come the masters.
  if (precision == "bf16") {
    std::vector<std::string> in_fp32 = other;
    in_fp32[0] = "run.name=fp32";
    TinyTrainer tiny(config_of(directory, "uoe", "fp32", in_fp32));
    TinyTrainer half(config_of(directory, "uoe", "bf16", {"run.name=half", other[1]}));
    CHECK(values_of(tiny.trainer.model().parameters().values()) ==
          values_of(half.trainer.model().parameters().masters()));
  }
}

TEST_CASE("A new run refuses weights of another kind of model, and weights alone do not resume") {
  const TemporaryDirectory directory;
  prepare(directory);
  train(config_of(directory, "uoe", "fp32", {"train.steps=4"}));
  const auto refusal = [&](const std::vector<std::string>& overrides, const std::string& routing = "uoe") {
    std::vector<std::string> all = overrides;
    all.insert(all.end(), {"run.name=x", "train.init_from=" + directory.file("r")});
    return error_text([&] { TinyTrainer(config_of(directory, routing, "fp32", all)); });
  };
  expect_contains(refusal({"model.routing.uoe.routing_norm=l1"}), "model.routing.uoe.routing_norm (was l2, now l1)");
  expect_contains(refusal({}, "softmax"), "model.routing.type (was uoe, now softmax)");
  expect_contains(
      error_text([&] {
        TinyTrainer(config_of(directory, "uoe", "fp32", {"run.name=y", "train.init_from=" + directory.file("none")}));
      }),
      "none");

  PosixFileLayer files;
  const std::string path = directory.file("r/checkpoints/step-00000004");
  const Checkpoint trained(files, path);
  Snapshot weights;
  weights.config = trained.manifest()["config"];
  for (const auto& [name, info] : trained.tensors()) {
    if (name.rfind("optimizer.", 0) == 0) continue;
    TensorPiece piece{name, info.shape, info.dtype, {}, info.shape, {}};
    for (int i = 0; i < info.shape.rank(); ++i) piece.begin.push_back(0);
    piece.bytes.resize(static_cast<std::size_t>(info.shape.numel()) * dtype_size(info.dtype));
    trained.read(name, piece.begin, piece.end, piece.bytes.data());
    weights.pieces.push_back(std::move(piece));
  }
  TrainOptions options;
  options.resume = save_checkpoint(files, directory.file("w/checkpoints"), weights, 0);
  expect_contains(error_text([&] { train(config_of(directory, "uoe", "fp32", {"run.name=z"}), 12, options); }),
                  "start a new run with train.init_from");
}

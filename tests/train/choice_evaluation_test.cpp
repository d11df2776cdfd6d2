#include "train/choice_evaluation.h"

#include <cmath>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/test_device.h"
#include "support/token_files.h"
#include "train/tiny_run.h"

using namespace artel;

namespace {

struct Loaded {
  explicit Loaded(const Config& config)
      : context(device.context()), world(make_self_communicator()), model(config.model, *world) {
    model.allocate(context, DType::f32);
    model.initialise(context, 3);
  }
  TestDevice device{2};
  Context context;
  std::unique_ptr<Communicator> world;
  Transformer model;
};

// The sum of the log-probabilities of `completion` behind `prompt`, from the logits of the whole.
double log_probability(Loaded& loaded, std::vector<std::int32_t> prompt, const std::vector<std::int32_t>& completion) {
  double sum = 0.0;
  for (const std::int32_t id : completion) {
    const Tensor logits = loaded.model.next_logits(loaded.context, upload_ids(loaded.context, prompt));
    std::vector<float> values(static_cast<std::size_t>(logits.numel()));
    loaded.context.backend.download(logits, values.data());
    double normaliser = 0.0;
    for (const float value : values) normaliser += std::exp(static_cast<double>(value));
    sum += static_cast<double>(values[static_cast<std::size_t>(id)]) - std::log(normaliser);
    prompt.push_back(id);
  }
  return sum;
}

ChoiceTask make_task() {
  ChoiceTask task{"t", "t.jsonl", {}};
  for (std::int32_t i = 0; i < 9; ++i) {
    ChoiceExample example;
    for (std::int32_t j = 0; j <= i; ++j) example.context.push_back(30 + 7 * j + i);
    example.completions = {{10 + i}, {20 + i, 21, 22 + 3 * i}, {40 - i, 50}};
    example.completion_bytes = {5, 2, 9};
    task.examples.push_back(example);
  }
  return task;
}

}  // namespace

TEST_CASE("A task's accuracies are those of log-probabilities by hand, for any size of pass") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32");
  Loaded loaded(config);
  ChoiceTask task = make_task();
  std::size_t right[3] = {};
  for (std::size_t e = 0; e < task.examples.size(); ++e) {
    ChoiceExample& example = task.examples[e];
    example.label = static_cast<std::int64_t>(e % 3);
    std::size_t best[3] = {};
    double most[3] = {-INFINITY, -INFINITY, -INFINITY};
    for (std::size_t c = 0; c < 3; ++c) {
      const double sum = log_probability(loaded, example.context, example.completions[c]);
      const double values[3] = {sum, sum / static_cast<double>(example.completions[c].size()),
                                sum / static_cast<double>(example.completion_bytes[c])};
      for (std::size_t m = 0; m < 3; ++m) {
        if (values[m] > most[m]) {
          most[m] = values[m];
          best[m] = c;
        }
      }
    }
    for (std::size_t m = 0; m < 3; ++m) right[m] += best[m] == e % 3;
  }
  for (const std::int64_t size : {1, 2, 5, 100}) {
    EvaluationOptions options;
    options.micro_batch_size = size;
    const ChoiceScores scores = evaluate_choices(loaded.context, loaded.model, task, options);
    CHECK(scores.num_examples == 9);
    CHECK(scores.accuracy == static_cast<double>(right[0]) / 9.0);
    CHECK(scores.accuracy_per_token == static_cast<double>(right[1]) / 9.0);
    REQUIRE(scores.accuracy_per_byte);
    CHECK(*scores.accuracy_per_byte == static_cast<double>(right[2]) / 9.0);
  }
  task.examples[4].completion_bytes.clear();
  EvaluationOptions options;
  CHECK_FALSE(evaluate_choices(loaded.context, loaded.model, task, options).accuracy_per_byte);
  task.examples[2].completions[1].resize(17, 1);
  CHECK(contains(error_text([&] { evaluate_choices(loaded.context, loaded.model, task, options); }),
                 "t.jsonl: example 2 required completions of at most max_position_embeddings 16 tokens, found 17"));
}

TEST_CASE("Of a context too long for the model the end is kept") {
  const TemporaryDirectory directory;
  prepare(directory);
  Loaded loaded(config_of(directory, "softmax", "fp32"));
  ChoiceTask task = make_task();
  task.examples.resize(1);
  ChoiceTask cut = task;
  task.examples[0].context.clear();
  for (std::int32_t i = 0; i < 40; ++i) task.examples[0].context.push_back(60 + i);
  EvaluationOptions options;
  evaluate_choices(loaded.context, loaded.model, task, options);
  for (ChoiceExample* example : {&task.examples[0], &cut.examples[0]}) {
    example->completions = {{1, 2}, {3, 4}};  // 15 ids of the context fit before
    example->completion_bytes.clear();
  }
  cut.examples[0].context.assign(task.examples[0].context.end() - 15, task.examples[0].context.end());
  const auto both = [&](const ChoiceTask& t, std::int64_t label) {
    ChoiceTask copy = t;
    copy.examples[0].label = label;
    return evaluate_choices(loaded.context, loaded.model, copy, options).accuracy;
  };
  for (const std::int64_t label : {0, 1}) CHECK(both(task, label) == both(cut, label));
}

TEST_CASE("Validation rows hold tasks, and bits per byte of every set") {
  const TemporaryDirectory directory;
  prepare(directory);
  std::ofstream(directory.file("quiz.jsonl"))
      << "{\"context\": \"ab\", \"completions\": [\"c\", \"de\"], \"label\": 1}\n"
         "{\"context\": \"b\", \"completions\": [\"xyz\", \"a\"], \"label\": 0}\n";
  const Config config = config_of(directory, "uoe", "fp32",
                                  {"validation.tasks=[{path: " + directory.file("quiz.jsonl") + "}]", "train.steps=2"});
  CHECK(config.validation.tasks[0].name == "quiz");
  train(config);
  int num_rows = 0;
  for (const Json& row : rows_of(config)) {
    if (!row.contains("val_loss")) continue;
    ++num_rows;
    CHECK(row["tasks"]["quiz"]["examples"] == 2);
    CHECK(row["tasks"]["quiz"].contains("accuracy_per_byte"));
    CHECK(row["bits_per_byte"]["val"].get<double>() == Approx(row["val_loss"].get<double>() / std::log(2.0)));
  }
  CHECK(num_rows == 2);
}

#include "train/choice_evaluation.h"

#include <cmath>

#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/test_device.h"
#include "support/tiktoken_file.h"
#include "support/token_files.h"
#include "tokenizer/bpe_trainer.h"
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

TEST_CASE("Log-probabilities are those by hand, behind the end of a context that is too long, on any number of ranks") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "softmax", "fp32");
  Loaded loaded(config);
  ChoiceTask task = make_task();
  for (std::int32_t i = 0; i < 40; ++i) task.examples[1].context.push_back(60 + i);
  std::vector<double> expected;
  for (const ChoiceExample& example : task.examples) {
    for (const auto& completion : example.completions) {
      const std::size_t room = 17 - completion.size();  // the last id of the completion is not an input
      std::vector<std::int32_t> context = example.context;
      if (context.size() > room) context.erase(context.begin(), context.end() - static_cast<std::ptrdiff_t>(room));
      expected.push_back(log_probability(loaded, context, completion));
    }
  }
  const auto check = [&](const std::vector<double>& found) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-6));
  };
  EvaluationOptions options;
  options.micro_batch_size = 4;
  check(choice_log_probabilities(loaded.context, loaded.model, task, options));
  for (const int num_ranks : {2, 3}) {
    run_thread_ranks(num_ranks, {}, [&](Communicator& world) {
      Loaded own(config);
      EvaluationOptions shared = options;
      shared.world = &world;
      const std::vector<double> found = choice_log_probabilities(own.context, own.model, task, shared);
      if (world.rank() == 0) check(found);
    });
  }
}

TEST_CASE("Behind the id that ends a document a question sees nothing of what stands before") {
  const TemporaryDirectory directory;
  prepare(directory);
  Loaded loaded(config_of(directory, "uoe", "fp32"));
  constexpr std::int32_t end = 99;
  ChoiceTask task = make_task();
  ChoiceTask cut = task;
  for (ChoiceExample& example : task.examples) example.context.insert(example.context.begin(), {7, 8, end});
  task.examples[0].completions[1][0] = end;  // so that the rest of it is a document of its own
  EvaluationOptions options;
  options.micro_batch_size = 5;
  const std::vector<double> whole = choice_log_probabilities(loaded.context, loaded.model, task, options);
  options.document_end = end;
  const std::vector<double> found = choice_log_probabilities(loaded.context, loaded.model, task, options);
  const std::vector<double> expected = choice_log_probabilities(loaded.context, loaded.model, cut, options);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i != 1) CHECK(found[i] == Approx(expected[i]).epsilon(1e-6));
    CHECK(std::abs(found[i] - whole[i]) > 1e-4);
  }
  const std::vector<std::int32_t>& ended = task.examples[0].completions[1];
  const double by_hand = log_probability(loaded, cut.examples[0].context, {end}) +
                         log_probability(loaded, {cut.examples[0].context[0], end}, {ended[1]}) +
                         log_probability(loaded, {ended[1]}, {ended[2]});
  REQUIRE(cut.examples[0].context.size() == 1);
  CHECK(found[1] == Approx(by_hand).epsilon(1e-6));
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

TEST_CASE("Bytes count for the ids that are predicted, none for the one that ends a document") {
  const TemporaryDirectory directory;
  prepare(directory);
  // A merge of two bytes, and the end of a document.
  BpeTrainingOptions training;
  training.vocab_size = 258;
  WordCounter counter(training);
  counter.add("abab abab abab");
  std::ofstream(directory.file("tokenizer.json")) << tokenizer_json_of(train_bpe(counter.counts(), training), training);
  const Config config = config_of(
      directory, "uoe", "fp32",
      {"model.vocab_size=258", "data.tokenizer=" + directory.file("tokenizer.json"), "data.validation.0.dtype=uint16",
       "data.train.0.dtype=uint16", "train.steps=1", "run.tensorboard=false"});
  const std::vector<std::int32_t> bytes = bytes_of_ids(config);
  REQUIRE(bytes.size() == 258);
  CHECK(bytes[0] == 0);
  CHECK(bytes[1] == 1);
  CHECK(bytes[257] == 2);

  std::vector<std::int64_t> ids;
  std::int64_t expected = 0;
  for (std::int64_t i = 0; i < 17 * 4; ++i) {
    ids.push_back(i % 17 == 0 ? 257 : i % 5 == 0 ? 0 : i % 3 == 0 ? 257 : 40 + i % 7);
    if (i % 17 != 0)
      expected += bytes[static_cast<std::size_t>(ids.back())];  // the first of a window is predicted by none
  }
  PosixFileLayer files;
  write_file_atomic(files, directory.file("val.bin"), little_endian(ids, 2));
  Loaded loaded(config);
  EvaluationOptions options;
  options.bytes_of_id = &bytes;
  const ValidationReader reader(data_source(config.data.validation[0]), data_options(config));
  const Evaluation evaluation = evaluate(loaded.context, loaded.model, reader, options);
  CHECK(evaluation.tokens == 64);
  CHECK(evaluation.bytes == expected);
  CHECK(bits_per_byte(evaluation).value() ==
        Approx(evaluation.loss * 64.0 / static_cast<double>(expected) / std::log(2.0)));
  Evaluation found;  // by rank 0
  run_thread_ranks(3, {}, [&](Communicator& world) {
    Loaded own(config);
    EvaluationOptions shared = options;
    shared.world = &world;
    Evaluation of_rank = evaluate(own.context, own.model, reader, shared);
    if (world.rank() == 0) found = std::move(of_rank);
  });
  CHECK(found.tokens == 64);
  CHECK(found.bytes == expected);
  CHECK(found.loss == Approx(evaluation.loss).epsilon(1e-6));
}

TEST_CASE("Special tokens and the ids that end documents count no bytes") {
  const TemporaryDirectory directory;
  prepare(directory);
  BpeTrainingOptions training;
  training.vocab_size = 259;
  training.special_tokens = {"<|endoftext|>", "<|user|>"};
  WordCounter counter(training);
  counter.add("abab abab abab");
  Json tokenizer = parse_json(tokenizer_json_of(train_bpe(counter.counts(), training), training), "tokenizer.json");
  tokenizer["added_tokens"].push_back({{"id", 259}, {"content", "<tool>"}, {"special", false}});
  std::ofstream(directory.file("tokenizer.json")) << dump_json(tokenizer);
  const auto bytes_with = [&](const std::string& end) {
    return bytes_of_ids(config_of(
        directory, "uoe", "fp32",
        {"model.vocab_size=260", "data.tokenizer=" + directory.file("tokenizer.json"), "data.end_of_document=" + end}));
  };
  const std::vector<std::int32_t> bytes = bytes_with("-1");
  REQUIRE(bytes.size() == 260);
  CHECK(bytes[0] == 0);
  CHECK(bytes[1] == 0);
  CHECK(bytes[2] == 1);
  CHECK(bytes[258] == 2);
  CHECK(bytes[259] == 6);  // a word that was added, and is text
  const std::vector<std::int32_t> ended = bytes_with("10");
  CHECK(bytes[10] == 1);
  CHECK(ended[10] == 0);
}

TEST_CASE("A run with a tokenizer that has gaps in its ids is validated, and its samples have tokens alone") {
  const TemporaryDirectory directory;
  prepare(directory);
  std::ofstream(directory.file("small_cl100k.tiktoken")) << tiktoken_with_gap();
  const Config config = config_of(directory, "uoe", "fp32",
                                  {"model.vocab_size=270", "data.tokenizer=" + directory.file("small_cl100k.tiktoken"),
                                   "data.validation.0.dtype=uint8", "data.train.0.dtype=uint8", "train.steps=4",
                                   "validation.sample_tokens=400", "validation.sample_prompt=ab"});
  const std::vector<std::int32_t> bytes = bytes_of_ids(config);
  REQUIRE(bytes.size() == 262);
  CHECK(std::vector<std::int32_t>(bytes.begin() + 255, bytes.end()) == std::vector<std::int32_t>{1, 0, 0, 0, 0, 2, 0});
  train(config);
  int num_samples = 0;
  for (const Json& row : rows_of(config)) {
    if (!row.contains("val_loss")) continue;
    CHECK(row["bits_per_byte"]["val"].get<double>() == Approx(row["val_loss"].get<double>() / std::log(2.0)));
    num_samples += row.contains("sample");
  }
  CHECK(num_samples == 1);  // after the last step; without training there is none
}

#include "report/run_reader.h"

#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

constexpr const char* kFirstRow =
    R"({"step":1,"tokens":10,"loss":5.0,"lr":0.1,"grad_norm":1,"aux_loss":0,"tokens_per_second":5,"seconds":2,"attempt":1,"moe":[]})"
    "\n";

Json minimal_summary() {
  return parse_json(R"({"name":"r","routing":"uoe","parameters":{"total":10,"active":5},"flops_per_token":{"total":60},
                        "seed":3,"config":{"train":{"steps":1}}})",
                    "summary");
}

std::string training_line(int step, int attempt, double loss) {
  return concat(R"({"step":)", step, R"(,"tokens":)", 10 * step, R"(,"loss":)", loss, R"(,"seconds":)", 2 * step,
                R"(,"attempt":)", attempt, "}\n");
}

std::string validation_line(int step, int attempt, double loss) {
  return concat(R"({"step":)", step, R"(,"tokens":)", 10 * step, R"(,"val_loss":)", loss, R"(,"attempt":)", attempt,
                "}\n");
}

std::string resumed_line(int step, int attempt, const std::string& changes = "[]") {
  return concat(R"({"step":)", step, R"(,"event":"resumed","from":"r/checkpoints/)", step, R"(","changes":)", changes,
                R"(,"attempt":)", attempt, "}\n");
}

constexpr const char* kOtherLr = R"([{"key":"optimizer.lr","before":"0.1","after":"0.2"}])";

// Rows of the steps from `first` to `last`, with a validation in each.
std::string steps_lines(int first, int last, int attempt) {
  std::string lines;
  for (int step = first; step <= last; ++step) {
    lines +=
        training_line(step, attempt, attempt + 0.01 * step) + validation_line(step, attempt, attempt + 0.01 * step);
  }
  return lines;
}

// Of each training row; the validation rows must have the same.
std::vector<int64_t> attempts_of(const Run& run) {
  std::vector<int64_t> attempts;
  std::vector<int64_t> of_validation;
  for (const TrainingRow& row : run.training) attempts.push_back(row.attempt);
  for (const ValidationRow& row : run.validation) of_validation.push_back(row.attempt);
  CHECK(of_validation == attempts);
  return attempts;
}

// Reads a run with `metrics` as its metrics.jsonl.
Run read_metrics_text(const std::string& metrics, const Json& summary = minimal_summary()) {
  const TemporaryDirectory directory;
  write_text(directory.file("run/summary.json"), dump_json(summary));
  write_text(directory.file("run/metrics.jsonl"), metrics);
  return read_run(directory.file("run"));
}

template <typename Action>
std::string error_text(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string error_of(const std::string& metrics, const Json& summary = minimal_summary()) {
  return error_text([&] { read_metrics_text(metrics, summary); });
}

std::string error_of_reading(const std::string& directory) {
  return error_text([&] { read_run(directory); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a written run is read back with every value") {
  const TemporaryDirectory directory;
  SyntheticSpec spec;
  spec.sets = {"bible", "code"};
  Run written = synthetic_run(spec);
  written.directory = directory.file("run");
  write_run(written);
  const Run run = read_run(written.directory);
  CHECK(run.name == "uoe");
  CHECK(run.routing == "uoe");
  CHECK(run.seed == 1);
  CHECK(run.total_parameters == 12345678);
  CHECK(run.active_parameters == 3456789);
  CHECK(run.flops_per_token == 6e6);
  CHECK(run.config == written.config);
  CHECK(run.events.size() == 1);
  CHECK(run.num_attempts == 1);
  CHECK(run.notes.empty());
  REQUIRE(run.training.size() == 60);
  REQUIRE(run.validation.size() == 6);
  CHECK(run.training[17].loss == written.training[17].loss);
  CHECK(run.training[17].seconds == written.training[17].seconds);
  REQUIRE(run.training[17].moe.size() == 2);
  CHECK(run.training[17].moe[1].max_violation == written.training[17].moe[1].max_violation);
  CHECK(run.training[17].moe[1].load == written.training[17].moe[1].load);
  CHECK(run.training[17].moe[1].choice_entropy == written.training[17].moe[1].choice_entropy);
  CHECK(run.training[17].moe[1].margin == written.training[17].moe[1].margin);
  CHECK(run.validation[5].sets == written.validation[5].sets);
  CHECK(run.validation[5].scores == written.validation[5].scores);
  CHECK(run.validation[4].expert_counts.empty());
  REQUIRE(run.validation[5].expert_counts.size() == 2);
  CHECK(run.validation[5].expert_counts[1].set == "code");
  CHECK(run.validation[5].expert_counts[1].counts == written.validation[5].expert_counts[1].counts);
  CHECK(run.validation[5].seconds == written.training[59].seconds);
  CHECK(run.last_step() == 60);
  CHECK(run.last_tokens() == 60 * 4096);
  CHECK(run.last_flops() == 60 * 4096 * 6e6);
}

TEST_CASE("of the rows of a step the last attempt's is kept, whatever the order in the file") {
  const Run run = read_metrics_text(training_line(1, 1, 5.0) + training_line(2, 1, 4.0) + training_line(3, 1, 3.0) +
                                    validation_line(3, 1, 9.0) + training_line(2, 2, 4.5) + training_line(3, 3, 3.25) +
                                    training_line(3, 2, 3.5) + validation_line(3, 3, 8.0));
  REQUIRE(run.training.size() == 3);
  CHECK(run.training[0].loss == 5.0);
  CHECK(run.training[1].loss == 4.5);
  CHECK(run.training[2].loss == 3.25);
  REQUIRE(run.validation.size() == 1);
  CHECK(run.validation[0].val_loss == 8.0);
  CHECK(run.num_attempts == 3);
}

TEST_CASE("what an attempt did beyond the checkpoint with which a later one went on is left out") {
  const std::string first = steps_lines(1, 10, 1);
  const Run back = read_metrics_text(first + resumed_line(4, 2, kOtherLr) + steps_lines(5, 6, 2));
  CHECK(attempts_of(back) == std::vector<int64_t>{1, 1, 1, 1, 2, 2});
  CHECK(back.last_step() == 6);
  CHECK(back.validation.back().val_loss == 2.06);
  CHECK(back.num_attempts == 2);
  CHECK(back.changes == std::vector<ResumedChange>{{4, "optimizer.lr", "0.1", "0.2"}});
  // Without a step of its own so far, and without the row that says where it began.
  CHECK(read_metrics_text(first + resumed_line(4, 2)).last_step() == 4);
  CHECK(attempts_of(read_metrics_text(first + steps_lines(5, 6, 2))) == std::vector<int64_t>{1, 1, 1, 1, 2, 2});
}

TEST_CASE("a run that goes on from an abandoned attempt's checkpoint has that attempt's rows, not those in between") {
  const std::string two = steps_lines(1, 10, 1) + resumed_line(4, 2, kOtherLr) + steps_lines(5, 6, 2);
  const Run forth = read_metrics_text(two + resumed_line(10, 3) + steps_lines(11, 12, 3));
  CHECK(attempts_of(forth) == std::vector<int64_t>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3});
  CHECK(forth.changes.empty());
  CHECK(forth.num_attempts == 3);
  const Run on = read_metrics_text(two + resumed_line(6, 3) + steps_lines(7, 7, 3));
  CHECK(attempts_of(on) == std::vector<int64_t>{1, 1, 1, 1, 2, 2, 3});
  CHECK(on.changes.size() == 1);
  const Run again = read_metrics_text(two + resumed_line(4, 3) + steps_lines(5, 5, 3));
  CHECK(attempts_of(again) == std::vector<int64_t>{1, 1, 1, 1, 3});
  CHECK(again.changes.empty());
  const Run anew = read_metrics_text(two + validation_line(0, 1, 9.0) +
                                     R"({"step":0,"event":"resumed","allowed_changes":[],"attempt":3})" + "\n" +
                                     steps_lines(0, 2, 3));
  CHECK(attempts_of(anew) == std::vector<int64_t>{3, 3, 3});
  CHECK(anew.changes.empty());
}

TEST_CASE("a run that begins with another run's checkpoint keeps the change that it began with") {
  const std::string fork = resumed_line(4, 1, kOtherLr);
  CHECK(read_metrics_text(fork + steps_lines(5, 6, 1)).changes.size() == 1);
  const std::string own = R"({"step":4,"event":"resumed","from":"fork/checkpoints/4","changes":[],"attempt":2})";
  CHECK(read_metrics_text(fork + own + "\n" + steps_lines(5, 6, 2)).changes.size() == 1);
  const Run twice =
      read_metrics_text(fork + steps_lines(5, 6, 1) + resumed_line(4, 2, kOtherLr) + steps_lines(5, 5, 2));
  CHECK(attempts_of(twice) == std::vector<int64_t>{2});
  CHECK(twice.changes.size() == 1);
}

TEST_CASE("a row without a finite loss takes the place of an older attempt's row of its step") {
  const Run run = read_metrics_text(steps_lines(1, 3, 1) + resumed_line(1, 2) + training_line(2, 2, 2.5) +
                                    "{\"step\":3,\"tokens\":30,\"loss\":null,\"seconds\":6,\"attempt\":2}\n"
                                    "{\"step\":3,\"tokens\":30,\"val_loss\":null,\"attempt\":2}\n");
  REQUIRE(run.training.size() == 2);
  CHECK(run.training[1].loss == 2.5);
  REQUIRE(run.validation.size() == 1);
  CHECK(run.validation[0].step == 1);
  REQUIRE(run.notes.size() == 1);
  CHECK(contains(run.notes[0], "2 rows"));
}

TEST_CASE("a validation row without time gets it from the training rows around it") {
  const Run run = read_metrics_text(training_line(2, 1, 5.0) + training_line(4, 1, 4.0) + validation_line(3, 1, 4.4) +
                                    validation_line(1, 1, 6.0) + validation_line(5, 1, 4.0));
  REQUIRE(run.validation.size() == 3);
  CHECK(run.validation[0].seconds == 2.0);
  CHECK(run.validation[1].seconds == 6.0);
  CHECK(run.validation[2].seconds == 8.0);
}

TEST_CASE("a last line cut short is left out with a note") {
  const Run run = read_metrics_text(training_line(1, 1, 5.0) + R"({"step":2,"tok)");
  CHECK(run.training.size() == 1);
  REQUIRE(run.notes.size() == 1);
  CHECK(contains(run.notes[0], "line 2"));
  const std::string whole = training_line(2, 1, 4.0);
  const Run complete = read_metrics_text(training_line(1, 1, 5.0) + whole.substr(0, whole.size() - 1));
  CHECK(complete.training.size() == 2);
  CHECK(complete.notes.empty());
}

TEST_CASE("malformed lines are errors that name file and line") {
  const std::string good = kFirstRow;
  for (const std::string bad : {
           "{\"step\":2,\"tok\n",
           "\n",
           "[1]\n",
           "{\"step\":2}\n",
           "{\"loss\":1}\n",
           "{\"step\":\"2\",\"tokens\":1,\"loss\":1,\"seconds\":1,\"attempt\":1}\n",
           "{\"step\":-2,\"tokens\":1,\"loss\":1,\"seconds\":1,\"attempt\":1}\n",
           "{\"step\":2,\"tokens\":1,\"loss\":NaN,\"seconds\":1,\"attempt\":1}\n",
           "{\"step\":2,\"tokens\":1,\"loss\":1,\"attempt\":1}\n",
           "{\"step\":2,\"tokens\":1,\"loss\":1,\"seconds\":1,\"attempt\":1,\"moe\":3}\n",
           "{\"step\":2,\"tokens\":1,\"loss\":1,\"seconds\":1,\"attempt\":1,\"moe\":[{\"layer\":0,\"load\":[-1]}]}\n",
           "{\"step\":2,\"tokens\":1,\"loss\":1,\"seconds\":1,\"attempt\":1,\"moe\":[{\"layer\":0,\"load\":[1e39]}]}\n",
           "{\"step\":2,\"tokens\":1,\"val_loss\":1,\"attempt\":1,\"sets\":[1]}\n",
           "{\"step\":2,\"event\":\"resumed\"}\n",
           "{\"event\":\"resumed\",\"attempt\":2}\n",
           "{\"step\":2,\"event\":\"resumed\",\"attempt\":2,\"changes\":3}\n",
           "{\"step\":2,\"event\":\"resumed\",\"attempt\":2,\"changes\":[{\"key\":\"a\"}]}\n",
           "{\"step\":2,\"tokens\":1,\"val_loss\":1,\"attempt\":1,\"expert_counts\":[1]}\n",
           "{\"step\":2,\"tokens\":1,\"val_loss\":1,\"attempt\":1,\"expert_counts\":{\"a\":[3]}}\n",
           "{\"step\":2,\"tokens\":1,\"val_loss\":1,\"attempt\":1,\"expert_counts\":{\"a\":[[-3]]}}\n",
       }) {
    CAPTURE(bad);
    CHECK(contains(error_of(good + bad + good), "metrics.jsonl:2]"));
  }
}

TEST_CASE("rows whose tokens do not rise with the steps are of no single run") {
  const std::string later = "{\"step\":2,\"tokens\":10,\"loss\":1,\"seconds\":1,\"attempt\":1}\n";
  CHECK(contains(error_of(kFirstRow + later),
                 "metrics.jsonl] required tokens that rise from step to step, found 10 at step 1 and 10 at step 2"));
  CHECK(contains(error_of(validation_line(3, 1, 2.0) + "{\"step\":4,\"tokens\":1,\"val_loss\":1,\"attempt\":1}\n"),
                 "found 30 at step 3 and 1 at step 4"));
}

TEST_CASE("a run without rows is an error that names the directory") {
  CHECK(contains(error_of(""), "/run] required a run with training or validation rows"));
  CHECK(contains(error_of("{\"event\":\"start\"}\n"), "/run] required a run with training or validation rows"));
}

TEST_CASE("rows with a loss that is not finite are left out with a note") {
  const Run run = read_metrics_text(training_line(1, 1, 5.0) +
                                    "{\"step\":2,\"tokens\":20,\"loss\":null,\"seconds\":4,\"attempt\":1}\n");
  CHECK(run.training.size() == 1);
  REQUIRE(run.notes.size() == 1);
  CHECK(contains(run.notes[0], "1 row"));
}

TEST_CASE("a missing directory, file or summary field is named") {
  const TemporaryDirectory directory;
  CHECK(contains(error_of_reading(directory.file("none")), "none] required a run directory"));
  write_text(directory.file("run/metrics.jsonl"), kFirstRow);
  CHECK(contains(error_of_reading(directory.file("run")), "summary.json] required"));
  for (const char* key : {"name", "seed", "parameters", "flops_per_token", "config"}) {
    Json summary = minimal_summary();
    summary.erase(key);
    CHECK(contains(error_of(kFirstRow, summary), concat("summary.json] required member \"", key, "\"")));
  }
  write_text(directory.file("empty/summary.json"), dump_json(minimal_summary()));
  CHECK(contains(error_of_reading(directory.file("empty")), "metrics.jsonl] required"));
}

TEST_CASE("a directory without a summary can be summarised from its config") {
  const TemporaryDirectory directory;
  write_text(directory.file("run/metrics.jsonl"), kFirstRow);
  write_text(directory.file("run/config.yaml"), "run: {name: r}\n");
  std::string asked;
  const Run run = read_run(directory.file("run"), [&](const std::string& path) {
    asked = path;
    return minimal_summary();
  });
  CHECK(asked == directory.file("run/config.yaml"));
  CHECK(run.seed == 3);
  CHECK(run.notes.size() == 1);
}

TEST_CASE("loads of a long run are kept for a bounded number of rows, spread evenly") {
  const int every = GENERATE(1, 10);  // the trainer writes them at step 1 and then at each tenth
  std::string metrics;
  constexpr int num_rows = 12000;
  for (int step = 1; step <= num_rows; ++step) {
    metrics += concat(R"({"step":)", step, R"(,"tokens":)", step, R"(,"loss":1,"seconds":1,"attempt":1,)",
                      R"("moe":[{"layer":0,"max_violation":0.5)",
                      step == 1 || step % every == 0 ? R"(,"load":[1,2])" : "", "}]}\n");
  }
  const Run run = read_metrics_text(metrics);
  REQUIRE(run.training.size() == num_rows);
  std::vector<int64_t> steps;
  for (const TrainingRow& row : run.training) {
    CHECK(row.moe[0].max_violation == 0.5);
    if (!row.moe[0].load.empty()) steps.push_back(row.step);
  }
  CHECK(steps.size() <= kMaxLoadRows);
  CHECK(steps.size() >= kMaxLoadRows / 2);
  CHECK(steps.front() == 1);
  const int64_t distance = steps[2] - steps[1];
  for (size_t i = 2; i < steps.size(); ++i) CHECK(steps[i] - steps[i - 1] == distance);
  CHECK(std::abs(steps[1] - steps[0] - distance) <= 1);
  CHECK(num_rows - steps.back() < distance);
}

}  // namespace
}  // namespace artel

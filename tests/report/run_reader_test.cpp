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
  std::string metrics;
  constexpr int num_rows = 5000;
  for (int step = 1; step <= num_rows; ++step) {
    metrics += concat(R"({"step":)", step, R"(,"tokens":)", step, R"(,"loss":1,"seconds":1,"attempt":1,)",
                      R"("moe":[{"layer":0,"max_violation":0.5,"load":[1,2]}]})", "\n");
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
  for (size_t i = 2; i < steps.size(); ++i) CHECK(steps[i] - steps[i - 1] == steps[1] - steps[0]);
}

}  // namespace
}  // namespace artel

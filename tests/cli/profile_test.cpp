#include <cmath>
#include <map>
#include <set>

#include "cli/executable.h"

// Times of operations: bench's tables and the traces that train and bench write.

using namespace artel;

namespace {

struct Span {
  std::string name;
  std::string kind;
  double begin = 0.0;
  double end = 0.0;
};

// The spans of a trace file, after a look at what every event needs.
std::vector<Span> spans_of(const std::string& path) {
  const Json trace = parse_json(read_file(path), path);
  CHECK(trace["otherData"]["dropped_spans"] == 0);
  std::vector<Span> spans;
  int num_counters = 0;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "C") {
      ++num_counters;
      CHECK(event["args"]["active_bytes"].get<double>() > 0.0);
    }
    if (event["ph"] != "X") continue;
    const double begin = event["ts"].get<double>();
    spans.push_back({event["name"], event["cat"], begin, begin + event["dur"].get<double>()});
  }
  CHECK(num_counters == static_cast<int>(spans.size()));
  return spans;
}

// Any two spans are apart or one holds the other. Times have three digits after the point.
void check_nested(const std::vector<Span>& spans) {
  constexpr double rounding = 0.0021;
  std::vector<Span> open;
  for (const Span& span : spans) {
    while (!open.empty() && open.back().end <= span.begin + rounding) open.pop_back();
    if (open.empty()) {
      open.push_back(span);
      continue;
    }
    INFO(span.name << " in " << open.back().name);
    CHECK(span.end <= open.back().end + rounding);
    open.push_back(span);
  }
}

std::map<std::string, int> counts_of(const std::vector<Span>& spans) {
  std::map<std::string, int> counts;
  for (const Span& span : spans) ++counts[span.name];
  return counts;
}

}  // namespace

TEST_CASE("train --profile writes a trace of whole steps after two to warm up, and no trace unasked") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  for (const std::string& name : PosixFileLayer().list(directory.file("tiny"))) {
    CHECK(name.rfind("trace", 0) == std::string::npos);
  }
  const ProgramOutcome outcome = run("train -c " + config + " --set run.name=traced --profile 3");
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.errors.find("trace-3.json") != std::string::npos);
  const std::vector<Span> spans = spans_of(directory.file("traced/trace-3.json"));
  check_nested(spans);
  auto counts = counts_of(spans);
  // Steps 3 to 5; validation and checkpoint come after step 4.
  for (const char* name :
       {"step", "data", "forward", "backward", "update", "optimizer", "embedding", "embedding_backward", "attention",
        "attention_backward", "rope_backward", "uoe_bids_backward", "dispatch_plan", "linear_cross_entropy_backward"}) {
    INFO(name);
    CHECK(counts[name] >= 3);
  }
  CHECK(counts["step"] == 3);
  CHECK(counts["optimizer"] == 3);
  CHECK(counts["validation"] == 1);
  CHECK(counts["checkpoint_snapshot"] == 1);
  CHECK(counts["embedding_backward"] == 3);
  CHECK(counts["embedding"] >= 3 + 2);  // a validation of two batches, and a sample
  double steps = 0.0;
  double phases = 0.0;
  for (const Span& span : spans) {
    const double duration = span.end - span.begin;
    if (span.name == "step") steps += duration;
    const std::set<std::string> parts = {"data", "forward", "backward", "update"};
    if (parts.count(span.name) != 0) phases += duration;
  }
  CHECK(phases <= steps + 0.1);
  CHECK(phases > 0.5 * steps);
}

TEST_CASE("A run that ends within the steps to warm up says that there is no profile") {
  const TemporaryDirectory directory;
  const ProgramOutcome outcome = run("train -c " + tiny_config(directory) + " --set train.steps=2 --profile 1");
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.errors.find("--profile") != std::string::npos);
  CHECK_FALSE(PosixFileLayer().exists(directory.file("tiny/trace-3.json")));
  CHECK(run("train -c " + tiny_config(directory) + " --profile 0").exit_code == 1);
}

TEST_CASE("bench says where the time of a step goes, in shares that add up to one") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string trace = directory.file("bench.json");
  const ProgramOutcome outcome = run("bench -c " + config + " --steps 3 --json --profile " + trace);
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  const Json bench = parse_json(outcome.output, "bench");
  double shares = 0.0;
  double seconds = 0.0;
  double alone = 0.0;
  std::set<std::string> names;
  for (const Json& op : bench["ops"]) {
    CHECK(op["share"].get<double>() >= 0.0);
    CHECK(op["single_threaded_share_of_16"].get<double>() > -1e-9);
    alone += op["single_threaded_share_of_16"].get<double>();
    shares += op["share"].get<double>();
    seconds += op["seconds"].get<double>();
    CHECK(names.insert(op["name"]).second);
  }
  CHECK(std::fabs(shares - 1.0) < 1e-9);
  CHECK(alone > 0.0);
  CHECK(alone < 1.0);  // 1 if nothing were shared out
  CHECK(std::fabs(seconds - bench["step_seconds"].get<double>()) < 1e-9);
  for (const char* name : {"linear", "linear_backward", "grouped_linear", "grouped_linear_backward", "attention",
                           "attention_backward", "optimizer", "other"}) {
    INFO(name);
    CHECK(names.count(name) == 1);
  }
  CHECK(bench["ops"].back()["name"] == "other");
  CHECK(bench["primitives_created"] == 0);
  CHECK(bench["system_allocations_per_step"] == 0.0);
  CHECK(bench["fraction_of_ceiling"].get<double>() > 0.0);

  // One layer: qkv, output and routing products; 32 tokens; 6 query, key and value heads of 16; 4 experts.
  double kernel_shares = 0.0;
  for (const Json& kernel : bench["kernels"]) {
    kernel_shares += kernel["share"].get<double>();
    if (kernel["name"] == "grouped_linear") {
      CHECK(kernel["calls"] == 2.0);
      const double neurons = 16.0;  // 12, the routing neurons being done elsewhere, and what fills them up in memory
      const double flops = kernel["flops_per_second"].get<double>() * kernel["seconds"].get<double>();
      CHECK(flops == Approx(2.0 * (32 * 2) * 32 * neurons * 3));
    }
    if (kernel["name"] == "adamw") CHECK(kernel["bytes_per_second"].get<double>() > 0.0);
  }
  CHECK(kernel_shares > 0.3);
  CHECK(kernel_shares <= 1.0);
  const std::vector<Span> spans = spans_of(trace);
  check_nested(spans);
  CHECK(counts_of(spans)["optimizer"] == 1);

  const ProgramOutcome text = run("bench -c " + config + " --steps 1");
  CHECK(text.output.find("grouped_linear_backward") != std::string::npos);
  CHECK(text.output.find("GFLOP/s") != std::string::npos);
}

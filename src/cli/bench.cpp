#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <memory>

#include "cli/commands.h"
#include "config/yaml.h"
#include "model/count.h"
#include "train/runtime.h"
#include "train/train_step.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 10;
  bool json = false;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A batch of ids that depend on their position alone: the arithmetic does not care what the text says.
Batch synthetic_batch(const Config& config) {
  Batch batch;
  batch.num_samples = config.train.global_batch_size;
  batch.seq_len = config.model.max_position_embeddings;
  const auto count = static_cast<std::size_t>(batch.num_samples * batch.seq_len);
  for (std::size_t i = 0; i < count; ++i) {
    batch.inputs.push_back(
        static_cast<std::int32_t>((i * 2654435761U >> 7) % static_cast<std::size_t>(config.model.vocab_size)));
    batch.targets.push_back(
        static_cast<std::int32_t>((i * 2246822519U >> 9) % static_cast<std::size_t>(config.model.vocab_size)));
  }
  return batch;
}

// Highest median rate of products of the run's type over all threads.
double gemm_ceiling(Runtime& runtime) {
  double best = 0.0;
  Context& context = runtime.context();
  const std::int64_t shapes[][3] = {{1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 1408, 512}};
  for (const auto& [m, n, k] : shapes) {
    const Tensor x = context.empty({m, k}, runtime.dtype());
    const Tensor w = context.empty({n, k}, runtime.dtype());
    const Tensor y = context.empty({m, n}, runtime.dtype());
    context.backend.fill(x, 0.5F);
    context.backend.fill(w, 0.25F);
    std::vector<double> times;
    for (int repeat = 0; repeat < 20; ++repeat) {
      const auto start = Clock::now();
      context.backend.linear(x, w, y, Accumulate::no);
      times.push_back(seconds_since(start));
    }
    best = std::max(best, 2.0 * static_cast<double>(m * n * k) / median(times));
  }
  return best;
}

std::int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

Json bench(const Config& config, Runtime& runtime, std::int64_t num_steps) {
  Context& context = runtime.context();
  Transformer model(config.model, runtime.world());
  model.allocate(context, runtime.dtype());
  model.initialise(context, config.run.seed);
  AdamW optimizer(context, model.parameters(), config.optimizer);
  const Batch batch = synthetic_batch(config);
  StepOptions options;
  options.micro_batch_size = config.train.micro_batch_size;
  options.tokens_per_step = static_cast<std::int64_t>(batch.inputs.size());
  options.lr = config.optimizer.lr;
  options.recompute_blocks = config.train.recompute == "block";
  const double ceiling_before = gemm_ceiling(runtime);
  std::vector<double> times;
  std::int64_t faults = 0;
  constexpr std::int64_t warm_up_steps = 2;
  for (options.step = 1; options.step <= warm_up_steps + num_steps; ++options.step) {
    if (options.step == warm_up_steps + 1) {
      faults = minor_faults();
      context.allocator.reset_peak();
    }
    const auto start = Clock::now();
    run_step(context, model, optimizer, batch, options);
    if (options.step > warm_up_steps) times.push_back(seconds_since(start));
  }
  faults = minor_faults() - faults;
  const double ceiling = std::max(ceiling_before, gemm_ceiling(runtime));
  const double tokens_per_second = static_cast<double>(options.tokens_per_step) / median(times);
  const double flops = tokens_per_second * static_cast<double>(count_model(config.model).flops_per_token.total);
  Json json;
  json["name"] = config.run.name;
  json["precision"] = runtime.precision();
  json["threads"] = runtime.num_threads();
  json["tokens_per_second"] = tokens_per_second;
  json["model_flops_per_second"] = flops;
  json["gemm_ceiling_flops_per_second"] = ceiling;
  json["fraction_of_ceiling"] = flops / ceiling;
  json["peak_memory_bytes"] = context.allocator.stats().peak_bytes;
  json["minor_faults_per_step"] = static_cast<double>(faults) / static_cast<double>(num_steps);
  return json;
}

void run_bench(const BenchArguments& arguments) {
  const Config config = load_config(arguments.config, arguments.overrides);
  Log log;
  Runtime runtime(config.train, log);
  const Json json = bench(config, runtime, arguments.steps);
  if (arguments.json) return print(dump_json(json, 2) + "\n");
  print(concat(config.run.name, ", ", runtime.precision(), ", ", runtime.num_threads(), " threads\n  ",
               format_count(json["tokens_per_second"].get<double>()), " tokens/s, ",
               format_count(json["model_flops_per_second"].get<double>()), " model FLOP/s, ",
               format_fixed(100.0 * json["fraction_of_ceiling"].get<double>(), 1), " % of the ceiling of ",
               format_count(json["gemm_ceiling_flops_per_second"].get<double>()), "\n  peak memory ",
               format_bytes(json["peak_memory_bytes"].get<double>()), ", ",
               format_fixed(json["minor_faults_per_step"].get<double>(), 1), " minor page faults a step\n"));
}

}  // namespace

void add_bench_command(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command =
      app.add_subcommand("bench", "Time training steps of a config against the ceiling of this machine");
  command->add_option("-c,--config", arguments->config, "YAML file")->required();
  command->add_option("--set", arguments->overrides, "Override a key (may be given again)")->allow_extra_args(false);
  command->add_option("--steps", arguments->steps, "Steps to time; the median counts")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments] { run_bench(*arguments); });
}

}  // namespace artel

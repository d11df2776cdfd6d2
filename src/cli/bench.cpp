#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>

#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
#include "config/yaml.h"
#include "kernels/traced_backend.h"
#include "model/count.h"
#include "train/runtime.h"
#include "train/train_step.h"
#include "util/files.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 10;
  std::string profile;
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

bool on_gpu(const Context& context) {
  return context.backend.device() != Device::cpu;
}

// Median time of a call of `kernel`, whose result is y. A GPU runs behind the host: there many calls share one wait.
double median_seconds(Context& context, int repeats, const Tensor& y, const std::function<void()>& kernel) {
  const int calls = on_gpu(context) ? 20 : 1;
  std::vector<char> row(y.rows(0, 1).nbytes());
  const auto wait = [&] {
    if (on_gpu(context)) context.backend.download(y.rows(0, 1), row.data());
  };
  std::vector<double> times;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    wait();
    const auto start = Clock::now();
    for (int call = 0; call < calls; ++call) kernel();
    wait();
    times.push_back(seconds_since(start) / calls);
  }
  return median(times);
}

// Highest median rate of products of the run's type over all threads.
double gemm_ceiling(Runtime& runtime) {
  double best = 0.0;
  Context& context = runtime.context();
  std::vector<std::array<std::int64_t, 3>> shapes = {{1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 1408, 512}};
  if (on_gpu(context)) shapes.push_back({8192, 8192, 8192});  // the others do not fill one
  for (const auto& [m, n, k] : shapes) {
    const Tensor x = context.empty({m, k}, runtime.dtype());
    const Tensor w = context.empty({n, k}, runtime.dtype());
    const Tensor y = context.empty({m, n}, runtime.dtype());
    context.backend.fill(x, 0.5F);
    context.backend.fill(w, 0.25F);
    const double seconds = median_seconds(context, 20, y, [&] { context.backend.linear(x, w, y, Accumulate::no); });
    best = std::max(best, 2.0 * static_cast<double>(m) * static_cast<double>(n * k) / seconds);
  }
  return best;
}

// Highest median rate of copying, read and written, in blocks that no cache holds.
double copy_ceiling(Runtime& runtime) {
  Context& context = runtime.context();
  constexpr std::int64_t num_elements = std::int64_t{1} << 25;
  const Tensor from = context.empty({num_elements}, DType::f32);
  const Tensor to = context.empty({num_elements}, DType::f32);
  context.backend.fill(from, 0.5F);
  context.backend.fill(to, 0.5F);
  const double seconds = median_seconds(context, 7, to, [&] { context.backend.copy(from, to); });
  return 2.0 * static_cast<double>(from.nbytes()) / seconds;
}

std::int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/// What the timed steps took.
struct Measurement {
  std::vector<double> step_seconds;
  double shared_seconds = 0.0;  ///< of all steps, in loops over tasks
  TimeTable ops{{TraceKind::forward, TraceKind::backward, TraceKind::update, TraceKind::communication}};
  TimeTable kernels{{TraceKind::kernel}};
  std::int64_t minor_faults = 0;
  std::int64_t system_allocations = 0;
  std::int64_t primitives_created = 0;
  AllocatorStats memory;
  std::string trace;  ///< of the last step
};

constexpr std::int64_t num_warm_up_steps = 2;

// The steps run under a tracer: a fifth of a microsecond a span, some hundred or thousand spans a step.
Measurement measure(const Config& config, Runtime& runtime, std::int64_t num_steps) {
  const ThreadPool& pool = runtime.context().pool;
  Tracer tracer(runtime.context().allocator, Tracer::default_max_events, &pool);
  TracedBackend backend(runtime.context().backend, tracer);
  Context context{runtime.context().allocator, backend, runtime.context().pool};
  context.tracer = &tracer;
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
  Measurement result;
  const auto counters = [&] {
    return std::pair(context.allocator.stats().num_system_allocations, context.backend.num_primitives_created());
  };
  auto before = counters();
  for (options.step = 1; options.step <= num_warm_up_steps + num_steps; ++options.step) {
    tracer.clear();
    if (options.step == num_warm_up_steps + 1) {
      before = counters();
      context.allocator.reset_peak();
    }
    const std::int64_t faults = minor_faults();
    const std::int64_t shared_ns = pool.shared_ns();
    const auto start = Clock::now();
    run_step(context, model, optimizer, batch, options);
    const double seconds = seconds_since(start);
    if (options.step <= num_warm_up_steps) continue;
    result.minor_faults += minor_faults() - faults;
    result.step_seconds.push_back(seconds);
    result.shared_seconds += 1.0e-9 * static_cast<double>(pool.shared_ns() - shared_ns);
    result.ops.add(tracer.events());
    result.kernels.add(tracer.events());
  }
  result.system_allocations = counters().first - before.first;
  result.primitives_created = counters().second - before.second;
  result.memory = context.allocator.stats();
  result.trace = chrome_trace(tracer, config.run.name);
  return result;
}

Json bench(const Config& config, Runtime& runtime, const BenchArguments& arguments) {
  const double ceiling_before = gemm_ceiling(runtime);
  const Measurement measured = measure(config, runtime, arguments.steps);
  const Ceilings ceilings{std::max(ceiling_before, gemm_ceiling(runtime)), copy_ceiling(runtime)};
  if (!arguments.profile.empty()) {
    PosixFileLayer files;
    write_file_atomic(files, arguments.profile, measured.trace);
  }
  const auto tokens_per_step =
      static_cast<double>(config.train.global_batch_size * config.model.max_position_embeddings);
  const auto steps = static_cast<double>(arguments.steps);
  const double tokens_per_second = tokens_per_step / median(measured.step_seconds);
  const double flops = tokens_per_second * static_cast<double>(count_model(config.model).flops_per_token.total);
  const StepTime step{arguments.steps,
                      std::accumulate(measured.step_seconds.begin(), measured.step_seconds.end(), 0.0) / steps,
                      measured.shared_seconds / steps, runtime.num_threads()};
  Json json;
  json["name"] = config.run.name;
  json["precision"] = runtime.precision();
  json["threads"] = runtime.num_threads();
  json["device"] = runtime.device();
  json["tokens_per_second"] = tokens_per_second;
  json["model_flops_per_second"] = flops;
  json["gemm_ceiling_flops_per_second"] = ceilings.flops_per_second;
  json["copy_ceiling_bytes_per_second"] = ceilings.bytes_per_second;
  json["fraction_of_ceiling"] = flops / ceilings.flops_per_second;
  json["peak_memory_bytes"] = measured.memory.peak_bytes;
  json["cached_memory_bytes"] = measured.memory.cached_bytes;
  json["minor_faults_per_step"] = static_cast<double>(measured.minor_faults) / steps;
  json["system_allocations_per_step"] = static_cast<double>(measured.system_allocations) / steps;
  json["primitives_created"] = measured.primitives_created;
  json["step_seconds"] = step.seconds;
  json["ops"] = ops_json(measured.ops, step);
  json["kernels"] =
      kernels_json(measured.kernels, step, on_gpu(runtime.context()) ? std::nullopt : std::optional(ceilings));
  return json;
}

void run_bench(const BenchArguments& arguments) {
  if (!arguments.profile.empty()) require_output("--profile", arguments.profile);
  const Config config = load_config(arguments.config, arguments.overrides);
  Log log;
  Runtime runtime(config.train, log);
  const Json json = bench(config, runtime, arguments);
  print(arguments.json ? dump_json(json, 2) + "\n" : bench_text(json));
}

}  // namespace

void add_bench_command(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command =
      app.add_subcommand("bench", "Time training steps of a config against the ceiling of this machine");
  command->add_option("-c,--config", arguments->config, "YAML file")->required()->check(not_empty());
  command->add_option("--set", arguments->overrides, "Override a key (may be given again)")->allow_extra_args(false);
  command->add_option("--steps", arguments->steps, "Steps to time; the median counts")
      ->capture_default_str()
      ->check(integer_from(1));
  command
      ->add_option("--profile", arguments->profile,
                   "Also write the times of the last step to this file (open it in ui.perfetto.dev or "
                   "chrome://tracing)")
      ->check(not_empty());
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments] { run_bench(*arguments); });
}

}  // namespace artel

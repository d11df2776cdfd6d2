// time_kernels CONFIG [--tokens T] [--repeats R] [--json FILE]
// Times every kernel of the backend on the first GPU with the sizes of a config's model and compares it with what the
// card could do at best: the larger of the bytes that must move over the bandwidth and the arithmetic over the rate.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "config/yaml.h"
#include "core/rng.h"
#include "core/trace.h"
#include "kernels/cuda_device.h"
#include "kernels/traced_backend.h"
#include "model/count.h"
#include "nn/parameter.h"
#include "support/device_access.h"
#include "util/error.h"
#include "util/files.h"
#include "util/json.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

/// Dense rates of the data sheets.
struct Card {
  const char* part_of_name;
  double bf16_flops, fp32_flops, bytes_per_second;
};
constexpr Card cards[] = {{"H200", 989e12, 67e12, 4.8e12},
                          {"H100 PCIe", 756e12, 51e12, 2.0e12},
                          {"H100", 989e12, 67e12, 3.35e12},
                          {"A100", 312e12, 19.5e12, 2.04e12}};

Card card_of(const std::string& name) {
  for (const Card& card : cards) {
    if (name.find(card.part_of_name) != std::string::npos) return card;
  }
  return {"", 0.0, 0.0, 0.0};  // unknown: no fraction is printed
}

struct Row {
  std::string name;
  double seconds = 0.0;
  TraceWork work;
};

class Timer {
 public:
  Timer(CudaDevice& device, int repeats) : device_(device), repeats_(repeats), tracer_(device.allocator(), 64) {}

  Backend& backend() { return device_.backend(); }
  Tensor empty(const Shape& shape, DType dtype) { return Tensor::empty(device_.allocator(), shape, dtype); }
  /// Normal numbers, the same block of them again and again.
  Tensor random(const Shape& shape, DType dtype) {
    const std::int64_t block = std::min<std::int64_t>(shape.numel(), std::int64_t{1} << 20);
    std::vector<float> values(static_cast<std::size_t>(block));
    Rng(1, "time_kernels").fill_normal(0, block, 1.0, values.data());
    const Tensor host_block = empty({block}, DType::f32);
    write_tensor(values.data(), host_block);
    const Tensor tensor = empty({shape.numel()}, dtype);
    for (std::int64_t at = 0; at < shape.numel(); at += block) {
      const std::int64_t count = std::min(block, shape.numel() - at);
      backend().copy(host_block.rows(0, count), tensor.rows(at, at + count));
    }
    return tensor.view(shape);
  }
  Tensor ids(const Shape& shape, const std::function<std::int64_t(std::int64_t)>& id) {
    std::vector<std::int32_t> values;
    for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<std::int32_t>(id(i)));
    const Tensor tensor = empty(shape, DType::i32);
    write_tensor(values.data(), tensor);
    return tensor;
  }

  /// Once for its work and to warm up, then `repeats` calls in a row.
  void time(const char* name, const std::function<void(Backend&)>& call) {
    tracer_.clear();
    TracedBackend traced(backend(), tracer_);
    call(traced);
    const TraceWork work = tracer_.events().at(0).work;
    wait();
    const auto start = Clock::now();
    for (int i = 0; i < repeats_; ++i) call(backend());
    wait();
    rows_.push_back({name, std::chrono::duration<double>(Clock::now() - start).count() / repeats_, work});
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  void wait() {
    char byte = 0;
    copy_from_device(flag_.raw(), &byte, 1);
  }

  CudaDevice& device_;
  int repeats_;
  Tracer tracer_;
  Tensor flag_ = empty({1}, DType::i32);
  std::vector<Row> rows_;
};

/// E, r: width of the experts and of AoE's cached activations, in memory.
struct Sizes {
  std::int64_t T, Q, d, V, N, K, E, H, J, h, S, r;
};

void time_dense(Timer& t, const Sizes& s, DType act) {
  const Tensor x = t.random({s.T, s.d}, act), delta = t.random({s.T, s.d}, act), w = t.random({s.d}, act);
  const Tensor sum = t.empty({s.T, s.d}, act), y = t.empty({s.T, s.d}, act), rstd = t.empty({s.T}, DType::f32);
  const Tensor dw = t.random({s.d}, DType::f32);
  t.time("rms_norm", [&](Backend& b) { b.rms_norm(x, delta, w, 1e-5F, sum, y, rstd); });
  t.time("rms_norm_backward", [&](Backend& b) { b.rms_norm_backward(x, w, rstd, delta, y, Accumulate::yes, dw); });
  t.time("copy", [&](Backend& b) { b.copy(x, y); });
  t.time("add", [&](Backend& b) { b.add(x, y); });
  t.time("fill", [&](Backend& b) { b.fill(y, 0.0F); });
  const Tensor table = t.random({s.V, s.d}, act), dtable = t.random({s.V, s.d}, DType::f32);
  const Tensor ids = t.ids({s.T}, [&](std::int64_t i) { return i * i % s.V; });
  t.time("embedding", [&](Backend& b) { b.embedding(table, ids, y); });
  t.time("embedding_backward", [&](Backend& b) { b.embedding_backward(ids, x, dtable); });

  const AttentionShape shape{s.T / s.Q, s.Q, s.H, s.J, s.h};
  const std::int64_t heads = shape.num_qkv_heads();
  const Tensor qkv_w = t.random({heads * s.h, s.d}, act), qkv_dw = t.random(qkv_w.shape(), DType::f32);
  const Tensor qkv = t.random({s.T, heads * s.h}, act), dqkv = t.random({s.T, heads * s.h}, act);
  t.time("linear", [&](Backend& b) { b.linear(x, qkv_w, qkv, Accumulate::no); });
  t.time("linear_backward_data", [&](Backend& b) { b.linear_backward_data(dqkv, qkv_w, y, Accumulate::no); });
  t.time("linear_backward_weight", [&](Backend& b) { b.linear_backward_weight(x, dqkv, qkv_dw, Accumulate::yes); });
  const Tensor cos_sin = t.random({s.Q, s.h}, DType::f32), none;
  const Shape head_shape{s.T, heads, s.h};
  const Tensor in = t.random(head_shape, act), out = t.empty({s.T, s.H, s.h}, act);
  const Tensor lse = t.empty({shape.num_sequences, s.H, s.Q}, DType::f32);
  t.time("rope", [&](Backend& b) { b.rope(in, cos_sin, shape, none, none, 1e-5F, qkv.view(head_shape), none); });
  t.time("rope_backward", [&](Backend& b) {
    b.rope_backward(in, cos_sin, shape, none, none, none, none, dqkv.view(head_shape), none, none);
  });
  t.time("attention", [&](Backend& b) { b.attention(in, shape, out, lse); });
  t.time("attention_backward",
         [&](Backend& b) { b.attention_backward(in, out, lse, out, shape, dqkv.view(head_shape)); });
}

void time_experts(Timer& t, const Sizes& s, DType act) {
  const std::int64_t A = s.T * s.K;
  const Tensor ids = t.ids({A}, [&](std::int64_t i) { return (i * 7 + i / s.K) % s.N; });
  const Tensor token_offsets = t.ids({s.T + 1}, [&](std::int64_t i) { return i * s.K; });
  const Tensor offsets = t.empty({s.N + 1}, DType::i32), slot_of_row = t.empty({A}, DType::i32);
  const Tensor row_of_slot = t.empty({A}, DType::i32), probs = t.random({s.T, s.N}, DType::f32);
  const Tensor counts = t.empty({1, s.N}, DType::i32), sums = t.empty({1, s.N}, DType::f32);
  const Tensor statistics = t.empty({2}, DType::f64),
               token_of_row = t.ids({A}, [&](std::int64_t i) { return i / s.K; });
  t.time("sort_by_expert", [&](Backend& b) { b.sort_by_expert(ids, s.N, offsets, slot_of_row, row_of_slot); });
  t.time("expert_counts", [&](Backend& b) { b.expert_counts(ids, token_offsets, s.T, counts); });
  t.time("load_balance", [&](Backend& b) { b.load_balance(counts, 1.0F, sums); });
  t.time("set_sums", [&](Backend& b) { b.set_sums(probs, s.T, sums); });
  t.time("routing_statistics", [&](Backend& b) { b.routing_statistics(probs, ids, token_offsets, statistics); });

  const Tensor x = t.random({s.T, s.d}, act), rows = t.random({A, s.d}, act), base = t.random({s.T, s.d}, act);
  const Tensor target = t.random({A, s.d}, act);
  t.time("gather_rows", [&](Backend& b) { b.gather_rows(x, token_of_row, rows); });
  t.time("scatter_add_rows", [&](Backend& b) { b.scatter_add_rows(rows, row_of_slot, target); });
  t.time("sum_rows", [&](Backend& b) { b.sum_rows(rows, token_offsets, row_of_slot, base, Accumulate::yes); });

  GroupOffsets groups{std::vector<std::int32_t>(static_cast<std::size_t>(s.N) + 1), offsets};
  read_tensor(offsets, groups.host.data());
  const Tensor w = t.random({s.N, 2 * s.E, s.d}, act), dw = t.random(w.shape(), DType::f32);
  const Tensor gate_up = t.random({A, 2 * s.E}, act), hidden = t.random({A, s.E}, act);
  const Tensor weights = t.random({A}, DType::f32), dweights = t.empty({A}, DType::f32);
  t.time("grouped_linear", [&](Backend& b) { b.grouped_linear(rows, groups, w, gate_up, Accumulate::no); });
  t.time("grouped_linear_backward_data",
         [&](Backend& b) { b.grouped_linear_backward_data(gate_up, groups, w, rows, Accumulate::no); });
  t.time("grouped_linear_backward_weight",
         [&](Backend& b) { b.grouped_linear_backward_weight(rows, gate_up, groups, dw, Accumulate::yes); });
  const Tensor both = gate_up.view({A, 2, s.E}), dboth = t.empty({A, 2, s.E}, act);
  t.time("swiglu", [&](Backend& b) { b.swiglu(both, weights, hidden); });
  t.time("swiglu_backward", [&](Backend& b) { b.swiglu_backward(both, weights, hidden, dboth, dweights); });
}

void time_routing(Timer& t, const Sizes& s, DType act) {
  const TopKOptions options{s.K, s.K > 1, 1.0F};
  const Tensor scores = t.random({s.T, s.N}, DType::f32), probs = t.empty({s.T, s.N}, DType::f32), none;
  const Tensor lse = t.empty({s.T}, DType::f32), ids = t.empty({s.T, s.K}, DType::i32);
  const Tensor weights = t.empty({s.T, s.K}, DType::f32), dscores = t.empty({s.T, s.N}, DType::f32);
  const Tensor dweights = t.random({s.T, s.K}, DType::f32);
  const AuxiliaryGradient auxiliary{t.random({1, s.N}, DType::f32), s.T, 0.0F};
  t.time("route_top_k", [&](Backend& b) { b.route_top_k(scores, none, options, probs, lse, ids, weights); });
  t.time("route_top_k_backward",
         [&](Backend& b) { b.route_top_k_backward(probs, lse, ids, weights, dweights, options, auxiliary, dscores); });
  BidOptions bid;
  bid.top_k = options;
  const Tensor gate_up = t.random({s.T, s.N, 2, s.S}, act), dgate_up = t.empty({s.T, s.N, 2, s.S}, act);
  const Tensor hidden = t.random({s.T, s.N * s.S}, act), bids = t.empty({s.T, s.N}, DType::f32);
  t.time("uoe_bids", [&](Backend& b) { b.uoe_bids(gate_up, bid, bids, probs, lse, ids, weights, hidden); });
  t.time("uoe_bids_backward", [&](Backend& b) {
    b.uoe_bids_backward(gate_up, bids, probs, lse, ids, weights, dweights, hidden, bid, auxiliary, dgate_up);
  });
  const Tensor down = t.random({s.N, s.d, s.S}, act), packed = t.empty({s.d, s.N, s.S}, act);
  t.time("swap_leading", [&](Backend& b) { b.swap_leading(down, packed, Accumulate::no); });
  const Tensor cached = t.random({s.T * s.N, s.r}, act), norms = t.empty({s.T * s.N}, DType::f32);
  const Tensor dnorms = t.random({s.T * s.N}, DType::f32);
  t.time("row_norms", [&](Backend& b) { b.row_norms(cached, norms); });
  t.time("row_norms_backward",
         [&](Backend& b) { b.row_norms_backward(cached, norms, dnorms, cached, Accumulate::yes); });
}

void time_update(Timer& t, const Sizes& s, DType act) {
  const std::int64_t rows = std::min(s.T, std::max<std::int64_t>(64, (std::int64_t{1} << 28) / s.V));
  const Tensor logits = t.random({rows, s.V}, DType::f32), losses = t.empty({rows}, DType::f32);
  const Tensor targets = t.ids({rows}, [&](std::int64_t i) { return i * 13 % s.V; });
  t.time("cross_entropy", [&](Backend& b) { b.cross_entropy(logits, targets, 1e-4F, true, losses); });
  const std::int64_t count = s.N * 3 * s.E * s.d;
  const Tensor grad = t.random({count}, DType::f32), master = t.random({count}, DType::f32);
  const Tensor exp_avg = t.random({count}, DType::f32), exp_avg_sq = t.empty({count}, DType::f32), none;
  const Tensor param = act == DType::bf16 ? t.empty({count}, act) : none;
  const Tensor scale = t.empty({1}, DType::f32), sum = t.empty({1}, DType::f64);
  t.backend().fill(scale, 1.0F);
  t.backend().fill(exp_avg_sq, 1.0F);
  AdamWOptions options;
  options.lr = 1e-4F;
  t.time("sum", [&](Backend& b) { b.sum(grad, sum); });
  t.time("sum_of_squares", [&](Backend& b) { b.sum_of_squares(grad, sum); });
  t.time("adamw", [&](Backend& b) { b.adamw(grad, scale, options, master, exp_avg, exp_avg_sq, param); });
}

double fraction_of(const Row& row, const Card& card, DType act) {
  if (card.bytes_per_second == 0.0) return 0.0;
  const double rate = act == DType::bf16 ? card.bf16_flops : card.fp32_flops;
  return std::max(row.work.bytes / card.bytes_per_second, row.work.flops / rate) / row.seconds;
}

Json json_of(const std::vector<Row>& rows, const std::string& device, const Card& card, DType act, std::int64_t T) {
  Json kernels = Json::array();
  for (const Row& row : rows) {
    kernels.push_back({{"name", row.name},
                       {"seconds", row.seconds},
                       {"bytes", row.work.bytes},
                       {"flops", row.work.flops},
                       {"fraction_of_roofline", fraction_of(row, card, act)}});
  }
  return {{"device", device}, {"type", dtype_name(act)}, {"tokens", T}, {"kernels", kernels}};
}

int run(int argc, char** argv) {
  std::string config_path, json_path;
  std::int64_t tokens = 8192;
  int repeats = 20;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--tokens" || argument == "--repeats" || argument == "--json") {
      require(!value.empty(), "time_kernels", "required a value for " + argument + ", found none");
      if (argument == "--tokens") tokens = std::stoll(value);
      if (argument == "--repeats") repeats = std::stoi(value);
      if (argument == "--json") json_path = value;
      ++i;
    } else {
      config_path = argument;
    }
  }
  require(!config_path.empty(), "time_kernels", "required a config file, found none");
  const ModelConfig model = load_config(config_path).model;
  const std::int64_t seq = std::min<std::int64_t>(model.max_position_embeddings, tokens);
  const Sizes s{tokens / seq * seq,
                seq,
                model.hidden_size,
                model.vocab_size,
                model.num_experts,
                model.num_experts_per_tok,
                padded_width(expert_width(model)),
                model.num_attention_heads,
                model.num_key_value_heads,
                model.head_dim,
                model.routing.uoe.routing_neurons,
                padded_width(model.hidden_size / 3)};
  const std::unique_ptr<CudaDevice> device = make_cuda_device(0);
  const Card card = card_of(device->name());
  const DType act = DType::bf16;
  std::vector<Row> rows;
  for (const auto part : {time_dense, time_experts, time_routing, time_update}) {
    Timer timer(*device, repeats);  // the tensors of one part are gone before the next
    part(timer, s, act);
    rows.insert(rows.end(), timer.rows().begin(), timer.rows().end());
  }
  std::printf("%s, %s, %lld tokens\n%-32s %12s %12s %12s %10s\n", device->name().c_str(), dtype_name(act),
              static_cast<long long>(s.T), "kernel", "us", "GB/s", "TFLOP/s", "of best");
  for (const Row& row : rows) {
    std::printf("%-32s %12.1f %12.0f %12.1f %9.0f%%\n", row.name.c_str(), row.seconds * 1e6,
                row.work.bytes / row.seconds / 1e9, row.work.flops / row.seconds / 1e12,
                100.0 * fraction_of(row, card, act));
  }
  if (!json_path.empty()) {
    PosixFileLayer files;
    write_file_atomic(files, json_path, json_of(rows, device->name(), card, act, s.T).dump(1) + "\n");
  }
  return 0;
}

}  // namespace
}  // namespace artel

int main(int argc, char** argv) {
  try {
    return artel::run(argc, argv);
  } catch (const artel::Error& error) {
    std::fprintf(stderr, "time_kernels: %s\n", error.what());
    return 1;
  }
}

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace artel {

/// Plain structs, one per component; names and defaults are those of the YAML file (docs/config.md).
/// Sizes are in elements, lengths in tokens, batches in sequences. Filled and checked by config/yaml.h.

struct RunConfig {
  std::string name = "run";
  std::string directory = "runs";  ///< the run is written to directory/name
  std::int64_t seed = 1234;
  bool tensorboard = true;  ///< write event files for TensorBoard beside metrics.jsonl

  bool operator==(const RunConfig&) const = default;
};

struct UoeConfig {
  std::int64_t routing_neurons = 0;     ///< S per expert; 0 = auto (matched compute); resolved to the integer on load
  std::string routing_signal = "gate";  ///< gate | gate_preactivation | glu
  std::string routing_norm = "l2";      ///< l2 | l1 | linf
  bool routed_includes_routing_neurons = true;
  bool virtual_shared_expert = true;
  double score_scale = 1.0;

  bool operator==(const UoeConfig&) const = default;
};

struct AoeConfig {
  std::int64_t d_low = 0;         ///< r; 0 = auto (about hidden_size / 3); resolved on load
  std::int64_t expert_width = 0;  ///< w; 0 = auto (keeps the parameters equal); resolved on load

  bool operator==(const AoeConfig&) const = default;
};

struct RoutingConfig {
  std::string type = "softmax";  ///< a name of routing/registry.h
  UoeConfig uoe;
  AoeConfig aoe;

  bool operator==(const RoutingConfig&) const = default;
};

struct ModelConfig {
  std::int64_t vocab_size = 256;
  std::int64_t hidden_size = 256;
  std::int64_t num_hidden_layers = 4;
  std::int64_t num_attention_heads = 4;
  std::int64_t num_key_value_heads = 4;
  std::int64_t head_dim = 0;  ///< 0 = hidden_size / num_attention_heads; resolved on load
  std::int64_t max_position_embeddings = 256;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1.0e-5;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  bool qk_norm = false;
  std::int64_t intermediate_size = 0;  ///< width of the dense SwiGLU, used when num_experts is 0
  std::int64_t num_experts = 16;       ///< 0 = dense SwiGLU of width intermediate_size
  std::int64_t num_experts_per_tok = 2;
  std::int64_t moe_intermediate_size = 256;
  std::int64_t shared_expert_intermediate_size = 0;
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1.0;
  double router_aux_loss_coef = 0.01;
  std::string router_aux_loss_scope = "micro";  ///< sequence | micro | global
  double router_z_loss_coef = 0.0;
  RoutingConfig routing;

  bool operator==(const ModelConfig&) const = default;
};

struct DataFile {
  std::string path;
  double weight = 1.0;
  std::string dtype = "auto";  ///< auto | uint8 | uint16 | uint32
  std::string name;            ///< of a validation set; default: the file's stem

  bool operator==(const DataFile&) const = default;
};

struct DataConfig {
  std::vector<DataFile> train;
  std::vector<DataFile> validation;
  std::string tokenizer = "bytes";
  std::string order = "shuffled";     ///< shuffled | megatron
  bool document_mask = false;         ///< attention and positions stay inside a document
  std::int64_t end_of_document = -1;  ///< id behind each document; -1 = the tokenizer's

  bool operator==(const DataConfig&) const = default;
};

struct OptimizerConfig {
  std::string type = "adamw";
  double lr = 1.0e-3;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1.0e-8;
  double weight_decay = 0.1;  ///< on matrices and embeddings only
  double grad_clip = 1.0;     ///< global norm; 0 = off

  bool operator==(const OptimizerConfig&) const = default;
};

struct ScheduleConfig {
  std::string type = "cosine";  ///< cosine | linear | wsd | constant
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0.1;
  double decay_ratio = 0.2;  ///< wsd: share of the steps at the end that decay

  bool operator==(const ScheduleConfig&) const = default;
};

struct TrainConfig {
  std::int64_t steps = 600;
  std::int64_t global_batch_size = 16;  ///< sequences per optimizer step
  std::int64_t micro_batch_size = 16;   ///< sequences per rank and forward pass
  std::string precision = "auto";       ///< auto | fp32 | bf16
  std::string init_from;                ///< checkpoint or run whose weights a new run begins with; empty: random ones
  std::string device = "auto";          ///< auto | cpu | cuda
  std::int64_t threads = 0;             ///< 0 = auto: the cores this process may run on
  std::string recompute = "none";       ///< none | block
  std::int64_t max_bad_steps = 5;       ///< steps in a row that were not finite, after which training stops
  std::int64_t spike_window = 128;      ///< steps whose mean a spike stands out from; 0 = off
  double spike_z_score = 6.0;           ///< standard deviations above the mean that make a spike
  std::string spike_action = "log";     ///< log | skip

  bool operator==(const TrainConfig&) const = default;
};

struct ValidationConfig {
  std::int64_t every = 100;            ///< steps; 0 = never
  std::int64_t batches = 16;           ///< of global_batch_size sequences per validation set; 0 = the whole set
  std::int64_t sample_tokens = 64;     ///< length of the sample made after a validation; 0 = none
  std::string sample_prompt = "The ";  ///< what the sample continues; empty: it begins a document
  std::vector<DataFile> tasks;         ///< multiple-choice files
  std::int64_t task_examples = 0;      ///< first examples read of each task; 0 = all

  bool operator==(const ValidationConfig&) const = default;
};

struct CheckpointConfig {
  std::int64_t every = 200;  ///< steps; 0 = only at the end
  std::int64_t keep = 3;     ///< newest checkpoints kept; 0 = all

  bool operator==(const CheckpointConfig&) const = default;
};

struct ParallelConfig {
  std::int64_t expert = 1;
  std::int64_t zero_stage = 1;
  double timeout_seconds = 600.0;    ///< longest wait for other ranks
  bool expert_across_hosts = false;  ///< expert groups may spread over hosts
  std::int64_t verify_every = 100;   ///< steps between checks that copies of parameters are equal; 0 = never

  bool operator==(const ParallelConfig&) const = default;
};

struct Config {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainConfig train;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  ParallelConfig parallel;

  bool operator==(const Config&) const = default;
};

}  // namespace artel

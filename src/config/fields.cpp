#include "config/fields.h"

#include <utility>

namespace artel {
namespace {

constexpr std::int64_t kMaxCount = 1'000'000'000'000;  // steps, batches: far above any run, far below overflow

class Table {
 public:
  explicit Table(std::vector<std::string> routing_types) : routing_types_(std::move(routing_types)) {}

  std::vector<Field> take() { return std::move(fields_); }

  void run(RunConfig& c) {
    begin("run.", OnResume::free);
    add("name", &c.name, "Name of the run: its directory is `directory/name`, and reports show it. No '/'.");
    add("directory", &c.directory, "Directory in which runs are written.");
    add("seed", &c.seed, "Seed of initial weights and of the order of the data.").on_resume = OnResume::forbidden;
    add("tensorboard", &c.tensorboard, "Write what metrics.jsonl holds for TensorBoard too, to `tensorboard/`.");
  }

  void model(ModelConfig& c) {
    begin("model.", OnResume::forbidden);
    add("vocab_size", &c.vocab_size, "Number of token ids; a data file that holds a larger id is refused.")
        .integers(2, 16'777'216);
    add("hidden_size", &c.hidden_size, "Width d of the residual stream.").integers(1, 131'072);
    add("num_hidden_layers", &c.num_hidden_layers, "Number of decoder layers.").integers(1, 1024);
    add("num_attention_heads", &c.num_attention_heads, "Number of query heads.").integers(1, 1024);
    add("num_key_value_heads", &c.num_key_value_heads,
        "Number of key and value heads; must divide num_attention_heads.")
        .integers(1, 1024);
    add("head_dim", &c.head_dim,
        "Width of a head, even; `auto` is hidden_size / num_attention_heads. A CPU takes up to 256, a GPU 32, 64, 96 "
        "and 128.")
        .integers(2, 1024)
        .or_auto();
    add("max_position_embeddings", &c.max_position_embeddings, "Sequence length trained on, in tokens.")
        .integers(1, 16'777'216);
    add("rope_theta", &c.rope_theta, "Base of the rotary position embedding.").above(0.0);
    add("rms_norm_eps", &c.rms_norm_eps, "Added to the mean square in every RMSNorm.").above(0.0).below(1.0);
    add("tie_word_embeddings", &c.tie_word_embeddings, "The output head uses the embedding matrix.");
    add("initializer_range", &c.initializer_range, "Standard deviation of the initial weights.").above(0.0);
    add("qk_norm", &c.qk_norm, "RMSNorm of every query and key head before RoPE, as in Qwen3.");
    add("intermediate_size", &c.intermediate_size, "Width of the dense SwiGLU; used when num_experts is 0.")
        .integers(0, 1'048'576);
    add("num_experts", &c.num_experts, "Number N of routed experts per layer; 0 is a dense SwiGLU.")
        .integers(0, 65'536);
    add("num_experts_per_tok", &c.num_experts_per_tok, "Number K of experts that a token goes to.").integers(1, 65'536);
    add("moe_intermediate_size", &c.moe_intermediate_size, "Width D of an expert.").integers(1, 1'048'576);
    add("shared_expert_intermediate_size", &c.shared_expert_intermediate_size,
        "softmax, aoe: width of a real shared expert, 0 for none; uoe: the width that routing_neurons: auto matches.")
        .integers(0, 1'048'576);
    add("norm_topk_prob", &c.norm_topk_prob, "Divide the weights of the K selected experts by their sum.");
    add("routed_scaling_factor", &c.routed_scaling_factor, "Factor on the weights of the selected experts.").above(0.0);
    add("router_aux_loss_coef", &c.router_aux_loss_coef,
        "Coefficient of the load-balance loss, the mean over layers of N * sum f_i P_i.")
        .from(0.0);
    add("router_aux_loss_scope", &c.router_aux_loss_scope,
        "Tokens over which the load f_i is counted; only `sequence` is the same on every layout.")
        .one_of({"sequence", "micro", "global"});
    add("router_z_loss_coef", &c.router_z_loss_coef, "Coefficient of the z-loss, the mean squared log-sum-exp.")
        .from(0.0);
    begin("model.routing.", OnResume::forbidden);
    add("type", &c.routing.type, "Routing method. Blocks of other methods may stand in the file: checked, not used.")
        .one_of(routing_types_);
    uoe(c.routing.uoe);
    aoe(c.routing.aoe);
  }

  void data(DataConfig& c) {
    begin("data.", OnResume::needs_allow);
    add("train", &c.train, "Token files to train on, mixed by weight.");
    add("validation", &c.validation, "Token files to validate on, each reported under its name.").or_empty();
    add("tokenizer", &c.tokenizer,
        "`bytes` or the path of a tokenizer.json: how ids become text. Training reads token ids and never opens it, "
        "but "
        "for the id that ends a document.");
    add("order", &c.order,
        "`shuffled`: every window once an epoch, by a keyed permutation. `megatron`: the samples of Megatron-core's "
        "GPTDataset and BlendedDataset in their order; Megatron files only.")
        .one_of({"shuffled", "megatron"})
        .on_resume = OnResume::forbidden;
    add("document_mask", &c.document_mask,
        "Attention sees only the token's own document, and positions begin anew in each.");
    add("end_of_document", &c.end_of_document,
        "Id that ends a document in files without document bounds of their own; -1 is the tokenizer's.")
        .integers(-1, 16'777'215);
  }

  void training(Config& c) {
    optimizer(c.optimizer);
    schedule(c.schedule);
    train(c.train);
    begin("validation.", OnResume::free);
    add("every", &c.validation.every, "Validate after so many steps; 0 is never.").integers(0, kMaxCount);
    add("batches", &c.validation.batches,
        "Batches of train.global_batch_size sequences read from each validation set; 0 is the whole set.")
        .integers(0, kMaxCount);
    add("sample_tokens", &c.validation.sample_tokens,
        "Tokens of the text that the model writes into log and metrics after a validation; 0 is none.")
        .integers(0, 65'536);
    add("sample_prompt", &c.validation.sample_prompt, "What that text continues; empty: it begins a document.")
        .or_empty()
        .or_lines();
    add("tasks", &c.validation.tasks, "Multiple-choice files, each evaluated with the validation sets (docs/data.md).")
        .or_empty();
    add("task_examples", &c.validation.task_examples, "First examples read of each task; 0 is all.")
        .integers(0, kMaxCount);
    begin("checkpoint.", OnResume::free);
    add("every", &c.checkpoint.every, "Save after so many steps; 0 is only at the end.").integers(0, kMaxCount);
    add("keep", &c.checkpoint.keep, "Newest checkpoints kept; 0 is all.").integers(0, kMaxCount);
    begin("parallel.", OnResume::free);
    add("expert", &c.parallel.expert, "Ranks over which the experts are spread; at most num_experts.")
        .integers(1, 65'536);
    add("zero_stage", &c.parallel.zero_stage, "1 shards the optimizer state over the ranks, 0 does not.")
        .integers(0, 1);
    add("timeout_seconds", &c.parallel.timeout_seconds,
        "Longest wait for other ranks; after it every rank ends with an error that names the ones that did not come.")
        .above(0.0);
    add("expert_across_hosts", &c.parallel.expert_across_hosts,
        "Allows the ranks that share a set of experts to be on several hosts; every token then crosses the network.");
    add("verify_every", &c.parallel.verify_every,
        "Check after so many steps that the ranks' copies of the parameters have the same bits; 0 is never.")
        .integers(0, kMaxCount);
  }

  void data_file(DataFile& c, FileList list) {
    begin("", list == FileList::tasks ? OnResume::free : OnResume::needs_allow);
    if (list == FileList::tasks) {
      add("path", &c.path, "An evaluation file of llm.c or JSON lines, relative to the working directory.");
    } else {
      add("path", &c.path,
          "Token file, relative to the working directory; with `*`, `?` or `[…]` all that match, in the order of their "
          "names, as one stream (docs/data.md).");
      if (list == FileList::train) {
        add("weight", &c.weight, "Share of the mixture, relative to the other files.").above(0.0);
      }
      add("dtype", &c.dtype,
          "Type of a token id. `auto`: from the file's header; without one uint8 for the bytes tokenizer, else uint16 "
          "up to 65536 ids, else uint32.")
          .one_of({"auto", "uint8", "uint16", "uint32"});
    }
    add("name", &c.name, "Name in logs and reports; by default the file name without its extension.").or_empty();
  }

 private:
  void begin(std::string prefix, OnResume on_resume) {
    prefix_ = std::move(prefix);
    on_resume_ = on_resume;
  }

  /// The reference holds until the next add().
  Field& add(const char* name, FieldValue value, const char* doc) {
    Field field;
    field.key = prefix_ + name;
    field.value = value;
    field.on_resume = on_resume_;
    field.doc = doc;
    fields_.push_back(std::move(field));
    return fields_.back();
  }

  void uoe(UoeConfig& c) {
    begin("model.routing.uoe.", OnResume::forbidden);
    add("routing_neurons", &c.routing_neurons,
        "Routing neurons S per expert; `auto` matches the compute of a shared expert, D_sh / (N - K) rounded.")
        .integers(1, 1'048'575)
        .or_auto();
    add("routing_signal", &c.routing_signal, "What the bid is the norm of: SiLU(gate), gate, or SiLU(gate) * up.")
        .one_of({"gate", "gate_preactivation", "glu"});
    add("routing_norm", &c.routing_norm, "Norm of the bid.").one_of({"l2", "l1", "linf"});
    add("routed_includes_routing_neurons", &c.routed_includes_routing_neurons,
        "The routing neurons of a selected expert also count, weighted, as part of it.");
    add("virtual_shared_expert", &c.virtual_shared_expert,
        "The routing neurons of all experts are summed into the output.");
    add("score_scale", &c.score_scale, "Factor on the bids before the softmax.").above(0.0);
  }

  void aoe(AoeConfig& c) {
    begin("model.routing.aoe.", OnResume::forbidden);
    add("d_low", &c.d_low, "Width r of the low-rank gate; `auto` is hidden_size / 3 rounded.")
        .integers(1, 131'072)
        .or_auto();
    add("expert_width", &c.expert_width,
        "Width w of an expert; `auto` keeps the parameters equal, (3 d D - r d) / (r + 2 d) rounded.")
        .integers(1, 3'145'728)
        .or_auto();
  }

  void optimizer(OptimizerConfig& c) {
    begin("optimizer.", OnResume::needs_allow);
    add("type", &c.type, "Optimizer.").one_of({"adamw"});
    add("lr", &c.lr, "Peak learning rate.").from(0.0);
    add("betas", &c.betas, "Decay of the first and the second moment.").numbers(2).from(0.0).below(1.0);
    add("eps", &c.eps, "Added to the root of the second moment.").above(0.0);
    add("weight_decay", &c.weight_decay, "Decoupled weight decay, on matrices and embeddings only.").from(0.0);
    add("grad_clip", &c.grad_clip, "Largest global norm of the gradient; 0 is off.").from(0.0);
  }

  void schedule(ScheduleConfig& c) {
    begin("schedule.", OnResume::needs_allow);
    add("type", &c.type, "Shape of the learning rate after the warm-up.")
        .one_of({"cosine", "linear", "wsd", "constant"});
    add("warmup_steps", &c.warmup_steps, "Steps over which the learning rate rises from 0.").integers(0, kMaxCount);
    add("min_lr_ratio", &c.min_lr_ratio, "Last learning rate as a share of lr.").from(0.0).up_to(1.0);
    add("decay_ratio", &c.decay_ratio, "wsd: share of the steps, at the end, over which the rate decays.")
        .above(0.0)
        .up_to(1.0);
  }

  void train(TrainConfig& c) {
    begin("train.", OnResume::free);
    add("steps", &c.steps, "Optimizer steps of the whole run.").integers(1, kMaxCount);
    add("global_batch_size", &c.global_batch_size, "Sequences per optimizer step, over all ranks.")
        .integers(1, 1'048'576)
        .on_resume = OnResume::forbidden;
    add("micro_batch_size", &c.micro_batch_size,
        "Sequences per rank and forward pass; accumulation is global / (micro * ranks) and must be whole.")
        .integers(1, 1'048'576);
    add("precision", &c.precision, "Type of parameters and activations; `auto` is bf16 where the device has it.")
        .one_of({"auto", "fp32", "bf16"})
        .on_resume = OnResume::forbidden;
    add("init_from", &c.init_from,
        "Checkpoint or run directory whose weights a new run begins with, such as one that `artel import` made; step, "
        "data order and optimizer begin anew. Empty: random weights.")
        .or_empty()
        .on_resume = OnResume::forbidden;
    add("device", &c.device,
        "Where the model runs. `auto` takes a GPU if the build and the machine have one; of several ranks on a host "
        "each takes its own.")
        .one_of({"auto", "cpu", "cuda"});
    add("threads", &c.threads, "Threads per rank on the CPU; `auto` is the cores the process may run on.")
        .integers(1, 4096)
        .or_auto();
    add("recompute", &c.recompute, "`block` stores only the input of each layer and computes the rest again.")
        .one_of({"none", "block"});
    add("max_bad_steps", &c.max_bad_steps,
        "Training stops after so many steps in a row whose loss or gradient is not finite; none of them is applied.")
        .integers(1, kMaxCount);
    add("spike_window", &c.spike_window,
        "Steps over which loss and gradient norm are averaged to tell a spike; 0 is off.")
        .integers(0, 65'536)
        .on_resume = OnResume::needs_allow;
    add("spike_z_score", &c.spike_z_score, "Standard deviations above the mean of the window that make a spike.")
        .above(0.0)
        .on_resume = OnResume::needs_allow;
    add("spike_action", &c.spike_action,
        "What happens to a step whose loss or gradient norm is a spike, beside the row: nothing, or it is not applied.")
        .one_of({"log", "skip"})
        .on_resume = OnResume::needs_allow;
  }

  std::vector<std::string> routing_types_;
  std::vector<Field> fields_;
  std::string prefix_;
  OnResume on_resume_ = OnResume::forbidden;
};

}  // namespace

const std::vector<Section>& config_sections() {
  static const std::vector<Section> sections = {
      {"run", "Where the run is written and what it is called."},
      {"model", "The network. Keys are named as in a Hugging Face `config.json`."},
      {"model.routing", "How tokens find their experts. Each method's own keys stand in its block."},
      {"model.routing.uoe", "Union-of-Experts: neurons of the experts bid for the token."},
      {"model.routing.aoe", "Autonomy-of-Experts: the norm of a low-rank gate bids for the token."},
      {"data", "Token files. The only block without a default."},
      {"optimizer", ""},
      {"schedule", "Learning rate over the steps."},
      {"train", ""},
      {"validation", ""},
      {"checkpoint", ""},
      {"parallel", "How several ranks share the work."},
  };
  return sections;
}

std::vector<Field> config_fields(Config& config, const std::vector<std::string>& routing_types) {
  Table table(routing_types);
  table.run(config.run);
  table.model(config.model);
  table.data(config.data);
  table.training(config);
  return table.take();
}

FileList file_list_of(const std::string& key) {
  if (key.rfind("data.validation", 0) == 0) return FileList::validation;
  return key.rfind("validation.tasks", 0) == 0 ? FileList::tasks : FileList::train;
}

std::vector<Field> data_file_fields(DataFile& file, FileList list) {
  Table table({});
  table.data_file(file, list);
  return table.take();
}

const std::vector<std::string>& known_routing_types() {
  static const std::vector<std::string> types = {"softmax", "uoe", "aoe"};
  return types;
}

}  // namespace artel

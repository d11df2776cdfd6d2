#include "huggingface/import.h"

#include <fstream>
#include <functional>

#include "checkpoint/safetensors.h"
#include "config/changes.h"
#include "huggingface/models.h"

using namespace artel;

namespace {

struct Layout {
  std::string keys;
  HfLayout layout;
};

const std::vector<Layout> layouts = {
    {moe_keys, HfLayout::mixtral},
    {moe_keys + ", qk_norm: true", HfLayout::qwen3_moe},
    {moe_keys + ", shared_expert_intermediate_size: 8", HfLayout::qwen2_moe},
    {dense_keys, HfLayout::llama},
    {dense_keys + ", qk_norm: true, tie_word_embeddings: true", HfLayout::qwen3},
    {moe_keys + ", shared_expert_intermediate_size: 4, routing: {type: uoe}", HfLayout::artel},
    {moe_keys + ", routing: {type: aoe}", HfLayout::artel},
};

Json json_file(const std::string& path) {
  return parse_json(read_file(path), path);
}

/// An exported model that a test damages.
class Victim {
 public:
  explicit Victim(const Layout& layout, std::int64_t max_shard_bytes = 1'000'000) {
    ExportOptions options = as_layout(layout.layout);
    options.max_shard_bytes = max_shard_bytes;
    path_ = exported(directory_, make_checkpoint(directory_.file("c"), small_config(layout.keys)), options);
  }

  const std::string& path() const { return path_; }
  /// The error of an import, which leaves nothing behind.
  std::string error(const std::vector<std::string>& overrides = {}) {
    const std::string text = error_text([&] { imported(directory_, path_, overrides); });
    PosixFileLayer files;
    CHECK_FALSE(files.exists(directory_.file("in/checkpoints/step-00000000")));
    CHECK_FALSE(files.exists(directory_.file("in/config.yaml")));
    CHECK(text.find('\n') == std::string::npos);
    return text;
  }
  void edit_config(const std::function<void(Json&)>& edit) {
    Json config = json_file(path_ + "/config.json");
    edit(config);
    std::ofstream(path_ + "/config.json") << dump_json(config);
  }
  /// Replaces bytes of a file once; both texts have one length.
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    std::string bytes = read_file(path_ + "/" + file);
    const std::size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    bytes.replace(at, from.size(), to);
    std::ofstream(path_ + "/" + file, std::ios::binary) << bytes;
  }
  void truncate(const std::string& file, std::size_t fewer) {
    const std::string bytes = read_file(path_ + "/" + file);
    std::ofstream(path_ + "/" + file, std::ios::binary) << bytes.substr(0, bytes.size() - fewer);
  }

 private:
  TemporaryDirectory directory_;
  std::string path_;
};

const Layout& mixtral = layouts[0];
const Layout& qwen2 = layouts[2];

}  // namespace

TEST_CASE("Export and import give every tensor back with equal bits, and the same model") {
  for (const Layout& layout : layouts) {
    for (const DType dtype : act_types) {
      INFO(hf_layout_name(layout.layout) << ' ' << dtype_name(dtype));
      const TemporaryDirectory directory;
      const Config config = small_config(layout.keys);
      const std::string before = make_checkpoint(directory.file("c"), config, dtype);
      ExportOptions options = as_layout(layout.layout);
      options.max_shard_bytes = 5000;
      const ImportResult result = imported(directory, exported(directory, before, options));
      PosixFileLayer files;
      const Checkpoint a(files, before);
      const Checkpoint b(files, result.checkpoint);
      CHECK(result.checkpoint == directory.file("in/checkpoints/step-00000000"));
      CHECK(b.step() == 0);
      REQUIRE(a.tensors().size() == b.tensors().size());
      for (const auto& [name, info] : a.tensors()) {
        INFO(name);
        CHECK(b.tensors().at(name).dtype == dtype);
        CHECK(whole_tensor(a, name) == whole_tensor(b, name));
      }
      CHECK(function_changes(checkpoint_config(a).model, checkpoint_config(b).model).empty());
      if (layout.layout == HfLayout::artel) CHECK(checkpoint_config(a).model == checkpoint_config(b).model);
      CHECK(checkpoint_config(b).model.max_position_embeddings == 12);
      if (dtype == DType::f32) CHECK(logits_of(before) == logits_of(result.checkpoint));
      CHECK(load_config(directory.file("in/config.yaml")).model == checkpoint_config(b).model);
    }
  }
}

TEST_CASE("Damage in a checkpoint is one line that names it") {
  const std::string gate = "model.layers.0.block_sparse_moe.gate.weight";
  SECTION("cut short") {
    Victim victim(mixtral);
    victim.truncate("model.safetensors", 4);
    expect_contains(victim.error(), "model.safetensors; the file is damaged or cut short");
  }
  SECTION("no weights") {
    Victim victim(mixtral);
    std::filesystem::remove(victim.path() + "/model.safetensors");
    expect_contains(victim.error(), "pytorch_model.bin");
  }
  SECTION("a missing tensor, and an unknown one") {
    Victim victim(mixtral);
    victim.replace("model.safetensors", gate, "model.layers.0.block_sparse_moe.gate.weighs");
    expect_contains(victim.error(), "required tensor " + gate + " [4, 16], found none");
  }
  SECTION("an unknown tensor") {
    Victim victim(layouts[3]);
    victim.edit_config([](Json& config) { config["num_hidden_layers"] = 1; });
    expect_contains(victim.error(), "found model.layers.1.");
  }
  SECTION("another shape") {
    Victim victim(mixtral);
    victim.edit_config([](Json& config) { config["intermediate_size"] = 11; });
    expect_contains(victim.error(),
                    "required tensor model.layers.0.block_sparse_moe.experts.0.w1.weight of shape "
                    "[11, 16] in f32 or bf16, found [12, 16] f32");
  }
  SECTION("a type that is not read") {
    Victim victim(mixtral);
    victim.replace("model.safetensors", R"("F32")", R"("F16")");
    expect_contains(victim.error(), "found \"F16\"");
  }
  SECTION("a shard that is gone") {
    Victim victim(mixtral, 5000);
    std::filesystem::remove(
        victim.path() + "/" +
        json_file(victim.path() + "/model.safetensors.index.json")["weight_map"][gate].get<std::string>());
    expect_contains(victim.error(), ".safetensors: No such file");
  }
  SECTION("an index that is wrong") {
    Victim victim(mixtral, 5000);
    Json index = json_file(victim.path() + "/model.safetensors.index.json");
    index["weight_map"]["lm_head.weight"] = index["weight_map"]["model.embed_tokens.weight"];
    std::ofstream(victim.path() + "/model.safetensors.index.json") << dump_json(index);
    expect_contains(victim.error(), "required tensor lm_head.weight in");
  }
  SECTION("a shared expert's gate that does something") {
    Victim victim(qwen2);
    const std::string bytes = read_file(victim.path() + "/model.safetensors");
    const SafetensorsIndex index = parse_safetensors(bytes.data(), bytes.size(), "file");
    const SafetensorsEntry* entry = index.find("model.layers.1.mlp.shared_expert_gate.weight");
    REQUIRE(entry != nullptr);
    std::fstream file(victim.path() + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(index.data_offset + entry->begin + 5));
    file.put('\x01');
    file.close();
    expect_contains(victim.error(), "required zeros in model.layers.1.mlp.shared_expert_gate.weight");
  }
  SECTION("no config.json") {
    Victim victim(mixtral);
    std::filesystem::remove(victim.path() + "/config.json");
    expect_contains(victim.error(), "found no " + victim.path() + "/config.json");
  }
}

TEST_CASE("A config.json that asks for what Artel does not compute is refused by the key's name") {
  const std::vector<std::pair<std::string, Json>> changes = {
      {"hidden_act", "gelu"},
      {"attention_bias", true},
      {"sliding_window", 4096},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e6}}},
      {"clip_qkv", 8.0},
      {"quantization_config", {{"bits", 4}}},
      {"layer_types", {"full_attention", "sliding_attention"}},
      {"model_type", "gpt2"},
      {"num_attention_heads", "four"},
      {"num_key_value_heads", 3},
      {"vocab_size", -1},
  };
  for (const auto& change : changes) {
    INFO(change.first);
    Victim victim(mixtral);
    victim.edit_config([&](Json& config) { config[change.first] = change.second; });
    expect_contains(victim.error(), change.first);
  }
  Victim victim(mixtral);
  victim.edit_config([](Json& config) { config.erase("hidden_size"); });
  expect_contains(victim.error(), "hidden_size");
}

TEST_CASE("config.json of later versions says positions and numbers of experts elsewhere") {
  Victim renamed(layouts[1]);
  renamed.edit_config([](Json& config) {
    config["num_local_experts"] = config["num_experts"];
    config.erase("num_experts");
  });
  PosixFileLayer files;
  CHECK(read_hf_config(files, renamed.path()).model.num_experts == 4);

  Victim victim(mixtral);
  victim.edit_config([](Json& config) {
    config.erase("rope_theta");
    config.erase("rope_scaling");
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1234.0}};
  });
  CHECK(read_hf_config(files, victim.path()).model.rope_theta == 1234.0);
}

TEST_CASE("Keys of the config that are at odds with the source are refused by name") {
  Victim victim(mixtral);
  const std::string text = victim.error({"model.hidden_size=32", "model.norm_topk_prob=false"});
  expect_contains(text, "model.hidden_size 16, found 32");
  expect_contains(text, "model.norm_topk_prob true, found false");
  expect_contains(victim.error({"model.routing.type=aoe"}), "model.routing.type softmax, found aoe");
}

TEST_CASE("An import does not write over a run, and takes keys of training from the config") {
  const TemporaryDirectory directory;
  const std::string from =
      exported(directory, make_checkpoint(directory.file("c"), small_config(moe_keys)), as_layout(HfLayout::mixtral));
  const ImportResult result = imported(
      directory, from, {"model.max_position_embeddings=8", "model.router_aux_loss_coef=0.5", "optimizer.lr=1"});
  PosixFileLayer files;
  const Config config = checkpoint_config(Checkpoint(files, result.checkpoint));
  CHECK(config.model.max_position_embeddings == 8);
  CHECK(config.model.router_aux_loss_coef == 0.5);
  CHECK(config.optimizer.lr == 1.0);
  expect_contains(error_text([&] { imported(directory, from); }), "an output without a run");
}

#include "huggingface/export.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "checkpoint/safetensors.h"
#include "huggingface/models.h"
#include "huggingface/weights.h"
#include "support/failing_file_layer.h"

using namespace artel;

namespace {

const std::string shared_keys = moe_keys + ", shared_expert_intermediate_size: 8";

std::vector<float> floats_of(const SafetensorsDirectory::TensorInfo& info) {
  std::vector<float> values(info.bytes / sizeof(float));
  std::memcpy(values.data(), info.data, info.bytes);
  return values;
}

Json json_file(const std::string& path) {
  return parse_json(read_file(path), path);
}

}  // namespace

TEST_CASE("The file of a tiny model has these bytes") {
  const TemporaryDirectory directory;
  const Config config = parse_config(
      "model: {vocab_size: 2, hidden_size: 2, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, "
      "num_experts: 0, intermediate_size: 1, tie_word_embeddings: true}\ndata: {train: [{path: unused.bin}]}\n",
      "tiny.yaml");
  const std::string checkpoint = make_checkpoint(directory.file("c"), config);
  const std::string bytes =
      read_file(exported(directory, checkpoint, as_layout(HfLayout::llama)) + "/model.safetensors");
  std::string header =
      R"({"__metadata__":{"format":"pt"},)"
      R"("model.embed_tokens.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("model.layers.0.input_layernorm.weight":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},)"
      R"("model.layers.0.self_attn.q_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[24,40]},)"
      R"("model.layers.0.self_attn.k_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[40,56]},)"
      R"("model.layers.0.self_attn.v_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[56,72]},)"
      R"("model.layers.0.self_attn.o_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[72,88]},)"
      R"("model.layers.0.post_attention_layernorm.weight":{"dtype":"F32","shape":[2],"data_offsets":[88,96]},)"
      R"("model.layers.0.mlp.gate_proj.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[96,104]},)"
      R"("model.layers.0.mlp.up_proj.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[104,112]},)"
      R"("model.layers.0.mlp.down_proj.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[112,120]},)"
      R"("model.norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[120,128]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  REQUIRE(bytes.size() == 8 + header.size() + 128);
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size() & 0xff);
  length[1] = static_cast<char>(header.size() >> 8);
  CHECK(bytes.substr(0, 8) == length);
  CHECK(bytes.substr(8, header.size()) == header);
  PosixFileLayer files;
  const Checkpoint stored(files, checkpoint);
  CHECK(bytes.substr(8 + header.size(), 16) == whole_tensor(stored, "model.embed_tokens.weight"));
  CHECK(bytes.substr(bytes.size() - 8) == whole_tensor(stored, "model.norm.weight"));
}

TEST_CASE("An export has the files that transformers looks for") {
  const TemporaryDirectory directory;
  const std::string checkpoint = make_checkpoint(directory.file("c"), small_config(moe_keys));
  ExportOptions options = as_layout(HfLayout::mixtral);
  options.ids = {0, 3};
  options.tokenizer = {{"tokenizer.json", byte_tokenizer_json()}};
  const std::string out = exported(directory, checkpoint, options);
  PosixFileLayer files;
  CHECK(files.list(out) ==
        std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"});
  const Json config = json_file(out + "/config.json");
  CHECK(config["architectures"] == Json({"MixtralForCausalLM"}));
  CHECK(config["model_type"] == "mixtral");
  CHECK(config["num_local_experts"] == 4);
  CHECK(config["intermediate_size"] == 12);
  CHECK(config["num_experts_per_tok"] == 2);
  CHECK(config["head_dim"] == 4);
  CHECK(config["rope_theta"] == 500.0);
  CHECK(config["sliding_window"].is_null());
  CHECK(config["torch_dtype"] == "float32");
  CHECK(config["eos_token_id"] == 3);
  CHECK(json_file(out + "/generation_config.json")["eos_token_id"] == 3);

  for (const bool norm : {false, true}) {
    const Config qwen3 = small_config(
        "num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, qk_norm: true, norm_topk_prob: " +
        std::string(norm ? "true" : "false"));
    const std::string name = norm ? "normed" : "unnormed";
    const std::string made = make_checkpoint(directory.file("c-" + name), qwen3);
    CHECK(json_file(exported(directory, made, as_layout(HfLayout::qwen3_moe), name) +
                    "/config.json")["norm_topk_prob"] == norm);
  }

  const std::string own = exported(directory, checkpoint, as_layout(HfLayout::artel), "own");
  CHECK(json_file(own + "/config.json")["auto_map"]["AutoModelForCausalLM"] == "modeling_artel.ArtelForCausalLM");
  CHECK(json_file(own + "/config.json")["routing"]["type"] == "softmax");
  for (const char* name : {"configuration_artel.py", "modeling_artel.py"}) {
    CHECK(read_file(own + "/" + name) == read_file(std::string(ARTEL_SOURCE_DIR) + "/tools/hf/" + name));
  }
}

TEST_CASE("Shards hold every tensor once, in order, none above the limit unless alone, and the index names them") {
  const TemporaryDirectory directory;
  const Config model = small_config(moe_keys);
  const std::string checkpoint = make_checkpoint(directory.file("c"), model);
  const std::string whole = exported(directory, checkpoint, as_layout(HfLayout::mixtral), "whole");
  ExportOptions options = as_layout(HfLayout::mixtral);
  options.max_shard_bytes = 1200;  // below the embedding's 1280
  const std::string parts = exported(directory, checkpoint, options, "parts");
  PosixFileLayer files;
  std::vector<std::string> shards;
  for (const std::string& name : files.list(parts)) {
    if (name.size() > 12 && name.substr(name.size() - 12) == ".safetensors") shards.push_back(name);
  }
  REQUIRE(shards.size() > 5);
  char last[64];
  std::snprintf(last, sizeof last, "model-%05zu-of-%05zu.safetensors", shards.size(), shards.size());
  CHECK(shards.back() == last);
  CHECK_FALSE(files.exists(parts + "/model.safetensors"));
  for (const std::string& name : shards) {
    const MappedFile file(parts + "/" + name);
    const SafetensorsIndex index = parse_safetensors(file.data(), file.size(), name);
    CHECK((index.entries.size() == 1 || file.size() - index.data_offset <= 1200));
  }
  const Json index = json_file(parts + "/model.safetensors.index.json");
  const SafetensorsDirectory one(files, whole);
  const SafetensorsDirectory many(files, parts);
  CHECK(index["weight_map"].size() == one.tensors().size());
  std::size_t bytes = 0;
  for (const auto& [name, info] : one.tensors()) {
    const auto& other = many.tensors().at(name);
    CHECK(std::equal(info.data, info.data + info.bytes, other.data, other.data + other.bytes));
    CHECK(other.file == parts + "/" + index["weight_map"][name].get<std::string>());
    bytes += info.bytes;
  }
  CHECK(index["metadata"]["total_size"] == bytes);
}

TEST_CASE("fp32 of a bf16 run are its masters, bf16 of an fp32 run is rounded") {
  const TemporaryDirectory directory;
  const Config config = small_config(dense_keys);
  const Shape shape{16};
  std::vector<float> master(16, 1.0F / 3.0F);
  TensorPiece piece{"optimizer.master.model.norm.weight", shape, DType::f32, {0}, shape, {}};
  piece.bytes.resize(64);
  std::memcpy(piece.bytes.data(), master.data(), 64);
  const std::string half = make_checkpoint(directory.file("half"), config, DType::bf16, {piece});
  PosixFileLayer files;
  ExportOptions options = as_layout(HfLayout::llama);
  const SafetensorsDirectory as_stored(files, exported(directory, half, options, "a"));
  CHECK(as_stored.tensors().at("model.norm.weight").dtype == DType::bf16);
  options.dtype = DType::f32;
  const SafetensorsDirectory fp32(files, exported(directory, half, options, "b"));
  CHECK(floats_of(fp32.tensors().at("model.norm.weight")) == master);

  options.dtype = DType::bf16;
  const std::string full = make_checkpoint(directory.file("full"), config);
  const SafetensorsDirectory rounded_down(files, exported(directory, full, options, "c"));
  const Checkpoint stored(files, full);
  const std::string bytes = whole_tensor(stored, "lm_head.weight");
  float first = 0.0F;
  std::memcpy(&first, bytes.data(), sizeof first);
  std::uint16_t bits = 0;
  std::memcpy(&bits, rounded_down.tensors().at("lm_head.weight").data, sizeof bits);
  CHECK(bits == to_bf16(first).bits);
}

TEST_CASE("A shared expert is doubled behind a gate of one half") {
  const TemporaryDirectory directory;
  const std::string checkpoint = make_checkpoint(directory.file("c"), small_config(shared_keys));
  PosixFileLayer files;
  const SafetensorsDirectory out(files, exported(directory, checkpoint, as_layout(HfLayout::qwen2_moe)));
  const Checkpoint stored(files, checkpoint);
  const std::string name = "model.layers.1.mlp.shared_expert.down_proj.weight";
  const std::string bytes = whole_tensor(stored, name);
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  for (float& value : values) value *= 2.0F;
  CHECK(floats_of(out.tensors().at(name)) == values);
  for (const char* zero : {"model.layers.1.mlp.shared_expert_gate.weight", "model.layers.0.self_attn.v_proj.bias"}) {
    const std::vector<float> zeros = floats_of(out.tensors().at(zero));
    CHECK(std::count(zeros.begin(), zeros.end(), 0.0F) == static_cast<std::ptrdiff_t>(zeros.size()));
  }
  CHECK(out.tensors().at("model.layers.1.mlp.shared_expert_gate.weight").shape == Shape{1, 16});
  CHECK(out.tensors().at("model.layers.0.self_attn.v_proj.bias").shape == Shape{8});
}

TEST_CASE("What an export that died has left is removed by the next one of this name, and by no other") {
  const TemporaryDirectory directory;
  const std::string checkpoint = make_checkpoint(directory.file("c"), small_config(moe_keys));
  PosixFileLayer files;
  for (const char* name : {".tmp-out", ".tmp-other"}) {
    files.make_directory(directory.file(name));
    std::ofstream(directory.file(name) + "/model-00001-of-00009.safetensors") << "left over";
  }
  const std::string out = exported(directory, checkpoint, as_layout(HfLayout::mixtral));
  CHECK(files.list(out) == std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors"});
  CHECK(files.list(directory.path()) == std::vector<std::string>{".tmp-other", "c", "out"});
}

TEST_CASE("An export refuses an output that is there, tensors without a place, and sizes that are none") {
  const TemporaryDirectory directory;
  const Config config = small_config(moe_keys);
  const std::string checkpoint = make_checkpoint(directory.file("c"), config);
  const auto refusal = [&](const std::string& from, const std::string& name) {
    return error_text([&] { exported(directory, from, as_layout(HfLayout::mixtral), name); });
  };
  PosixFileLayer files;
  files.make_directory(directory.file("there"));
  expect_contains(refusal(checkpoint, "there"), "an output that does not exist");
  const TensorPiece state{"router_state.model.layers.0.mlp.bias", {1}, DType::f32, {0}, {1}, {0, 0, 0, 0}};
  const std::string stateful = make_checkpoint(directory.file("s"), config, DType::f32, {state});
  expect_contains(refusal(stateful, "a"), "router_state.model.layers.0.mlp.bias");
  const std::string other = make_checkpoint(directory.file("d"), small_config(dense_keys));
  const Checkpoint dense(files, other);
  expect_contains(error_text([&] {
                    export_checkpoint(files, dense, config.model, as_layout(HfLayout::mixtral), directory.file("b"));
                  }),
                  "required tensor model.layers.0.mlp.gate.weight");
  CHECK_FALSE(files.exists(directory.file("a")));
  CHECK_FALSE(files.exists(directory.file("b")));

  CHECK(parse_byte_size("5GB", "--max-shard-size") == 5'000'000'000);
  CHECK(parse_byte_size("2GiB", "--max-shard-size") == std::int64_t{2} << 30);
  CHECK(parse_byte_size("123", "--max-shard-size") == 123);
  for (const char* bad : {"", "0", "-1", "5 GB", "GB", "1e9", "99999999999999999999", "9999999999GB", "5gb"}) {
    INFO(bad);
    expect_contains(error_text([&] { parse_byte_size(bad, "--max-shard-size"); }), "--max-shard-size");
  }
}

TEST_CASE("An export that cannot be finished leaves nothing under its name") {
  const TemporaryDirectory directory;
  const std::string path = make_checkpoint(directory.file("c"), small_config(moe_keys));
  PosixFileLayer posix;
  const Checkpoint checkpoint(posix, path);
  const Config config = checkpoint_config(checkpoint);
  for (int call = 0; call < 200; ++call) {
    FailingFileLayer files(posix, call, FailingFileLayer::Fault::error);
    const std::string text = error_text([&] {
      export_checkpoint(files, checkpoint, config.model, as_layout(HfLayout::mixtral), directory.file("out"));
    });
    if (text == "(no error)") {
      CHECK(call > 20);
      return;
    }
    CHECK(posix.list(directory.path()).size() == (posix.exists(directory.file("out")) ? 2 : 1));
    // Only the last call, which makes the name durable, comes behind the rename.
    if (posix.exists(directory.file("out"))) {
      expect_contains(text, "fsync");
      CHECK(posix.exists(directory.file("out") + "/config.json"));
      posix.remove(directory.file("out"));
    }
  }
  FAIL("no end of calls");
}

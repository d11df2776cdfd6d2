#pragma once
// Checkpoints of small models, made without training, and what their models compute.

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/parameters.h"
#include "checkpoint/store.h"
#include "config/yaml.h"
#include "huggingface/export.h"
#include "huggingface/import.h"
#include "model/transformer.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "support/tensors.h"
#include "support/test_device.h"
#include "train/load_model.h"

namespace artel {

inline const std::string moe_keys =
    "num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, norm_topk_prob: true";
inline const std::string dense_keys = "num_experts: 0, intermediate_size: 24";

/// A model of two layers; `keys` are those of its feed-forward part, and others.
inline Config small_config(const std::string& keys) {
  return parse_config(
      "model: {vocab_size: 20, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, "
      "max_position_embeddings: 12, rope_theta: 500.0, " +
          keys + "}\ndata: {train: [{path: unused.bin}]}\n",
      "small.yaml");
}

/// Writes a checkpoint of random weights, norms included, under `directory` and returns its path.
inline std::string make_checkpoint(const std::string& directory, const Config& config, DType dtype = DType::f32,
                                   std::vector<TensorPiece> more = {}) {
  Snapshot snapshot;
  snapshot.config = config_json(config);
  snapshot.pieces = std::move(more);
  for (const HfTensor& tensor : stored_tensors(config.model)) {
    std::vector<double> values = random_values(tensor.source, usize(tensor.shape.numel()), 0.1);
    if (tensor.shape.rank() == 1) {
      for (double& value : values) value += 1.0;
    }
    HostAllocator allocator;
    const Tensor made = tensor_of(allocator, tensor.shape, dtype, values);
    const std::string bytes = bytes_of(made);
    Shape begin;
    for (int i = 0; i < tensor.shape.rank(); ++i) begin.push_back(0);
    snapshot.pieces.push_back({tensor.source, tensor.shape, dtype, begin, tensor.shape, {bytes.begin(), bytes.end()}});
  }
  PosixFileLayer files;
  return save_checkpoint(files, directory, snapshot, 0);
}

/// Logits [12 · 20] of the model of a checkpoint on some ids, in f32.
inline std::vector<double> logits_of(const std::string& path) {
  PosixFileLayer files;
  const Checkpoint checkpoint(files, path);
  const Config config = checkpoint_config(checkpoint);
  TestDevice device(1);
  Context context = device.context();
  const auto world = make_self_communicator();
  Transformer model(config.model, *world);
  model.allocate(context, DType::f32);
  load_model(context, checkpoint, model);
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < 12; ++i) ids.push_back((i * 7 + i / 3) % 20);
  Tensor tensor = context.empty({12}, DType::i32);
  context.backend.upload(ids.data(), tensor);
  return values_of(model.logits(context, tensor, 1));
}

inline std::string whole_tensor(const Checkpoint& checkpoint, const std::string& name) {
  const Checkpoint::TensorInfo& info = checkpoint.tensors().at(name);
  Shape begin;
  for (int i = 0; i < info.shape.rank(); ++i) begin.push_back(0);
  std::string bytes(usize(info.shape.numel()) * dtype_size(info.dtype), '\0');
  checkpoint.read(name, begin, info.shape, bytes.data());
  return bytes;
}

/// Exports to directory/NAME and returns that path.
inline std::string exported(const TemporaryDirectory& directory, const std::string& checkpoint_path,
                            ExportOptions options, const std::string& name = "out") {
  PosixFileLayer files;
  const Checkpoint checkpoint(files, checkpoint_path);
  const Config config = checkpoint_config(checkpoint);
  export_checkpoint(files, checkpoint, config.model, options, directory.file(name));
  return directory.file(name);
}

inline ExportOptions as_layout(HfLayout layout) {
  ExportOptions options;
  options.layout = layout;
  return options;
}

/// Imports `from` with this config's keys over the source's, to directory/NAME; returns the checkpoint's path.
inline ImportResult imported(const TemporaryDirectory& directory, const std::string& from,
                             const std::vector<std::string>& overrides = {}, const std::string& name = "in") {
  PosixFileLayer files;
  const HfConfig source = read_hf_config(files, from);
  const Config config = parse_config("data: {train: [{path: unused.bin}]}\n", "import.yaml", overrides,
                                     ParseOptions{.base = base_config(source)});
  return import_checkpoint(files, from, source, config, std::nullopt, directory.file(name));
}

}  // namespace artel

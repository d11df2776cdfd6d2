#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "huggingface/model_config.h"
#include "huggingface/tokenizer_files.h"

namespace artel {

struct ExportOptions {
  HfLayout layout = HfLayout::artel;
  std::optional<DType> dtype;  ///< none: the type of the checkpoint's model tensors
  std::int64_t max_shard_bytes = 5'000'000'000;
  SpecialIds ids;
  std::vector<TextFile> tokenizer;  ///< files to write beside the model
};

struct ExportResult {
  std::int64_t num_tensors = 0;
  std::int64_t bytes = 0;  ///< of all tensors
  std::int64_t num_shards = 0;
  DType dtype = DType::f32;
};

/// "5GB" (10^9), "500MB", "2GiB" (2^30) or a number of bytes, 1 at least. Errors: anything else, naming `option`.
std::int64_t parse_byte_size(const std::string& text, const char* option);

/// Writes the model of a checkpoint as a Hugging Face checkpoint: tensors under the layout's names in one
/// model.safetensors or in shards with an index, config.json, generation_config.json, the tokenizer, and for the artel
/// layout the modelling code. Written beside `output` under a temporary name, fsynced, renamed. f32 of a bf16 run are
/// its masters. One tensor is in memory at a time.
/// Errors: an output that is there; a model that the layout does not express; tensors that are missing, damaged, or
/// that the layout has no place for.
ExportResult export_checkpoint(FileLayer& files, const Checkpoint& checkpoint, const ModelConfig& model,
                               const ExportOptions& options, const std::string& output);

}  // namespace artel

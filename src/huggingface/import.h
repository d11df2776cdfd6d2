#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/schema.h"
#include "huggingface/model_config.h"
#include "huggingface/weights.h"
#include "util/files.h"

namespace artel {

/// config.json of the checkpoint in `directory`. Errors: those of parse_hf_config; none there.
HfConfig read_hf_config(FileLayer& files, const std::string& directory);

/// The keys of the model block that say what the source's weights compute, as a config to start from; all keys of a
/// source of Artel's own layout.
Json base_config(const HfConfig& source);

struct ImportResult {
  std::string checkpoint;  ///< path
  std::int64_t num_tensors = 0;
  std::int64_t num_parameters = 0;
  DType dtype = DType::f32;
  std::string upcycled;  ///< describe_upcycle; empty: the source's model as it is
};

/// Writes a checkpoint of step 0, of weights alone, to OUTPUT/checkpoints, and the config to OUTPUT/config.yaml.
/// `config`: of the run; its model is the source's, or has experts where the source is dense. `dtype`: none: the
/// source's. About a gigabyte of tensors is in memory at a time.
/// Errors: an output that is there; keys of the model that differ from the source's, by name; those of HfWeights and
/// plan_upcycle; damage.
ImportResult import_checkpoint(FileLayer& files, const std::string& directory, const HfConfig& source,
                               const Config& config, std::optional<DType> dtype, const std::string& output);

}  // namespace artel

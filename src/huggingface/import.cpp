#include "huggingface/import.h"

#include <cstring>

#include "checkpoint/convert.h"
#include "checkpoint/layout.h"
#include "checkpoint/store.h"
#include "config/changes.h"
#include "config/yaml.h"
#include "huggingface/upcycle.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Tensors are written file by file; so many bytes make one.
constexpr std::size_t part_bytes = std::size_t{1} << 30;

/// Keys in which a model with experts may differ from the dense one that it is made of.
bool is_about_experts(const std::string& key) {
  for (const char* name : {"num_experts", "num_experts_per_tok", "moe_intermediate_size", "intermediate_size",
                           "shared_expert_intermediate_size", "norm_topk_prob", "routed_scaling_factor", "routing"}) {
    if (allows_change({concat("model.", name)}, key)) return true;
  }
  return false;
}

void check_target(const ModelConfig& source, const ModelConfig& target, bool upcycles, const std::string& directory) {
  std::vector<ConfigChange> changes = function_changes(source, target);
  std::erase_if(changes, [&](const ConfigChange& change) { return upcycles && is_about_experts(change.key); });
  if (changes.empty()) return;
  std::vector<std::string> texts;
  for (const ConfigChange& change : changes) {
    texts.push_back(concat(change.key, " ", change.before, ", found ", change.after));
  }
  fail("import",
       concat("required the model of ", directory, ": ", join(texts, "; "), "; leave these keys out of the config"));
}

std::vector<std::uint8_t> stored_as(const std::vector<float>& values, DType dtype) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  std::vector<std::uint8_t> converted;
  convert_elements(bytes, DType::f32, dtype, converted);
  return converted;
}

/// Writes tensors as the shares of a checkpoint's ranks, a part at a time.
class PartWriter {
 public:
  PartWriter(FileLayer& files, std::string directory, Snapshot head)
      : files_(files), directory_(std::move(directory)), part_(std::move(head)) {
    prepare_checkpoint(files_, directory_, part_.step);
  }

  void add(const HfTensor& tensor, DType dtype, std::vector<std::uint8_t> bytes) {
    bytes_ += bytes.size();
    const Rectangle whole = whole_rectangle(tensor.shape);
    part_.pieces.push_back({tensor.source, tensor.shape, dtype, whole.begin, whole.end, std::move(bytes)});
    if (bytes_ >= part_bytes) write();
  }

  std::string commit() {
    if (!part_.pieces.empty()) write();
    return commit_shares(files_, directory_, part_, shares_, 0);
  }

 private:
  void write() {
    shares_.push_back(write_share(files_, directory_, part_, static_cast<int>(shares_.size())));
    part_.pieces.clear();
    bytes_ = 0;
  }

  FileLayer& files_;
  std::string directory_;
  Snapshot part_;
  std::size_t bytes_ = 0;
  std::vector<std::string> shares_;
};

Snapshot head_of(const Config& config, const std::string& directory) {
  Snapshot head;
  head.config = config_json(config);
  head.data = {{"next_sample", 0}};
  head.world = {{"size", 1}, {"expert", 1}};
  head.trainer = {{"seconds", 0.0}, {"attempt", 0}, {"artel", ARTEL_VERSION}, {"imported_from", directory}};
  return head;
}

}  // namespace

HfConfig read_hf_config(FileLayer& files, const std::string& directory) {
  const std::string path = join_path(directory, "config.json");
  if (!files.exists(path)) {
    fail("import", concat("required a directory with config.json and safetensors files, found no ", path));
  }
  return parse_hf_config(parse_json(files.read(path), path), path);
}

Json base_config(const HfConfig& source) {
  Config config;
  config.model = source.model;
  const Json all = config_json(config)["model"];
  Json base;
  if (source.layout == HfLayout::artel && source.model.num_experts > 0) {  // which says everything
    base["model"] = all;
    return base;
  }
  Json model;
  for (const auto& [key, value] : all.items()) {
    if (key == "routing" || !defines_function(source.model, concat("model.", key))) continue;
    model[key] = value;
  }
  model["max_position_embeddings"] = source.model.max_position_embeddings;
  model["initializer_range"] = source.model.initializer_range;
  const std::string& type = source.model.routing.type;
  if (source.model.num_experts > 0) {
    model["routing"]["type"] = type;
    if (all["routing"].contains(type)) model["routing"][type] = all["routing"][type];
  }
  base["model"] = std::move(model);
  return base;
}

ImportResult import_checkpoint(FileLayer& files, const std::string& directory, const HfConfig& source,
                               const Config& config, std::optional<DType> dtype, const std::string& output) {
  const std::string checkpoints = join_path(output, "checkpoints");
  if (files.exists(checkpoints) || files.exists(join_path(output, "config.yaml"))) {
    fail("import", concat("required an output without a run, found one in ", output, "; name another or remove it"));
  }
  const bool upcycles = source.model.num_experts == 0 && config.model.num_experts > 0;
  check_target(source.model, config.model, upcycles, directory);
  const HfWeights weights(SafetensorsDirectory(files, directory), source.model, source.layout, source.with_biases);
  ImportResult result;
  result.dtype = dtype.value_or(weights.dtype());
  const UpcyclePlan plan = upcycles ? plan_upcycle(source.model, config.model) : UpcyclePlan();
  if (upcycles) result.upcycled = describe_upcycle(plan, config.model);
  const ReadDense read = [&](const std::string& name) { return weights.read_floats(name); };

  try {
    PartWriter writer(files, checkpoints, head_of(config, directory));
    for (const HfTensor& tensor : stored_tensors(config.model)) {
      writer.add(tensor, result.dtype,
                 upcycles ? stored_as(upcycled_tensor(plan, source.model, config.model, config.run.seed, tensor, read),
                                      result.dtype)
                          : weights.read(tensor.source, result.dtype));
      ++result.num_tensors;
      result.num_parameters += tensor.shape.numel();
    }
    write_file_atomic(files, join_path(output, "config.yaml"), dump_config(config));
    result.checkpoint = writer.commit();
  } catch (const Error&) {
    files.remove(checkpoints);
    files.remove(join_path(output, "config.yaml"));
    throw;
  }
  return result;
}

}  // namespace artel

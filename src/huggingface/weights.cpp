#include "huggingface/weights.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "checkpoint/convert.h"
#include "checkpoint/safetensors.h"
#include "util/error.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

// A table that old checkpoints hold and that follows from config.json.
bool is_derived(std::string_view name) {
  constexpr std::string_view end = ".rotary_emb.inv_freq";
  return name.size() >= end.size() && name.substr(name.size() - end.size()) == end;
}

}  // namespace

struct SafetensorsDirectory::File {
  explicit File(const std::string& path) : mapped(path), index(parse_safetensors(mapped.data(), mapped.size(), path)) {}

  MappedFile mapped;
  SafetensorsIndex index;
};

SafetensorsDirectory::SafetensorsDirectory(FileLayer& files, const std::string& directory) : path_(directory) {
  if (files.exists(join_path(directory, index_file))) {
    read_index(files);
  } else if (files.exists(join_path(directory, single_file))) {
    add_file(single_file);
  } else {
    fail("import", concat("required ", single_file, " or ", index_file, ", found neither in ", directory,
                          "; pickled weights (pytorch_model.bin) are not read"));
  }
}

SafetensorsDirectory::~SafetensorsDirectory() = default;
SafetensorsDirectory::SafetensorsDirectory(SafetensorsDirectory&&) noexcept = default;

void SafetensorsDirectory::read_index(FileLayer& files) {
  const std::string path = join_path(path_, index_file);
  const SortedJson index = parse_sorted_json(files.read(path), path);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    fail("import", concat("required an object \"weight_map\", found none in ", path));
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos) {
      fail("import", concat("required the name of a file beside the index, found ", excerpt_json(file), " for tensor ",
                            tensor, " in ", path));
    }
    names.insert(file.get<std::string>());
  }
  for (const std::string& name : names) add_file(name);
  for (const auto& [tensor, file] : map->items()) {
    const auto found = tensors_.find(tensor);
    const std::string wanted = join_path(path_, file.get<std::string>());
    if (found == tensors_.end() || found->second.file != wanted) {
      fail("import", concat("required tensor ", tensor, " in ", wanted, ", as ", path, " says, found none there"));
    }
  }
}

void SafetensorsDirectory::add_file(const std::string& name) {
  const std::string path = join_path(path_, name);
  files_.push_back(std::make_unique<File>(path));
  const File& file = *files_.back();
  for (const SafetensorsEntry& entry : file.index.entries) {
    const TensorInfo info{entry.shape, entry.dtype, file.mapped.data() + file.index.data_offset + entry.begin,
                          static_cast<std::size_t>(entry.end - entry.begin), path};
    const auto [place, added] = tensors_.emplace(entry.key, info);
    if (!added) {
      fail("import",
           concat("required every tensor once, found ", entry.key, " in ", place->second.file, " and ", path));
    }
  }
}

HfWeights::HfWeights(SafetensorsDirectory directory, const ModelConfig& model, HfLayout layout, bool with_biases)
    : directory_(std::move(directory)) {
  std::set<std::string> known;
  for (const HfTensor& tensor : hf_tensors(model, layout, with_biases)) {
    check(tensor);
    known.insert(tensor.name);
    if (!tensor.source.empty()) by_source_[tensor.source] = tensor;
  }
  for (const auto& [name, info] : directory_.tensors()) {
    if (known.count(name) > 0 || is_derived(name)) continue;
    fail("import", concat("required the tensors of the layout ", hf_layout_name(layout), " alone, found ", name, " ",
                          info.shape.to_string(), " in ", info.file, ", for which the model has no place"));
  }
}

void HfWeights::check(const HfTensor& tensor) const {
  const auto found = directory_.tensors().find(tensor.name);
  if (found == directory_.tensors().end()) {
    fail("import",
         concat("required tensor ", tensor.name, " ", tensor.shape.to_string(), ", found none in ", directory_.path()));
  }
  const SafetensorsDirectory::TensorInfo& info = found->second;
  if (!(info.shape == tensor.shape) || !is_convertible(info.dtype, DType::f32)) {
    fail("import", concat("required tensor ", tensor.name, " of shape ", tensor.shape.to_string(), " in f32 or bf16, ",
                          "found ", info.shape.to_string(), " ", dtype_name(info.dtype), " in ", info.file));
  }
  if (!tensor.source.empty()) return;
  if (std::any_of(info.data, info.data + info.bytes, [](std::uint8_t byte) { return byte != 0; })) {
    fail("import",
         concat("required zeros in ", tensor.name, ", which Artel's models do not have, found others in ", info.file));
  }
}

DType HfWeights::dtype() const {
  return directory_.tensors().at(by_source_.at("model.embed_tokens.weight").name).dtype;
}

std::vector<std::uint8_t> HfWeights::read(const std::string& stored_name, DType dtype) const {
  const HfTensor& tensor = by_source_.at(stored_name);
  const SafetensorsDirectory::TensorInfo& info = directory_.tensors().at(tensor.name);
  std::vector<std::uint8_t> values;
  convert_elements({info.data, info.data + info.bytes}, info.dtype, dtype, values);
  if (tensor.scale != 1.0F) scale_elements(values, dtype, 1.0F / tensor.scale);
  return values;
}

std::vector<float> HfWeights::read_floats(const std::string& stored_name) const {
  const std::vector<std::uint8_t> bytes = read(stored_name, DType::f32);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace artel

#include "huggingface/export.h"

#include <charconv>
#include <cstdio>
#include <set>

#include "checkpoint/convert.h"
#include "checkpoint/layout.h"
#include "checkpoint/safetensors.h"
#include "huggingface/modelling_files.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* master_prefix = "optimizer.master.";
constexpr const char* optimizer_prefix = "optimizer.";

std::int64_t tensor_bytes(const HfTensor& tensor, DType dtype) {
  return tensor.shape.numel() * static_cast<std::int64_t>(dtype_size(dtype));
}

struct Shard {
  std::string name;
  std::vector<HfTensor> tensors;
};

/// Tensors in their order, a new file where the next one would go beyond the limit.
std::vector<Shard> plan_shards(const std::vector<HfTensor>& tensors, DType dtype, std::int64_t max_bytes) {
  std::vector<Shard> shards(1);
  std::int64_t bytes = 0;
  for (const HfTensor& tensor : tensors) {
    const std::int64_t more = tensor_bytes(tensor, dtype);
    if (bytes > 0 && more > max_bytes - bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().tensors.push_back(tensor);
    bytes += more;
  }
  if (shards.size() == 1) {
    shards[0].name = "model.safetensors";
    return shards;
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    shards[i].name = name;
  }
  return shards;
}

std::string index_json(const std::vector<Shard>& shards, std::int64_t bytes) {
  SortedJson map = SortedJson::object();
  for (const Shard& shard : shards) {
    for (const HfTensor& tensor : shard.tensors) map[tensor.name] = shard.name;
  }
  SortedJson json;
  json["metadata"] = {{"total_size", bytes}};
  json["weight_map"] = std::move(map);
  return json.dump(2) + "\n";
}

/// Reads the tensors of a layout out of a checkpoint.
class Source {
 public:
  Source(const Checkpoint& checkpoint, std::optional<DType> wanted) : checkpoint_(checkpoint) {
    const auto first = checkpoint.tensors().find("model.embed_tokens.weight");
    if (first == checkpoint.tensors().end()) {
      fail("export", concat("required tensor model.embed_tokens.weight, found none in ", checkpoint.path()));
    }
    dtype_ = wanted.value_or(first->second.dtype);
  }

  DType dtype() const { return dtype_; }

  /// Errors: a tensor that is missing or has another shape; one that the export would lose.
  void check(const std::vector<HfTensor>& tensors) const {
    std::set<std::string> used;
    for (const HfTensor& tensor : tensors) {
      if (tensor.source.empty()) continue;
      used.insert(tensor.source);
      const auto found = checkpoint_.tensors().find(tensor.source);
      if (found == checkpoint_.tensors().end()) {
        fail("export",
             concat("required tensor ", tensor.source, " for this model, found none in ", checkpoint_.path()));
      }
      if (!(found->second.shape == tensor.shape) || !is_convertible(found->second.dtype, dtype_)) {
        fail("export", concat("required tensor ", tensor.source, " of shape ", tensor.shape.to_string(), " in f32 or ",
                              "bf16, found ", found->second.shape.to_string(), " ", dtype_name(found->second.dtype),
                              " in ", checkpoint_.path()));
      }
    }
    for (const auto& [name, info] : checkpoint_.tensors()) {
      if (name.starts_with(optimizer_prefix) || used.count(name) > 0) continue;
      fail("export", concat("required tensors that the layout has a place for, found ", name, " in ",
                            checkpoint_.path(), "; a model that keeps it cannot be exported"));
    }
  }

  std::vector<std::uint8_t> read(const HfTensor& tensor) const {
    if (tensor.source.empty()) return std::vector<std::uint8_t>(static_cast<std::size_t>(tensor_bytes(tensor, dtype_)));
    const std::string master = master_prefix + tensor.source;
    const std::string& name = dtype_ == DType::f32 && checkpoint_.contains(master) ? master : tensor.source;
    const DType stored_type = checkpoint_.tensors().at(name).dtype;
    std::vector<std::uint8_t> stored(static_cast<std::size_t>(tensor_bytes(tensor, stored_type)));
    const Rectangle whole = whole_rectangle(tensor.shape);
    checkpoint_.read(name, whole.begin, whole.end, stored.data());
    std::vector<std::uint8_t> values;
    convert_elements(stored, stored_type, dtype_, values);
    if (tensor.scale != 1.0F && !scale_elements(values, dtype_, tensor.scale)) {
      fail("export", concat("required numbers that the layout's factor of ", tensor.scale,
                            " leaves finite, found one that it does not in ", tensor.source));
    }
    return values;
  }

 private:
  const Checkpoint& checkpoint_;
  DType dtype_ = DType::f32;
};

void write_shard(FileLayer& files, const std::string& directory, const Shard& shard, const Source& source) {
  std::vector<SafetensorsEntry> entries;
  for (const HfTensor& tensor : shard.tensors) entries.push_back({tensor.name, source.dtype(), tensor.shape});
  const std::string header = safetensors_header(entries);
  OutputFile file = files.open_write(join_path(directory, shard.name));
  files.write(file, header.data(), header.size());
  for (const HfTensor& tensor : shard.tensors) {
    const std::vector<std::uint8_t> bytes = source.read(tensor);
    files.write(file, bytes.data(), bytes.size());
  }
  files.fsync(file);
  files.close(file);
}

void write_text(FileLayer& files, const std::string& directory, const TextFile& text) {
  OutputFile file = files.open_write(join_path(directory, text.first));
  files.write(file, text.second.data(), text.second.size());
  files.fsync(file);
  files.close(file);
}

std::vector<TextFile> text_files(const ModelConfig& model, const ExportOptions& options, DType dtype) {
  std::vector<TextFile> texts = options.tokenizer;
  texts.emplace_back("config.json", dump_json(hf_config_json(model, options.layout, dtype, options.ids), 2) + "\n");
  texts.emplace_back("generation_config.json", dump_json(generation_config_json(options.ids), 2) + "\n");
  if (options.layout == HfLayout::artel) {
    texts.emplace_back("configuration_artel.py", configuration_artel_py());
    texts.emplace_back("modeling_artel.py", modeling_artel_py());
  }
  return texts;
}

// "DIR/.tmp-NAME" for the output DIR/NAME.
std::string temporary_output(const std::string& output) {
  const std::string name = output.substr(output.rfind('/') + 1);
  return join_path(parent_directory(output), concat(".tmp-", name));
}

}  // namespace

std::int64_t parse_byte_size(const std::string& text, const char* option) {
  constexpr std::pair<std::string_view, std::int64_t> units[] = {
      {"", 1},          {"B", 1},         {"KB", 1'000},   {"MB", 1'000'000}, {"GB", 1'000'000'000},
      {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& [name, factor] : units) {
    if (error == std::errc() && name == unit && number >= 1 && number <= (std::int64_t{1} << 60) / factor) {
      return number * factor;
    }
  }
  fail("export", concat("required ", option, " such as 5GB, 500MB or 2GiB, found '", text, "'"));
}

ExportResult export_checkpoint(FileLayer& files, const Checkpoint& checkpoint, const ModelConfig& model,
                               const ExportOptions& options, const std::string& output_path) {
  std::string output = output_path;
  while (output.size() > 1 && output.back() == '/') output.pop_back();
  if (files.exists(output)) {
    fail("export", concat("required an output that does not exist, found ", output, "; name another or remove it"));
  }
  choose_hf_layout(model, hf_layout_name(options.layout));
  const std::vector<HfTensor> tensors = hf_tensors(model, options.layout);
  const Source source(checkpoint, options.dtype);
  source.check(tensors);
  const std::vector<Shard> shards = plan_shards(tensors, source.dtype(), options.max_shard_bytes);
  ExportResult result;
  result.num_tensors = static_cast<std::int64_t>(tensors.size());
  result.num_shards = static_cast<std::int64_t>(shards.size());
  result.dtype = source.dtype();
  for (const HfTensor& tensor : tensors) result.bytes += tensor_bytes(tensor, source.dtype());

  const std::string temporary = temporary_output(output);
  files.remove(temporary);  // of an export that died
  files.make_directory(temporary);
  try {
    for (const Shard& shard : shards) write_shard(files, temporary, shard, source);
    for (const TextFile& text : text_files(model, options, source.dtype())) write_text(files, temporary, text);
    if (shards.size() > 1) {
      write_text(files, temporary, {"model.safetensors.index.json", index_json(shards, result.bytes)});
    }
    files.fsync_directory(temporary);
    files.rename(temporary, output);
  } catch (const Error&) {
    try {
      files.remove(temporary);
    } catch (const Error&) {  // the next export of this name removes it
    }
    throw;
  }
  files.fsync_directory(parent_directory(output));
  return result;
}

}  // namespace artel

#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "config/yaml.h"
#include "nn/parameter.h"
#include "util/files.h"

// Files of tests/golden, written by tools/make_goldens.py with an independent implementation.

namespace artel {

struct GoldenTensor {
  Shape shape;
  std::vector<double> values;
};

class Golden {
 public:
  explicit Golden(const std::string& name) : name_(name) {
    const std::string path = std::string(ARTEL_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors";
    const MappedFile file(path);
    const SafetensorsIndex index = parse_safetensors(file.data(), file.size(), path);
    for (const SafetensorsEntry& entry : index.entries) {
      GoldenTensor tensor{entry.shape, {}};
      for (std::int64_t i = 0; i < entry.shape.numel(); ++i) {
        const unsigned char* at = file.data() + index.data_offset + entry.begin + 4 * i;
        float real = 0.0F;
        std::int32_t integer = 0;
        std::memcpy(&real, at, 4);
        std::memcpy(&integer, at, 4);
        tensor.values.push_back(entry.dtype == DType::i32 ? integer : static_cast<double>(real));
      }
      tensors_[entry.key] = std::move(tensor);
    }
  }

  const GoldenTensor& at(const std::string& key) const { return tensors_.at(key); }

  const std::map<std::string, GoldenTensor>& tensors() const { return tensors_; }

  /// The config beside the tensors, with a data block that nothing reads.
  Config config() const {
    const std::string path = std::string(ARTEL_SOURCE_DIR) + "/tests/golden/" + name_ + ".json";
    Json json = parse_json(read_file(path), path);
    json["data"] = {{"train", {{{"path", "unused.bin"}}}}};
    return config_from_json(json, path);
  }

  Tensor ids(Context& context, const std::string& key) const {
    std::vector<std::int32_t> ids;
    for (const double id : at(key).values) ids.push_back(static_cast<std::int32_t>(id));
    Tensor tensor = context.empty({static_cast<std::int64_t>(ids.size())}, DType::i32);
    context.backend.upload(ids.data(), tensor);
    return tensor;
  }

  /// The elements of prefix + stored names that make up a parameter, in the parameter's order, zeros where it has
  /// padding.
  std::vector<double> parameter_values(const Parameter& parameter, const std::string& prefix) const {
    std::vector<double> values;
    for (const StoredSlice& slice : parameter.slices) {
      const GoldenTensor& stored = at(prefix + slice.name);
      const auto position = values.size();
      values.resize(position + static_cast<std::size_t>(slice.memory_numel()), 0.0);
      const bool matrix = stored.shape.rank() == 2;
      const std::int64_t columns = matrix ? stored.shape[1] : stored.shape[0];
      const int last = matrix ? 1 : 0;
      const std::int64_t first = matrix ? slice.begin[0] : 0;
      for (std::int64_t row = first; row < (matrix ? slice.end[0] : 1); ++row) {
        for (std::int64_t column = slice.begin[last]; column < slice.end[last]; ++column) {
          const std::int64_t at = (row - first) * slice.memory_shape()[last] + column - slice.begin[last];
          values[position + static_cast<std::size_t>(at)] =
              stored.values[static_cast<std::size_t>(row * columns + column)];
        }
      }
    }
    return values;
  }

  /// Sets every parameter of an allocated store (and its masters) to the golden weights.
  void load_weights(Context& context, ParameterStore& store) const {
    for (const Parameter& parameter : store.parameters()) {
      const std::vector<double> values = parameter_values(parameter, "weights.");
      const std::vector<float> floats(values.begin(), values.end());
      context.backend.upload(floats.data(), ParameterStore::view_of(parameter, store.masters()));
    }
    store.refresh_values(context);
  }

 private:
  std::string name_;
  std::map<std::string, GoldenTensor> tensors_;
};

}  // namespace artel

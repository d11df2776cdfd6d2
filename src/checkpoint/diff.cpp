#include "checkpoint/diff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "util/text.h"

namespace artel {
namespace {

// Elements that are compared at once.
constexpr std::int64_t elements_per_chunk = std::int64_t{1} << 22;

struct Chunk {
  std::vector<std::uint8_t> bytes;
  DType dtype = DType::f32;

  double value(std::size_t i) const {
    const std::uint8_t* at = bytes.data() + i * dtype_size(dtype);
    const auto load = [at](auto x) {
      std::memcpy(&x, at, sizeof x);
      return x;
    };
    switch (dtype) {
      case DType::f32:
        return load(float{});
      case DType::bf16:
        return to_float(load(bf16{}));
      case DType::f64:
        return load(double{});
      case DType::i32:
        return load(std::int32_t{});
    }
    return 0.0;
  }
};

bool same_element(const Chunk& a, const Chunk& b, std::size_t i) {
  if (a.dtype != b.dtype) return a.value(i) == b.value(i) || (std::isnan(a.value(i)) && std::isnan(b.value(i)));
  const std::size_t size = dtype_size(a.dtype);
  return std::memcmp(a.bytes.data() + i * size, b.bytes.data() + i * size, size) == 0;
}

struct Sums {
  double of_differences = 0.0;  ///< of squares
  double of_a = 0.0;
};

void compare_chunk(const Chunk& a, const Chunk& b, std::size_t count, TensorDifference& out, Sums& sums) {
  for (std::size_t i = 0; i < count; ++i) {
    const double x = a.value(i);
    sums.of_a += x * x;
    if (same_element(a, b, i)) continue;
    ++out.num_different;
    const double difference = std::abs(x - b.value(i));
    sums.of_differences += difference * difference;
    if (std::isnan(difference) || difference > out.max_abs) out.max_abs = difference;
  }
}

// Calls visit(begin, end) for blocks of whole rows that cover `shape`.
template <class Visit>
void for_each_block(const Shape& shape, const Visit& visit) {
  Shape begin;
  for (int i = 0; i < shape.rank(); ++i) begin.push_back(0);
  Shape end = shape;
  if (shape.rank() == 0) return visit(begin, end);
  const std::int64_t rows = std::max<std::int64_t>(1, elements_per_chunk / std::max<std::int64_t>(1, shape.inner()));
  for (std::int64_t row = 0; row < shape[0]; row += rows) {
    begin.set(0, row);
    end.set(0, std::min(shape[0], row + rows));
    visit(begin, end);
  }
}

TensorDifference compare_tensor(const Checkpoint& a, const Checkpoint& b, const std::string& name) {
  const Shape shape = a.tensors().at(name).shape;
  TensorDifference out;
  out.name = name;
  out.num_elements = shape.numel();
  Chunk chunk_a{{}, a.tensors().at(name).dtype};
  Chunk chunk_b{{}, b.tensors().at(name).dtype};
  Sums sums;
  for_each_block(shape, [&](const Shape& begin, const Shape& end) {
    std::size_t count = 1;
    for (int i = 0; i < shape.rank(); ++i) count *= static_cast<std::size_t>(end[i] - begin[i]);
    for (auto [checkpoint, chunk] : {std::pair{&a, &chunk_a}, std::pair{&b, &chunk_b}}) {
      chunk->bytes.resize(count * dtype_size(chunk->dtype));
      checkpoint->read(name, begin, end, chunk->bytes.data());
    }
    compare_chunk(chunk_a, chunk_b, count, out, sums);
  });
  if (sums.of_differences != 0.0) {
    out.relative_l2 =
        sums.of_a != 0.0 ? std::sqrt(sums.of_differences / sums.of_a) : std::numeric_limits<double>::infinity();
  }
  return out;
}

void flatten(const Json& json, const std::string& prefix, std::map<std::string, std::string>& out) {
  if (!json.is_object()) {
    out[prefix] = dump_json(json);
    return;
  }
  for (const auto& [key, value] : json.items()) flatten(value, prefix.empty() ? key : concat(prefix, ".", key), out);
}

std::map<std::string, std::string> flat_config(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> keys;
  flatten(checkpoint.manifest().value("config", Json::object()), "", keys);
  return keys;
}

std::vector<ConfigDifference> compare_configs(const Checkpoint& a, const Checkpoint& b) {
  std::map<std::string, ConfigDifference> all;
  for (const auto& [key, text] : flat_config(a)) all[key].a = text;
  for (const auto& [key, text] : flat_config(b)) all[key].b = text;
  std::vector<ConfigDifference> out;
  for (auto& [key, difference] : all) {
    if (difference.a == difference.b) continue;
    difference.key = key;
    difference.names_the_run = key == "run.name" || key == "run.directory";
    out.push_back(std::move(difference));
  }
  return out;
}

std::string described(const Checkpoint::TensorInfo& info) {
  return concat(dtype_name(info.dtype), " ", info.shape.to_string());
}

// A config value as it stands in the JSON; absent keys are null.
Json config_value(const std::string& text) {
  return text.empty() ? Json() : parse_json(text, "config");
}

std::string counted(std::size_t count, std::string_view what) {
  return concat(count, " ", what);
}

}  // namespace

std::int64_t CheckpointDifference::num_tensors_that_differ() const {
  return std::count_if(tensors.begin(), tensors.end(), [](const TensorDifference& t) { return t.num_different > 0; });
}

bool CheckpointDifference::equal() const {
  return step_a == step_b && only_in_a.empty() && only_in_b.empty() && mismatches.empty() &&
         num_tensors_that_differ() == 0 &&
         std::all_of(config.begin(), config.end(), [](const ConfigDifference& c) { return c.names_the_run; });
}

CheckpointDifference compare_checkpoints(const Checkpoint& a, const Checkpoint& b) {
  CheckpointDifference out;
  out.step_a = a.step();
  out.step_b = b.step();
  for (const auto& [name, info] : a.tensors()) {
    const auto other = b.tensors().find(name);
    if (other == b.tensors().end()) {
      out.only_in_a.push_back(name);
      continue;
    }
    const bool same_shape = info.shape == other->second.shape;
    if (!same_shape || info.dtype != other->second.dtype) {
      out.mismatches.push_back({name, described(info), described(other->second)});
    }
    if (same_shape) out.tensors.push_back(compare_tensor(a, b, name));
  }
  for (const auto& entry : b.tensors()) {
    if (!a.contains(entry.first)) out.only_in_b.push_back(entry.first);
  }
  out.config = compare_configs(a, b);
  return out;
}

Json difference_json(const CheckpointDifference& difference) {
  Json json;
  json["equal"] = difference.equal();
  json["step"] = {{"a", difference.step_a}, {"b", difference.step_b}};
  json["only_in_a"] = difference.only_in_a;
  json["only_in_b"] = difference.only_in_b;
  json["shape_or_type"] = Json::array();
  for (const TensorMismatch& m : difference.mismatches) {
    json["shape_or_type"].push_back({{"tensor", m.name}, {"a", m.a}, {"b", m.b}});
  }
  json["tensors"] = Json::array();
  for (const TensorDifference& t : difference.tensors) {
    json["tensors"].push_back({{"tensor", t.name},
                               {"elements", t.num_elements},
                               {"different", t.num_different},
                               {"max_abs", t.max_abs},
                               {"relative_l2", t.relative_l2}});
  }
  json["config"] = Json::array();
  for (const ConfigDifference& c : difference.config) {
    json["config"].push_back({{"key", c.key}, {"a", config_value(c.a)}, {"b", config_value(c.b)}});
  }
  return json;
}

std::string difference_summary(const CheckpointDifference& difference) {
  const std::size_t num_shared = difference.tensors.size();
  if (difference.equal()) {
    return concat("equal: step ", difference.step_a, " and every bit of ", num_shared, " tensors");
  }
  std::vector<std::string> parts;
  if (difference.step_a != difference.step_b) {
    parts.push_back(concat("step ", difference.step_a, " and ", difference.step_b));
  }
  parts.push_back(concat(difference.num_tensors_that_differ(), " of ", num_shared, " shared tensors differ in value"));
  if (!difference.only_in_a.empty()) parts.push_back(counted(difference.only_in_a.size(), "only in the first"));
  if (!difference.only_in_b.empty()) parts.push_back(counted(difference.only_in_b.size(), "only in the second"));
  if (!difference.mismatches.empty()) parts.push_back(counted(difference.mismatches.size(), "differ in shape or type"));
  if (!difference.config.empty()) parts.push_back(concat("config keys that differ: ", difference.config.size()));
  return concat("different: ", join(parts, ", "));
}

}  // namespace artel

#include "train/non_finite.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <span>

#include "ops/probe.h"

namespace artel {
namespace {

constexpr const char* forward_direction = "forward";
constexpr const char* backward_direction = "backward";
// More looks than one pass takes, so that orders of later passes are larger.
constexpr std::int64_t looks_per_pass = std::int64_t{1} << 32;

// A sum of squares in fp64 is finite exactly when every fp32 value in it is.
bool all_finite(Context& context, const Tensor& x) {
  if (x.numel() == 0 || x.dtype() == DType::i32) return true;
  Tensor values = x.view({x.numel()});
  double sum = 0.0;
  if (x.dtype() == DType::f64) {
    std::vector<double> host(static_cast<std::size_t>(x.numel()));
    context.backend.download(values, host.data());
    for (const double value : host) sum += std::abs(value);
    return std::isfinite(sum);
  }
  if (x.dtype() == DType::bf16) {
    const Tensor wide = context.empty(values.shape(), DType::f32);
    context.backend.copy(values, wide);
    values = wide;
  }
  const Tensor total = context.empty({1}, DType::f64);
  context.backend.sum_of_squares(values, total);
  context.backend.download(total, &sum);
  return std::isfinite(sum);
}

// Whether an element has all bits of the exponent set. Without a branch per element: every checkpoint is looked at.
template <class Word>
bool any_non_finite(const std::vector<std::uint8_t>& bytes, Word exponent) {
  unsigned found = 0;
  for (std::size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    found |= static_cast<unsigned>((word & exponent) == exponent);
  }
  return found != 0;
}

struct Place {
  std::int64_t layer = -1;
  std::string tensor;
  const char* direction = forward_direction;
  std::int64_t order = 0;  ///< looks taken before it in its pass

  bool operator==(const Place& other) const {
    return layer == other.layer && tensor == other.tensor && std::string(direction) == other.direction;
  }
};

// Remembers the first tensor that is not finite.
class FiniteProbe final : public TensorProbe {
 public:
  void value(Context& context, std::int64_t layer, const char* name, const Tensor& x) override {
    look(context, layer, name, forward_direction, x);
  }
  void gradient(Context& context, std::int64_t layer, const char* name, const Tensor& dx) override {
    look(context, layer, name, backward_direction, dx);
  }
  const std::optional<Place>& first() const { return first_; }

 private:
  void look(Context& context, std::int64_t layer, const char* name, const char* direction, const Tensor& x) {
    if (!first_ && !all_finite(context, x)) first_ = Place{layer, name, direction, num_looks_};
    ++num_looks_;
  }

  std::int64_t num_looks_ = 0;
  std::optional<Place> first_;
};

// "model.layers.3.mlp.gate.weight" is of layer 3; others of none.
std::int64_t layer_of(const std::string& name) {
  const std::string prefix = "model.layers.";
  return name.rfind(prefix, 0) == 0 ? std::strtoll(name.c_str() + prefix.size(), nullptr, 10) : -1;
}

// The stored tensor within a parameter that is not finite in `arena`; empty: all are.
std::string bad_slice(Context& context, const Parameter& parameter, const Tensor& arena) {
  if (all_finite(context, ParameterStore::view_of(parameter, arena))) return {};
  std::int64_t position = parameter.arena_offset;
  for (const StoredSlice& slice : parameter.slices) {
    if (!all_finite(context, arena.rows(position, position + slice.memory_numel()))) return slice.name;
    position += slice.memory_numel();
  }
  return parameter.name;
}

// The first stored tensor that is not finite, in the order of declaration, which is that of the forward pass.
std::optional<Place> bad_parameter(Context& context, const ParameterStore& store) {
  for (const Parameter& parameter : store.parameters()) {
    const std::string name = bad_slice(context, parameter, store.values());
    if (!name.empty()) return Place{layer_of(name), name, "parameter", 0};
  }
  return std::nullopt;
}

std::optional<Place> bad_parameter_gradient(Context& context, const ParameterStore& store) {
  if (all_finite(context, store.gradients())) return std::nullopt;
  for (auto parameter = store.parameters().rbegin(); parameter != store.parameters().rend(); ++parameter) {
    const std::string name = bad_slice(context, *parameter, store.gradients());
    // Behind every look of the pass: a rank that saw an activation's gradient go bad knows better.
    if (!name.empty()) return Place{layer_of(name), name, backward_direction, looks_per_pass - 1};
  }
  return std::nullopt;
}

// How late in the forward pass, and so how early in the backward pass, a place outside of the layers or in one stands.
std::int64_t depth(const Place& place) {
  if (place.layer >= 0) return place.layer;
  const bool first = place.tensor == "embed_tokens" || place.tensor == "model.embed_tokens.weight";
  return first ? -1 : std::numeric_limits<std::int64_t>::max();
}

// One forward and backward pass over `count` sequences.
std::optional<Place> watched_pass(Context& context, Transformer& model, const Batch& batch, std::int64_t first,
                                  std::int64_t count, const StepOptions& options) {
  FiniteProbe probe;
  Context watched = context;
  watched.probe = &probe;
  // Backward runs whatever forward has shown: ranks that exchange tokens stay in step.
  backward(watched, {micro_batch_loss(watched, model, batch, first, count, options)});
  std::optional<Place> place = probe.first();
  if (place && place->direction == forward_direction) return place;
  // A product that overflows in a weight's gradient may come before the first activation's gradient that did.
  std::optional<Place> weight = bad_parameter_gradient(context, model.parameters());
  if (weight && (!place || depth(*weight) > depth(*place))) return weight;
  return place;
}

// Ranks that exchange tokens have to run the same passes.
bool on_any_rank(const StepOptions& options, bool here) {
  std::int64_t value = here ? 1 : 0;
  if (options.sync != nullptr) {
    options.sync->world().all_reduce_values(std::span(&value, 1), Purpose::control, Reduction::max);
  }
  return value == 1;
}

}  // namespace

std::string non_finite_tensor(const std::vector<TensorPiece>& pieces) {
  for (const TensorPiece& piece : pieces) {
    const bool bad = (piece.dtype == DType::f32 && any_non_finite<std::uint32_t>(piece.bytes, 0x7f800000U)) ||
                     (piece.dtype == DType::bf16 && any_non_finite<std::uint16_t>(piece.bytes, 0x7f80U));
    if (bad) return piece.name;
  }
  return {};
}

NonFiniteReport locate_non_finite(Context& context, Transformer& model, const Batch& batch,
                                  const StepOptions& options) {
  NonFiniteReport report;
  const auto found = [&report](const Place& place) {
    report.layer = place.layer;
    report.tensor = place.tensor;
    report.direction = place.direction;
    report.order = place.order;
  };
  report.order = std::numeric_limits<std::int64_t>::max();
  const auto place_in_parameters = bad_parameter(context, model.parameters());
  if (place_in_parameters) found(*place_in_parameters);
  if (on_any_rank(options, place_in_parameters.has_value())) return report;
  std::optional<Place> origin;
  std::int64_t origin_first = 0;
  std::int64_t num_passes = 0;
  model.parameters().zero_gradients(context);
  for (std::int64_t first = 0; first < batch.num_samples; first += options.micro_batch_size) {
    const std::int64_t count = std::min(options.micro_batch_size, batch.num_samples - first);
    const auto place = watched_pass(context, model, batch, first, count, options);
    if (!origin && place) {
      origin = place;
      origin->order += looks_per_pass * num_passes;
      origin_first = first;
    }
    ++num_passes;
  }
  const std::int64_t origin_end = std::min(origin_first + options.micro_batch_size, batch.num_samples);
  for (std::int64_t row = origin_first; row < origin_end; ++row) {
    model.parameters().zero_gradients(context);
    const auto place = watched_pass(context, model, batch, row, 1, options);
    if (origin && place && *place == *origin) report.samples.push_back(row);
  }
  if (origin) {
    found(*origin);
    if (report.samples.empty()) {
      for (std::int64_t row = origin_first; row < origin_end; ++row) report.samples.push_back(row);
    }
  }
  model.take_statistics();
  return report;
}

}  // namespace artel

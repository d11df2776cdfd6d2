#include "nn/grouped_experts.h"

namespace artel {
namespace {

// Neurons first..end of one projection of expert `index`: rows of gate and up, columns of down.
StoredSlice neuron_slice(const ExpertOptions& options, std::int64_t index, const std::string& projection) {
  const std::string name = options.prefix + std::to_string(index) + "." + projection + ".weight";
  const std::int64_t width = options.stored_width;
  const std::int64_t padded = padded_width(width - options.first_neuron);
  const std::int64_t hidden_size = options.hidden_size;
  if (projection == "down_proj") {
    return {name, {hidden_size, width}, {0, options.first_neuron}, {hidden_size, width}, {hidden_size, padded}};
  }
  const bool travels = projection == "gate_up_proj";
  const std::int64_t in_features = travels ? options.travelling_width : hidden_size;
  return {name,
          {width, in_features},
          {options.first_neuron, 0},
          {width, in_features},
          {padded, travels ? padded_width(in_features) : in_features}};
}

}  // namespace

Parameter& GroupedExperts::declare(ParameterStore& store, const std::string& name, const Shape& shape,
                                   const std::vector<std::string>& projections) const {
  Parameter parameter;
  parameter.name = options_.prefix + name;
  parameter.shape = shape;
  parameter.kind = ParameterKind::expert;
  for (std::int64_t i = 0; i < options_.num_local_experts; ++i) {
    for (const std::string& projection : projections) {
      parameter.slices.push_back(neuron_slice(options_, options_.first_expert + i, projection));
    }
  }
  return store.declare(std::move(parameter));
}

GroupedExperts::GroupedExperts(ParameterStore& store, const ExpertOptions& options) : options_(options) {
  const std::int64_t num_experts = options.num_local_experts;
  const std::int64_t hidden_size = options.hidden_size;
  if (options.travelling_width > 0) {
    gate_ = &declare(store, "gate_up_proj", {num_experts, width(), padded_width(options.travelling_width)},
                     {"gate_up_proj"});
    up_ = &declare(store, "up_proj", {num_experts, width(), hidden_size}, {"up_proj"});
  } else {
    gate_up_ = &declare(store, "gate_and_up_proj", {num_experts, 2 * width(), hidden_size}, {"gate_proj", "up_proj"});
  }
  down_ = &declare(store, "down_proj", {num_experts, hidden_size, width()}, {"down_proj"});
}

Variable GroupedExperts::forward(Context& context, DispatchedRows rows,
                                 const std::shared_ptr<const GroupOffsets>& groups) const {
  const std::int64_t num_rows = rows.x.data.size(0);
  const Variable gate_up =
      gate_up_ != nullptr ? reshape(grouped_linear(context, rows.x, groups, gate_up_->variable), {num_rows, 2, width()})
                          : grouped_gate_up(context, rows.travelling, gate_->variable, rows.x, up_->variable, groups);
  rows.x = Variable();
  rows.travelling = Variable();
  return grouped_linear(context, swiglu(context, gate_up, rows.weights), groups, down_->variable);
}

}  // namespace artel

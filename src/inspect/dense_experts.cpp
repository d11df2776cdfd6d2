#include "inspect/dense_experts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

struct Piece {
  std::int64_t begin = 0;  // first neuron (of gate, up: row; of down: column)
  Tensor tensor;
};
using Pieces = std::map<std::string, std::vector<Piece>>;

// Stored name -> views of the rectangles that the store holds of it, in the order of their neurons. Neurons of padding
// count nothing in norms and outputs.
Pieces pieces_of(const ParameterStore& store) {
  Pieces pieces;
  for (const Parameter& parameter : store.parameters()) {
    std::int64_t offset = parameter.arena_offset;
    for (const StoredSlice& slice : parameter.slices) {
      const Tensor rows = store.values().rows(offset, offset + slice.memory_numel());
      const std::int64_t begin = slice.begin.rank() == 2 ? slice.begin[0] + slice.begin[1] : slice.begin[0];
      pieces[slice.name].push_back({begin, rows.view(slice.memory_shape())});
      offset += slice.memory_numel();
    }
  }
  for (auto& item : pieces) {
    std::sort(item.second.begin(), item.second.end(), [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
  }
  return pieces;
}

std::vector<Piece> find(const Pieces& pieces, const std::string& name) {
  const auto found = pieces.find(name);
  if (found == pieces.end()) fail("inspect", "required a model with " + name + ", found none of that name");
  return found->second;
}

double square(double x) {
  return x * x;
}

// out[t · stride] += the square of the norm of row t of x [T, E].
void add_square_norms(Context& context, const Tensor& x, std::int64_t stride, double* out) {
  const std::int64_t num_rows = x.size(0);
  const Tensor norms = context.empty({num_rows}, DType::f32);
  context.backend.row_norms(x, norms);
  std::vector<float> host(static_cast<std::size_t>(num_rows));
  context.backend.download(norms, host.data());
  for (std::int64_t t = 0; t < num_rows; ++t) out[t * stride] += square(host[static_cast<std::size_t>(t)]);
}

// SiLU(x gate^T) · up [T, E]; with an undefined `up`, SiLU(x gate^T) alone.
Tensor hidden_of(Context& context, const Tensor& gate_x, const Tensor& gate, const Tensor& x, const Tensor& up) {
  const std::int64_t num_tokens = gate_x.size(0);
  const std::int64_t width = gate.size(0);
  const Tensor both = context.empty({num_tokens, 2 * width}, DType::f32);
  if (!up.defined()) context.backend.fill(both, 1.0F);
  context.backend.linear(gate_x, gate, both.columns(0, width), Accumulate::no);
  if (up.defined()) context.backend.linear(x, up, both.columns(width, 2 * width), Accumulate::no);
  Tensor hidden = context.empty({num_tokens, width}, DType::f32);
  context.backend.swiglu(both.view({num_tokens, 2, width}), Tensor{}, hidden);
  return hidden;
}

void take_roots(std::vector<double>& squares) {
  for (double& value : squares) value = std::sqrt(value);
}

}  // namespace

DenseExperts::DenseExperts(const ModelConfig& model, const ParameterStore& store)
    : num_layers_(model.num_hidden_layers),
      num_experts_(model.num_experts),
      first_group_bids_(model.routing.type == "uoe") {
  if (store.dtype() != DType::f32) fail("inspect", "required a model in fp32, found one in bf16");
  const Pieces pieces = pieces_of(store);
  for (std::int64_t layer = 0; layer < num_layers_; ++layer) {
    const std::string prefix = concat("model.layers.", layer, ".mlp.");
    for (std::int64_t i = 0; i < num_experts_; ++i) {
      const std::string name = concat(prefix, "experts.", i, ".");
      const bool factorised = pieces.count(name + "gate_down_proj.weight") > 0;
      Expert expert;
      if (factorised) expert.gate_down = find(pieces, name + "gate_down_proj.weight").front().tensor;
      const auto gate = find(pieces, name + (factorised ? "gate_up_proj.weight" : "gate_proj.weight"));
      const auto up = find(pieces, name + "up_proj.weight");
      const auto down = find(pieces, name + "down_proj.weight");
      for (std::size_t g = 0; g < gate.size(); ++g) {
        expert.groups.push_back({gate[g].tensor, up.at(g).tensor, down.at(g).tensor});
      }
      experts_.push_back(std::move(expert));
    }
    if (pieces.count(prefix + "shared_expert.down_proj.weight") > 0) {
      shared_kind_ = SharedKind::real;
      const auto whole = [&](const char* projection) {
        return find(pieces, concat(prefix, "shared_expert.", projection, ".weight")).front().tensor;
      };
      shared_.push_back({whole("gate_proj"), whole("up_proj"), whole("down_proj")});
    }
  }
  if (first_group_bids_ && model.routing.uoe.virtual_shared_expert) shared_kind_ = SharedKind::virtual_expert;
}

ExpertNorms DenseExperts::norms(Context& context, std::int64_t layer, const Tensor& x) const {
  const std::int64_t num_tokens = x.size(0);
  const auto size = static_cast<std::size_t>(num_tokens * num_experts_);
  ExpertNorms norms{std::vector<double>(size), std::vector<double>(size), std::vector<double>(size), {}};
  if (first_group_bids_) norms.rest.resize(size);
  for (std::int64_t i = 0; i < num_experts_; ++i) {
    const Expert& expert = experts_.at(static_cast<std::size_t>(layer * num_experts_ + i));
    Tensor gate_x = x;
    if (expert.gate_down.defined()) {
      gate_x = context.empty({num_tokens, expert.gate_down.size(0)}, DType::f32);
      context.backend.linear(x, expert.gate_down, gate_x, Accumulate::no);
    }
    const Tensor output = context.empty(x.shape(), DType::f32);
    for (std::size_t g = 0; g < expert.groups.size(); ++g) {
      const NeuronGroup& group = expert.groups[g];
      const Tensor activated = hidden_of(context, gate_x, group.gate, x, Tensor{});
      add_square_norms(context, activated, num_experts_, norms.gate_activation.data() + i);
      if (first_group_bids_ && g > 0) add_square_norms(context, activated, num_experts_, norms.rest.data() + i);
      const Tensor hidden = hidden_of(context, gate_x, group.gate, x, group.up);
      add_square_norms(context, hidden, num_experts_, norms.activation.data() + i);
      context.backend.linear(hidden, group.down, output, g == 0 ? Accumulate::no : Accumulate::yes);
    }
    add_square_norms(context, output, num_experts_, norms.output.data() + i);
  }
  for (auto* values : {&norms.gate_activation, &norms.activation, &norms.output, &norms.rest}) take_roots(*values);
  return norms;
}

std::vector<DenseExperts::NeuronGroup> DenseExperts::shared_groups(std::int64_t layer) const {
  if (shared_kind_ == SharedKind::none) fail("inspect", "required a model with a shared expert, found one without");
  if (shared_kind_ == SharedKind::real) return {shared_.at(static_cast<std::size_t>(layer))};
  std::vector<NeuronGroup> groups;
  for (std::int64_t i = 0; i < num_experts_; ++i) {
    groups.push_back(experts_.at(static_cast<std::size_t>(layer * num_experts_ + i)).groups.front());
  }
  return groups;
}

Tensor DenseExperts::shared_output(Context& context, std::int64_t layer, const Tensor& x) const {
  Tensor output = context.empty(x.shape(), DType::f32);
  context.backend.fill(output, 0.0F);
  for (const NeuronGroup& group : shared_groups(layer)) {
    context.backend.linear(hidden_of(context, x, group.gate, x, group.up), group.down, output, Accumulate::yes);
  }
  return output;
}

void DenseExperts::silence_shared(Context& context) const {
  for (std::int64_t layer = 0; layer < num_layers_; ++layer) {
    for (const NeuronGroup& group : shared_groups(layer)) context.backend.fill(group.down, 0.0F);
  }
}

}  // namespace artel

#include "nn/parameter.h"

#include <algorithm>

#include "core/rng.h"
#include "util/error.h"

namespace artel {
namespace {

// Parameters begin on cache lines in every arena, so that kernels read whole vectors.
constexpr std::int64_t alignment_elements = 64;
// Weights that are rounded at once when they are drawn.
constexpr std::int64_t rounding_elements = std::int64_t{1} << 20;

// Calls row(stored_element_index, element_index_in_memory, count) for every run of a slice that is contiguous in the
// stored tensor; slices have one or two dimensions.
template <class Row>
void for_each_run(const StoredSlice& slice, const Row& row) {
  const bool matrix = slice.stored_shape.rank() == 2;
  const std::int64_t num_rows = matrix ? slice.end[0] - slice.begin[0] : 1;
  const int last = matrix ? 1 : 0;
  const std::int64_t count = slice.end[last] - slice.begin[last];
  const std::int64_t stride = matrix ? slice.stored_shape[1] : 0;
  const std::int64_t memory_stride = slice.memory_shape()[last];
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const std::int64_t begin = (matrix ? (slice.begin[0] + i) * stride : 0) + slice.begin[last];
    row(begin, i * memory_stride, count);
  }
}

void initialise_piece(const StoredSlice& slice, Initialisation kind, std::int64_t seed, double stddev, float* out) {
  const Rng rng(static_cast<std::uint64_t>(seed), slice.name);
  for_each_run(slice, [&](std::int64_t stored, std::int64_t piece, std::int64_t count) {
    if (kind == Initialisation::ones) {
      std::fill_n(out + piece, count, 1.0F);
    } else {
      rng.fill_normal(static_cast<std::uint64_t>(stored), count, stddev, out + piece);
    }
  });
}

}  // namespace

Shape StoredSlice::shape() const {
  Shape shape;
  for (int i = 0; i < begin.rank(); ++i) shape.push_back(end[i] - begin[i]);
  return shape;
}

StoredSlice whole_slice(const std::string& name, const Shape& shape) {
  Shape begin;
  for (int i = 0; i < shape.rank(); ++i) begin.push_back(0);
  return {name, shape, begin, shape};
}

Parameter& ParameterStore::declare(Parameter parameter) {
  std::int64_t numel = 0;
  for (const StoredSlice& slice : parameter.slices) numel += slice.memory_numel();
  if (numel != parameter.numel()) {
    fail("parameter", "required slices of " + std::to_string(parameter.numel()) + " elements in all for " +
                          parameter.name + ", found " + std::to_string(numel));
  }
  if (std::any_of(parameters_.begin(), parameters_.end(),
                  [&](const Parameter& p) { return p.name == parameter.name; })) {
    fail("parameter", "required a new name, found " + parameter.name + " declared already");
  }
  return parameters_.emplace_back(std::move(parameter));
}

Tensor ParameterStore::view_of(const Parameter& parameter, const Tensor& arena) {
  return arena.rows(parameter.arena_offset, parameter.arena_offset + parameter.numel()).view(parameter.shape);
}

void ParameterStore::lay_out() {
  num_elements_ = 0;
  for (const ParameterKind kind : {ParameterKind::dense, ParameterKind::expert}) {
    for (Parameter& parameter : parameters_) {
      if (parameter.kind != kind) continue;
      parameter.arena_offset = num_elements_;
      num_elements_ += (parameter.numel() + alignment_elements - 1) / alignment_elements * alignment_elements;
    }
  }
}

void ParameterStore::allocate(Context& context, DType dtype) {
  lay_out();
  allocate(context, dtype, ArenaRanges::whole(num_elements_));
}

void ParameterStore::allocate(Context& context, DType dtype, const ArenaRanges& owned) {
  lay_out();
  owned_ = owned;
  values_ = context.empty({num_elements_}, dtype);
  gradients_ = context.empty({num_elements_}, DType::f32);
  context.backend.fill(values_, 0.0F);  // the gaps between parameters count in norms and checksums
  masters_ = has_masters() ? context.empty({owned_.num_elements()}, DType::f32) : values_;
  if (has_masters()) context.backend.fill(masters_, 0.0F);
  zero_gradients(context);
  for (Parameter& parameter : parameters_) {
    parameter.variable = make_leaf(view_of(parameter, values_));
    parameter.variable.slot->dtype = DType::f32;
    parameter.variable.slot->is_parameter = true;
    parameter.variable.slot->gradient = view_of(parameter, gradients_);
  }
}

void ParameterStore::initialise(Context& context, std::int64_t seed, double stddev) {
  struct Piece {
    const Parameter* parameter;
    const StoredSlice* slice;
    std::int64_t offset;
  };
  std::vector<float> host(static_cast<std::size_t>(num_elements_), 0.0F);
  std::vector<Piece> pieces;
  for (const Parameter& parameter : parameters_) {
    std::int64_t offset = parameter.arena_offset;
    for (const StoredSlice& slice : parameter.slices) {
      pieces.push_back({&parameter, &slice, offset});
      offset += slice.memory_numel();
    }
  }
  context.pool.parallel_for(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i, int) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    initialise_piece(*piece.slice, piece.parameter->initialisation, seed, stddev, host.data() + piece.offset);
  });
  set_values(context, host);
}

// Values and masters from weights [n] on the host.
void ParameterStore::set_values(Context& context, const std::vector<float>& host) {
  if (!has_masters()) return context.backend.upload(host.data(), values_);
  // In parts, so that no second fp32 arena is needed to round from.
  const std::int64_t part = std::min(num_elements_, rounding_elements);
  const Tensor staging = context.empty({part}, DType::f32);
  for (std::int64_t begin = 0; begin < num_elements_; begin += part) {
    const std::int64_t end = std::min(begin + part, num_elements_);
    context.backend.upload(host.data() + begin, staging.rows(0, end - begin));
    context.backend.copy(staging.rows(0, end - begin), values_.rows(begin, end));
  }
  for (const ArenaRange& range : owned_.ranges()) {
    context.backend.upload(host.data() + range.begin, master_rows(range.begin, range.end));
  }
}

void ParameterStore::refresh_values(Context& context) {
  if (!has_masters()) return;
  for (const ArenaRange& range : owned_.ranges()) {
    context.backend.copy(master_rows(range.begin, range.end), values_.rows(range.begin, range.end));
  }
}

Tensor ParameterStore::master_rows(std::int64_t begin, std::int64_t end) const {
  return has_masters() ? owned_.rows(masters_, begin, end) : values_.rows(begin, end);
}

void ParameterStore::zero_gradients(Context& context) {
  context.backend.fill(gradients_, 0.0F);
  for (Parameter& parameter : parameters_) {
    if (parameter.variable.slot) parameter.variable.slot->untouched = false;
  }
}

void ParameterStore::begin_gradients() {
  for (Parameter& parameter : parameters_) parameter.variable.slot->untouched = true;
}

void ParameterStore::complete_gradients(Context& context) {
  for (Parameter& parameter : parameters_) complete_gradient(context, *parameter.variable.slot);
}

}  // namespace artel

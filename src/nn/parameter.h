#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "nn/shards.h"
#include "ops/tape.h"

namespace artel {

/// Dense parameters are replicated on every rank, their gradients summed over all; expert parameters live with the rank
/// that owns the expert.
enum class ParameterKind : std::uint8_t { dense, expert };
enum class Initialisation : std::uint8_t { normal, ones };

/// Where a piece of a parameter stands in a stored tensor: a rectangle of the tensor that a checkpoint names. In the
/// parameter's own memory the pieces follow each other, each dense in row-major order. A piece may be larger there than
/// it is stored: its rectangle comes first in both dimensions, and what is behind it is zero and stays zero.
struct StoredSlice {
  std::string name;    ///< global name, as in Hugging Face checkpoints
  Shape stored_shape;  ///< of the whole stored tensor
  Shape begin;         ///< rectangle [begin, end) per dimension
  Shape end;
  Shape padded_shape = {};  ///< in memory, if that is larger than the rectangle

  /// Of the rectangle.
  Shape shape() const;
  std::int64_t numel() const { return shape().numel(); }
  Shape memory_shape() const { return padded_shape.rank() > 0 ? padded_shape : shape(); }
  std::int64_t memory_numel() const { return memory_shape().numel(); }
};

/// Rows of weights and activations that are as wide as an expert have this width in memory: a multiple of 8, 16 bytes
/// of bf16, which is what fast loads and tensor cores want. Zero weights make the neurons that fill it up zero in every
/// activation and gradient, and so their updates.
constexpr std::int64_t padded_width(std::int64_t width) {
  return (width + 7) / 8 * 8;
}

/// The slice that is the whole stored tensor.
StoredSlice whole_slice(const std::string& name, const Shape& shape);

struct Parameter {
  std::string name;  ///< in memory; stored names are those of the slices
  Shape shape;       ///< in memory, padding included
  ParameterKind kind = ParameterKind::dense;
  Initialisation initialisation = Initialisation::normal;
  bool weight_decay = true;  ///< matrices and embeddings; not norms
  std::vector<StoredSlice> slices;

  std::int64_t arena_offset = 0;  ///< elements from the start of every arena
  Variable variable;              ///< data in the activation type, gradient f32

  std::int64_t numel() const { return shape.numel(); }
};

/// All parameters of a model and the flat arenas that hold them: values in the activation type, fp32 gradients, and,
/// when the values are bf16, fp32 masters of those elements that this rank updates. Named tensors are views; dense
/// parameters come first, then experts'. Declare first, lay out, allocate once.
class ParameterStore {
 public:
  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  /// Declares a parameter; the reference stays valid. Errors: a name declared twice; slices that do not add up to the
  /// shape.
  Parameter& declare(Parameter parameter);

  /// Gives every parameter its place in the arenas; after the last declaration.
  void lay_out();
  /// Allocates the arenas, zeroed; masters for the elements in `owned`, which is all of them unless optimizer state is
  /// sharded.
  void allocate(Context& context, DType dtype);
  void allocate(Context& context, DType dtype, const ArenaRanges& owned);
  /// Draws every parameter: element e of stored tensor n is normal(0, stddev) keyed by (seed, n, e), norms are 1. The
  /// result depends neither on the layout over ranks nor on which parameter a stored tensor was split into.
  void initialise(Context& context, std::int64_t seed, double stddev);
  /// Owned values = rounded masters (bf16 runs; nothing to do in fp32).
  void refresh_values(Context& context);
  void zero_gradients(Context& context);
  /// Instead of zeros: the next contribution to each gradient overwrites it, which spares writing and reading them all.
  void begin_gradients();
  /// After the last backward: zeros where nothing was contributed.
  void complete_gradients(Context& context);

  const std::deque<Parameter>& parameters() const { return parameters_; }
  std::int64_t num_elements() const { return num_elements_; }
  DType dtype() const { return values_.dtype(); }
  const Tensor& values() const { return values_; }        ///< [n] activation type
  const Tensor& gradients() const { return gradients_; }  ///< [n] f32
  /// The elements that this rank updates.
  const ArenaRanges& owned() const { return owned_; }
  /// Whether masters stand apart from the values (bf16 runs).
  bool has_masters() const { return dtype() != DType::f32; }
  const Tensor& masters() const { return masters_; }  ///< [owned] f32, compact; the values themselves in fp32 runs
  /// The fp32 weights of elements begin..end of the arenas, which must lie in one run of owned().
  Tensor master_rows(std::int64_t begin, std::int64_t end) const;
  /// The elements of `parameter` in an arena of this store's layout.
  static Tensor view_of(const Parameter& parameter, const Tensor& arena);

 private:
  void set_values(Context& context, const std::vector<float>& host);

  std::deque<Parameter> parameters_;
  std::int64_t num_elements_ = 0;
  ArenaRanges owned_;
  Tensor values_;
  Tensor masters_;
  Tensor gradients_;
};

}  // namespace artel

#pragma once

#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "nn/parameter.h"

namespace artel {

/// Copies an arena into pieces named prefix + stored name: one per stored slice of every parameter.
/// `arena` [n] has the layout of `store`, in any type.
void append_pieces(Context& context, const ParameterStore& store, const Tensor& arena, const std::string& prefix,
                   std::vector<TensorPiece>& pieces);
/// The same for the elements `part` of the store's layout, out of a compact tensor that holds `held`. The runs of
/// `part` begin and end at rows of stored tensors and lie in runs of `held`.
void append_pieces(Context& context, const ParameterStore& store, const Tensor& compact, const ArenaRanges& held,
                   const ArenaRanges& part, const std::string& prefix, std::vector<TensorPiece>& pieces);
/// Copies a contiguous tensor into one piece of that name.
void append_piece(Context& context, const std::string& name, const Tensor& tensor, std::vector<TensorPiece>& pieces);

/// Fills an arena from a checkpoint, converting f32 and bf16 into each other. Errors: a tensor that is missing, has
/// another shape, or is of another type, naming it.
void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& arena);
/// The same into a compact tensor that holds the elements `held` of the store's layout.
void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& compact, const ArenaRanges& held);
/// Fills a contiguous tensor from the stored one of that name, which must have its shape; the same conversions.
void read_piece(Context& context, const Checkpoint& checkpoint, const std::string& name, const Tensor& tensor);

}  // namespace artel

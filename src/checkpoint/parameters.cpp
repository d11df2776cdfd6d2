#include "checkpoint/parameters.h"

#include <algorithm>

#include "checkpoint/convert.h"
#include "kernels/backend.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// The rows of `slice` that stand at elements begin..end counted from its first.
StoredSlice part_of(const StoredSlice& slice, std::int64_t begin, std::int64_t end) {
  if (begin == 0 && end == slice.numel()) return slice;
  const std::int64_t row = slice.numel() / slice.shape()[0];
  if (begin % row != 0 || end % row != 0) {
    fail("checkpoint",
         concat("required whole rows of ", slice.name, ", found elements ", begin, " to ", end, " with rows of ", row));
  }
  StoredSlice part = slice;
  part.begin.set(0, slice.begin[0] + begin / row);
  part.end.set(0, slice.begin[0] + end / row);
  return part;
}

// Calls visit(slice, first element in the arena, end) for every stored slice of a store, cut to the runs of `part`.
template <class Visit>
void for_each_slice(const ParameterStore& store, const ArenaRanges& part, const Visit& visit) {
  for (const Parameter& parameter : store.parameters()) {
    std::int64_t begin = parameter.arena_offset;
    for (const StoredSlice& slice : parameter.slices) {
      const std::int64_t end = begin + slice.numel();
      for (const ArenaRange& range : part.ranges()) {
        const std::int64_t from = std::max(begin, range.begin);
        const std::int64_t to = std::min(end, range.end);
        if (from < to) visit(part_of(slice, from - begin, to - begin), from, to);
      }
      begin = end;
    }
  }
}

void append_slice(Context& context, const std::string& name, const StoredSlice& slice, const Tensor& values,
                  std::vector<TensorPiece>& pieces) {
  TensorPiece& piece = pieces.emplace_back();
  piece.name = name;
  piece.shape = slice.stored_shape;
  piece.dtype = values.dtype();
  piece.begin = slice.begin;
  piece.end = slice.end;
  piece.bytes.resize(values.nbytes());
  context.backend.download(values, piece.bytes.data());
}

DType checked_type(const Checkpoint& checkpoint, const std::string& name, const StoredSlice& slice, DType wanted) {
  const auto found = checkpoint.tensors().find(name);
  if (found == checkpoint.tensors().end()) {
    fail("checkpoint",
         concat("required tensor ", name, " for this model, found none of that name in ", checkpoint.path()));
  }
  const Checkpoint::TensorInfo& info = found->second;
  if (!(info.shape == slice.stored_shape) || !is_convertible(info.dtype, wanted)) {
    fail("checkpoint", concat("required tensor ", name, " of shape ", slice.stored_shape.to_string(),
                              " in a type that converts to ", dtype_name(wanted), ", found ", info.shape.to_string(),
                              " ", dtype_name(info.dtype), " in ", checkpoint.path()));
  }
  return info.dtype;
}

// Buffers that are used again from slice to slice.
struct Buffers {
  std::vector<std::uint8_t> stored;
  std::vector<std::uint8_t> converted;
};

void read_slice(Context& context, const Checkpoint& checkpoint, const std::string& name, const StoredSlice& slice,
                const Tensor& values, Buffers& buffers) {
  const DType stored_type = checked_type(checkpoint, name, slice, values.dtype());
  buffers.stored.resize(static_cast<std::size_t>(slice.numel()) * dtype_size(stored_type));
  checkpoint.read(name, slice.begin, slice.end, buffers.stored.data());
  if (stored_type == values.dtype()) {
    context.backend.upload(buffers.stored.data(), values);
  } else {
    convert_elements(buffers.stored, stored_type, values.dtype(), buffers.converted);
    context.backend.upload(buffers.converted.data(), values);
  }
}

}  // namespace

void append_pieces(Context& context, const ParameterStore& store, const Tensor& arena, const std::string& prefix,
                   std::vector<TensorPiece>& pieces) {
  const ArenaRanges whole = ArenaRanges::whole(store.num_elements());
  append_pieces(context, store, arena, whole, whole, prefix, pieces);
}

void append_pieces(Context& context, const ParameterStore& store, const Tensor& compact, const ArenaRanges& held,
                   const ArenaRanges& part, const std::string& prefix, std::vector<TensorPiece>& pieces) {
  for_each_slice(store, part, [&](const StoredSlice& slice, std::int64_t begin, std::int64_t end) {
    append_slice(context, prefix + slice.name, slice, held.rows(compact, begin, end), pieces);
  });
}

void append_piece(Context& context, const std::string& name, const Tensor& tensor, std::vector<TensorPiece>& pieces) {
  append_slice(context, name, whole_slice(name, tensor.shape()), tensor, pieces);
}

void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& arena) {
  read_pieces(context, store, checkpoint, prefix, arena, ArenaRanges::whole(store.num_elements()));
}

void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& compact, const ArenaRanges& held) {
  Buffers buffers;
  for_each_slice(store, held, [&](const StoredSlice& slice, std::int64_t begin, std::int64_t end) {
    read_slice(context, checkpoint, prefix + slice.name, slice, held.rows(compact, begin, end), buffers);
  });
}

void read_piece(Context& context, const Checkpoint& checkpoint, const std::string& name, const Tensor& tensor) {
  Buffers buffers;
  read_slice(context, checkpoint, name, whole_slice(name, tensor.shape()), tensor, buffers);
}

}  // namespace artel

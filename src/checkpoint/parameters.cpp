#include "checkpoint/parameters.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/convert.h"
#include "kernels/backend.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// The rows of `slice` that stand at elements begin..end of memory, counted from its first, without rows of padding.
StoredSlice part_of(const StoredSlice& slice, std::int64_t begin, std::int64_t end) {
  Shape memory_shape = slice.memory_shape();
  const std::int64_t row = slice.memory_numel() / memory_shape[0];
  if (begin % row != 0 || end % row != 0) {
    fail("checkpoint",
         concat("required whole rows of ", slice.name, ", found elements ", begin, " to ", end, " with rows of ", row));
  }
  const std::int64_t num_rows = slice.shape()[0];
  const std::int64_t first = std::min(begin / row, num_rows);
  const std::int64_t last = std::min(end / row, num_rows);
  StoredSlice part = slice;
  part.begin.set(0, slice.begin[0] + first);
  part.end.set(0, slice.begin[0] + last);
  memory_shape.set(0, last - first);
  part.padded_shape = memory_shape;
  return part;
}

// What lies in memory with padding behind each row, and the same without, in place.
struct PaddedRows {
  PaddedRows(const StoredSlice& slice, DType dtype)
      : num(static_cast<std::size_t>(slice.shape().rank() > 1 ? std::max<std::int64_t>(slice.shape()[0], 1) : 1)),
        bytes(static_cast<std::size_t>(slice.numel()) / num * dtype_size(dtype)),
        padded_bytes(static_cast<std::size_t>(slice.memory_numel()) / num * dtype_size(dtype)) {}

  void remove_padding(std::vector<std::uint8_t>& rows) const {
    if (bytes == padded_bytes) return;
    for (std::size_t i = 1; i < num; ++i) {
      std::memmove(rows.data() + i * bytes, rows.data() + i * padded_bytes, bytes);
    }
    rows.resize(num * bytes);
  }
  void add_padding(std::vector<std::uint8_t>& rows) const {
    if (bytes == padded_bytes) return;
    rows.resize(num * padded_bytes);
    for (std::size_t i = num; i-- > 0;) {
      std::uint8_t* const row = rows.data() + i * padded_bytes;
      std::memmove(row, rows.data() + i * bytes, bytes);
      std::memset(row + bytes, 0, padded_bytes - bytes);
    }
  }

  std::size_t num;
  std::size_t bytes;         // of a row that is stored
  std::size_t padded_bytes;  // of a row in memory
};

// Calls visit(slice, first element in the arena, end) for every stored slice of a store, cut to the runs of `part` and
// without rows of padding.
template <class Visit>
void for_each_slice(const ParameterStore& store, const ArenaRanges& part, const Visit& visit) {
  for (const Parameter& parameter : store.parameters()) {
    std::int64_t begin = parameter.arena_offset;
    for (const StoredSlice& slice : parameter.slices) {
      const std::int64_t end = begin + slice.memory_numel();
      for (const ArenaRange& range : part.ranges()) {
        const std::int64_t from = std::max(begin, range.begin);
        const std::int64_t to = std::min(end, range.end);
        if (from >= to) continue;
        const StoredSlice rows = part_of(slice, from - begin, to - begin);
        if (rows.numel() > 0) visit(rows, from, from + rows.memory_numel());
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
  PaddedRows(slice, values.dtype()).remove_padding(piece.bytes);
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
  const bool equal_types = stored_type == values.dtype();
  if (!equal_types) convert_elements(buffers.stored, stored_type, values.dtype(), buffers.converted);
  std::vector<std::uint8_t>& rows = equal_types ? buffers.stored : buffers.converted;
  PaddedRows(slice, values.dtype()).add_padding(rows);
  context.backend.upload(rows.data(), values);
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

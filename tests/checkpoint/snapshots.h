#pragma once
// Small snapshots whose every element says where it belongs, for tests of checkpoints.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/layout.h"
#include "checkpoint/store.h"
#include "support/unsynced_file_layer.h"
#include "util/crc32c.h"

namespace artel {

/// The bytes of a rectangle of a tensor: those of element e of the whole tensor depend on (name, version, e).
inline std::vector<std::uint8_t> element_bytes(std::string_view name, const Shape& shape, DType dtype,
                                               const Rectangle& rectangle, std::uint32_t version) {
  std::vector<std::uint8_t> bytes;
  const Shape extent = rectangle.extent();
  for (std::int64_t i = 0; i < extent.numel(); ++i) {
    std::int64_t index = 0;
    std::int64_t rest = i;
    std::int64_t stride = 1;
    for (int dim = shape.rank() - 1; dim >= 0; --dim) {
      index += (rectangle.begin[dim] + rest % extent[dim]) * stride;
      rest /= extent[dim];
      stride *= shape[dim];
    }
    std::uint32_t word = crc32c(&index, sizeof index, crc32c(name.data(), name.size(), version));
    for (std::size_t byte = 0; byte < dtype_size(dtype); ++byte) {
      bytes.push_back(static_cast<std::uint8_t>(word));
      word = word >> 8 | word << 24;
    }
  }
  return bytes;
}

inline TensorPiece make_piece(const std::string& name, const Shape& shape, DType dtype, const Shape& begin,
                              const Shape& end, std::uint32_t version = 0) {
  return {name, shape, dtype, begin, end, element_bytes(name, shape, dtype, {begin, end}, version)};
}

inline TensorPiece make_whole(const std::string& name, const Shape& shape, DType dtype, std::uint32_t version = 0) {
  const Rectangle whole = whole_rectangle(shape);
  return make_piece(name, shape, dtype, whole.begin, whole.end, version);
}

/// A snapshot of a step: weights in bf16, one of them in four rectangles, and optimizer state in f32.
inline Snapshot make_snapshot(std::int64_t step, std::uint32_t version = 0) {
  Snapshot snapshot;
  snapshot.step = step;
  snapshot.tokens = step * 4096;
  snapshot.config = {{"run", {{"name", "tiny"}, {"seed", 7}}}};
  snapshot.data = {{"next_sample", step * 16}};
  snapshot.world = {{"size", 1}, {"expert", 1}};
  snapshot.trainer = {{"attempt", 1}};
  const std::string matrix = "model.layers.0.mlp.experts.0.down_proj.weight";
  const Shape shape = {3, 5};
  snapshot.pieces.push_back(make_whole("model.norm.weight", {3}, DType::bf16, version));
  snapshot.pieces.push_back(make_piece(matrix, shape, DType::bf16, {0, 0}, {2, 2}, version));
  snapshot.pieces.push_back(make_piece(matrix, shape, DType::bf16, {0, 2}, {2, 5}, version));
  snapshot.pieces.push_back(make_piece(matrix, shape, DType::bf16, {2, 0}, {3, 4}, version));
  snapshot.pieces.push_back(make_piece(matrix, shape, DType::bf16, {2, 4}, {3, 5}, version));
  snapshot.pieces.push_back(make_whole("optimizer.exp_avg.model.norm.weight", {3}, DType::f32, version));
  return snapshot;
}

/// Whether a checkpoint holds exactly this snapshot.
inline bool holds(const Checkpoint& checkpoint, const Snapshot& snapshot) {
  if (checkpoint.step() != snapshot.step || checkpoint.tokens() != snapshot.tokens) return false;
  for (const TensorPiece& piece : snapshot.pieces) {
    if (!checkpoint.contains(piece.name)) return false;
    std::vector<std::uint8_t> found(piece.bytes.size());
    checkpoint.read(piece.name, piece.begin, piece.end, found.data());
    if (found != piece.bytes) return false;
  }
  return true;
}

/// Writes a file as it is.
inline void write_plain(const std::string& path, const std::string& bytes) {
  UnsyncedFileLayer files;
  OutputFile file = files.open_write(path);
  files.write(file, bytes.data(), bytes.size());
  files.close(file);
}

}  // namespace artel

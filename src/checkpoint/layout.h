#pragma once

#include <string>
#include <vector>

#include "core/shape.h"
#include "util/json.h"

// Shapes and rectangles of checkpoints, shared by writing and reading.

namespace artel {

/// The part [begin, end) per dimension of a tensor.
struct Rectangle {
  Shape begin;
  Shape end;

  /// end - begin per dimension, which must not be negative.
  Shape extent() const;
  bool overlaps(const Rectangle& other) const;
  /// "[0, 0] to [2, 3]"
  std::string to_string() const;
};

/// All of a tensor of this shape.
Rectangle whole_rectangle(const Shape& shape);

/// Errors, naming `where`: another number of dimensions than `shape`, begin behind end, end outside the shape.
void check_inside(const Shape& shape, const Rectangle& rectangle, const std::string& where);

/// Errors, naming `where`: rectangles that are not inside `shape`, overlap, or leave elements uncovered.
void check_tiling(const Shape& shape, const std::vector<Rectangle>& rectangles, const std::string& where);

Json shape_json(const Shape& shape);
/// Errors, naming `where`: not an array of at most four integers from 0 with a product of at most 2^56.
Shape parse_shape(const Json& json, const std::string& where);

}  // namespace artel

#include "checkpoint/layout.h"

#include <algorithm>

#include "util/text.h"

namespace artel {
namespace {

// Far above any tensor, and eight bytes of each element still count without overflow.
constexpr std::uint64_t max_elements = std::uint64_t{1} << 56;

}  // namespace

Shape Rectangle::extent() const {
  Shape shape;
  for (int i = 0; i < begin.rank(); ++i) shape.push_back(end[i] - begin[i]);
  return shape;
}

bool Rectangle::overlaps(const Rectangle& other) const {
  for (int i = 0; i < begin.rank(); ++i) {
    if (std::max(begin[i], other.begin[i]) >= std::min(end[i], other.end[i])) return false;
  }
  return true;
}

std::string Rectangle::to_string() const {
  return concat(begin.to_string(), " to ", end.to_string());
}

Rectangle whole_rectangle(const Shape& shape) {
  Rectangle whole{{}, shape};
  for (int i = 0; i < shape.rank(); ++i) whole.begin.push_back(0);
  return whole;
}

void check_inside(const Shape& shape, const Rectangle& rectangle, const std::string& where) {
  bool inside = rectangle.begin.rank() == shape.rank() && rectangle.end.rank() == shape.rank();
  for (int i = 0; inside && i < shape.rank(); ++i) {
    inside = rectangle.begin[i] <= rectangle.end[i] && rectangle.end[i] <= shape[i];
  }
  if (!inside) {
    fail("checkpoint",
         concat("required a rectangle within ", shape.to_string(), ", found ", rectangle.to_string(), " in ", where));
  }
}

void check_tiling(const Shape& shape, const std::vector<Rectangle>& rectangles, const std::string& where) {
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < rectangles.size(); ++i) {
    check_inside(shape, rectangles[i], where);
    for (std::size_t j = 0; j < i; ++j) {
      if (rectangles[i].overlaps(rectangles[j])) {
        fail("checkpoint", concat("required slices that do not overlap, found ", rectangles[j].to_string(), " and ",
                                  rectangles[i].to_string(), " in ", where));
      }
    }
    covered += rectangles[i].extent().numel();
  }
  // Disjoint and inside: they cover the shape exactly if they have as many elements.
  if (covered != shape.numel()) {
    fail("checkpoint", concat("required slices that cover ", shape.to_string(), ", ", shape.numel(),
                              " elements, found ", covered, " in ", where));
  }
}

Json shape_json(const Shape& shape) {
  Json json = Json::array();
  for (int i = 0; i < shape.rank(); ++i) json.push_back(shape[i]);
  return json;
}

Shape parse_shape(const Json& json, const std::string& where) {
  bool valid = json.is_array() && json.size() <= Shape::max_rank;
  std::uint64_t elements = 1;  // of the dimensions that are not 0, so that no order of multiplying overflows
  Shape shape;
  for (std::size_t i = 0; valid && i < json.size(); ++i) {
    valid = json[i].is_number_unsigned() && json[i].get<std::uint64_t>() <= max_elements;
    if (!valid) break;
    const auto dim = json[i].get<std::uint64_t>();
    valid = dim == 0 || elements <= max_elements / dim;
    elements *= std::max<std::uint64_t>(dim, 1);
    shape.push_back(static_cast<std::int64_t>(dim));
  }
  if (!valid) {
    fail("checkpoint",
         concat("required a list of at most ", Shape::max_rank,
                " integers from 0 with a product of at most 2^56, found ", excerpt_json(json), " in ", where));
  }
  return shape;
}

}  // namespace artel

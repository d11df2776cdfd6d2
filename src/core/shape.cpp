#include "core/shape.h"

#include "util/error.h"

namespace artel {

Shape::Shape(std::initializer_list<std::int64_t> dims) {
  for (const std::int64_t dim : dims) push_back(dim);
}

std::int64_t Shape::numel() const {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

std::int64_t Shape::inner() const {
  std::int64_t product = 1;
  for (int i = 1; i < rank_; ++i) product *= (*this)[i];
  return product;
}

void Shape::push_back(std::int64_t dim) {
  if (rank_ == max_rank) fail("shape", "required at most 4 dimensions");
  if (dim < 0) fail("shape", "required dimensions of at least 0, found " + std::to_string(dim));
  dims_[static_cast<std::size_t>(rank_++)] = dim;
}

bool Shape::operator==(const Shape& other) const {
  if (rank_ != other.rank_) return false;
  for (int i = 0; i < rank_; ++i) {
    if ((*this)[i] != other[i]) return false;
  }
  return true;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i > 0 ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

}  // namespace artel

#include "core/tensor.h"

#include <string>

#include "util/error.h"

namespace artel {

Storage::Storage(Allocator& allocator, std::size_t bytes)
    : allocator_(allocator), bytes_(bytes), data_(allocator.allocate(bytes)) {}

Storage::~Storage() {
  allocator_.deallocate(data_, bytes_);
}

Tensor Tensor::empty(Allocator& allocator, const Shape& shape, DType dtype) {
  // In double, which cannot wrap round; sizes near the limit are out of memory anyhow.
  double bytes = static_cast<double>(dtype_size(dtype));
  for (int i = 0; i < shape.rank(); ++i) bytes *= static_cast<double>(shape[i]);
  if (bytes >= 0x1p62) fail("tensor", "required less than 2^62 bytes, found the shape " + shape.to_string());
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.row_stride_ = shape.inner();
  tensor.storage_ = std::make_shared<Storage>(allocator, tensor.nbytes());
  return tensor;
}

Tensor Tensor::view(const Shape& shape) const {
  if (!defined()) fail("tensor.view", "required a defined tensor");
  if (!is_contiguous() || shape.numel() != numel()) {
    fail("tensor.view", "required a contiguous tensor of " + std::to_string(shape.numel()) + " elements for " +
                            shape.to_string() + ", found " + shape_.to_string() +
                            (is_contiguous() ? "" : " with strided rows"));
  }
  Tensor result = *this;
  result.shape_ = shape;
  result.row_stride_ = shape.inner();
  return result;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  if (shape_.rank() < 1 || begin < 0 || end < begin || end > shape_[0]) {
    fail("tensor.rows", "required a range within " + shape_.to_string() + ", found rows " + std::to_string(begin) +
                            " to " + std::to_string(end));
  }
  Tensor result = *this;
  result.shape_.set(0, end - begin);
  result.offset_bytes_ += static_cast<std::size_t>(begin * row_stride_) * dtype_size(dtype_);
  return result;
}

Tensor Tensor::columns(std::int64_t begin, std::int64_t end) const {
  if (shape_.rank() != 2 || begin < 0 || end < begin || end > shape_[1]) {
    fail("tensor.columns", "required a range within the columns of a matrix, found columns " + std::to_string(begin) +
                               " to " + std::to_string(end) + " of " + shape_.to_string());
  }
  Tensor result = *this;
  result.shape_.set(1, end - begin);
  result.offset_bytes_ += static_cast<std::size_t>(begin) * dtype_size(dtype_);
  return result;
}

void Tensor::check_dtype(DType dtype) const {
  if (!defined() || dtype != dtype_) {
    fail("tensor.data", std::string("required ") + dtype_name(dtype) + ", found " +
                            (defined() ? dtype_name(dtype_) : "an undefined tensor"));
  }
}

}  // namespace artel

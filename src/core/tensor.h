#pragma once

#include <memory>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace artel {

/// A block of device memory, returned to its allocator when the last tensor lets go. The allocator must outlive it.
class Storage {
 public:
  Storage(Allocator& allocator, std::size_t bytes);
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return allocator_.device(); }

 private:
  Allocator& allocator_;
  std::size_t bytes_;
  void* data_;
};

/// Plain data: storage, shape, element type. No mathematics inside; copies share the storage.
/// Inner dimensions are dense; rows (index 0) may lie `row_stride` elements apart, as in a view of some columns.
class Tensor {
 public:
  Tensor() = default;  ///< undefined: stands for "none" where a parameter is optional

  /// Uninitialised memory.
  static Tensor empty(Allocator& allocator, const Shape& shape, DType dtype);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int dim) const { return shape_[dim]; }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * dtype_size(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  std::int64_t row_stride() const { return row_stride_; }
  bool is_contiguous() const { return shape_.rank() < 1 || shape_[0] <= 1 || row_stride_ == shape_.inner(); }

  void* raw() const { return static_cast<char*>(storage_->data()) + offset_bytes_; }
  /// Errors: T is not the element type.
  template <class T>
  T* data() const {
    check_dtype(DTypeOf<T>::value);
    return static_cast<T*>(raw());
  }

  /// The same elements under another shape. Errors: not contiguous, another number of elements.
  Tensor view(const Shape& shape) const;
  /// Rows begin..end of dimension 0.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  /// Columns begin..end of a rank-2 tensor, rows left where they are.
  Tensor columns(std::int64_t begin, std::int64_t end) const;
  /// Whether another tensor shares this storage.
  bool is_shared() const { return storage_.use_count() > 1; }
  bool same_data(const Tensor& other) const { return defined() && other.defined() && raw() == other.raw(); }

 private:
  void check_dtype(DType dtype) const;

  std::shared_ptr<Storage> storage_;
  std::size_t offset_bytes_ = 0;
  Shape shape_;
  std::int64_t row_stride_ = 0;
  DType dtype_ = DType::f32;
};

}  // namespace artel

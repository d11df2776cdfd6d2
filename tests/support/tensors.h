#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/allocator.h"
#include "core/tensor.h"
#include "support/device_access.h"

namespace artel {

class TestDevice;

/// The types of activations.
constexpr std::array<DType, 2> act_types{DType::f32, DType::bf16};

inline std::size_t usize(std::int64_t x) {
  return static_cast<std::size_t>(x);
}

/// `count` normal numbers that depend on `name` alone, rounded to `dtype`: what a reference reads is what the kernel
/// reads.
std::vector<double> random_values(std::string_view name, std::size_t count, double stddev = 1.0,
                                  DType dtype = DType::f32);
/// Each value as `dtype` stores it.
std::vector<double> rounded(std::vector<double> values, DType dtype);

/// A contiguous tensor of f32, bf16, f64 or i32 with these values, rounded.
Tensor tensor_of(Allocator& allocator, const Shape& shape, DType dtype, const std::vector<double>& values);
/// The elements in order, gaps between rows left out. Errors: T is not the element type.
template <class T>
std::vector<T> elements_of(const Tensor& tensor) {
  static_cast<void>(tensor.data<T>());
  std::vector<T> elements(usize(tensor.numel()));
  read_tensor(tensor, elements.data());
  return elements;
}
std::vector<double> values_of(const Tensor& tensor);
std::vector<std::int32_t> ids_of(const Tensor& tensor);
/// The elements as bytes, for comparisons of bits.
std::string bytes_of(const Tensor& tensor);

/// Tensors that lie inside larger buffers full of NaN (integers: a huge number): a kernel that writes before, behind or
/// between the rows of a tensor is found by expect_intact(), one that reads there gives NaN. The tensors are not
/// aligned, as views of rows and columns are not, unless the device asks for it: then tensors begin at multiples of 16
/// bytes, and so do strided rows if their size is such a multiple.
class GuardedTensors {
 public:
  explicit GuardedTensors(const TestDevice& device);
  explicit GuardedTensors(Allocator& allocator, bool aligned = false) : allocator_(allocator), aligned_(aligned) {}

  /// A tensor that the kernel only reads: expect_intact() requires that it is unchanged. A gap > 0 leaves that many
  /// elements between the rows of a matrix.
  Tensor input(const std::string& name, const Shape& shape, DType dtype, const std::vector<double>& values,
               std::int64_t gap = 0);
  Tensor input(const std::string& name, const std::vector<std::int32_t>& ids);
  Tensor input(const std::string& name, const Shape& shape, const std::vector<std::int32_t>& ids);
  /// A tensor that the kernel overwrites, NaN until then.
  Tensor output(const std::string& name, const Shape& shape, DType dtype, std::int64_t gap = 0);
  /// A tensor that the kernel updates.
  Tensor updated(const std::string& name, const Shape& shape, DType dtype, const std::vector<double>& values,
                 std::int64_t gap = 0);
  /// The output of a kernel with a mode: overwritten, or added to `start` (of which a copy is in `values`).
  Tensor result(const std::string& name, const Shape& shape, DType dtype, bool accumulate,
                const std::vector<double>& start, std::int64_t gap = 0) {
    return accumulate ? updated(name, shape, dtype, start, gap) : output(name, shape, dtype, gap);
  }

  /// Empty, or the names of tensors whose guard, or which as inputs, were overwritten.
  std::string find_damage() const;
  /// Fails with the text of find_damage.
  void expect_intact() const;

 private:
  struct Guarded {
    std::string name;
    Tensor buffer;  ///< [rows + 2·guard, row stride], the tensor and its surroundings
    Tensor tensor;
    std::string input_bytes;
    bool is_input = false;
  };

  Tensor allocate(const std::string& name, const Shape& shape, DType dtype, std::int64_t gap);

  Allocator& allocator_;
  bool aligned_;
  std::vector<Guarded> guarded_;
};

}  // namespace artel

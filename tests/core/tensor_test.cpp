#include "core/tensor.h"

#include <numeric>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

/// f32 elements 0, 1, 2, …
Tensor counted(Allocator& allocator, const Shape& shape) {
  const Tensor tensor = Tensor::empty(allocator, shape, DType::f32);
  std::iota(tensor.data<float>(), tensor.data<float>() + tensor.numel(), 0.0F);
  return tensor;
}

}  // namespace

TEST_CASE("A new tensor is contiguous and as large as its shape says") {
  HostAllocator allocator;
  const Tensor tensor = Tensor::empty(allocator, {3, 4, 5}, DType::bf16);
  CHECK(tensor.defined());
  CHECK(tensor.shape() == Shape{3, 4, 5});
  CHECK(tensor.size(2) == 5);
  CHECK(tensor.numel() == 60);
  CHECK(tensor.nbytes() == 120);
  CHECK(tensor.dtype() == DType::bf16);
  CHECK(tensor.device() == Device::cpu);
  CHECK(tensor.row_stride() == 20);
  CHECK(tensor.is_contiguous());
}

TEST_CASE("A tensor without elements or without dimensions is a tensor") {
  HostAllocator allocator;
  const Tensor none = Tensor::empty(allocator, {0, 8}, DType::f32);
  CHECK(none.defined());
  CHECK(none.nbytes() == 0);
  CHECK(none.is_contiguous());
  CHECK(none.rows(0, 0).numel() == 0);
  const Tensor scalar = Tensor::empty(allocator, {}, DType::f64);
  CHECK(scalar.numel() == 1);
  *scalar.data<double>() = 2.5;
  CHECK(*scalar.data<double>() == 2.5);
}

TEST_CASE("Copies and views share storage, which goes back with the last of them") {
  HostAllocator allocator;
  Tensor rest;
  {
    const Tensor tensor = counted(allocator, {6, 4});
    CHECK_FALSE(tensor.is_shared());
    rest = tensor.rows(2, 4);
    CHECK(tensor.is_shared());
    CHECK_FALSE(rest.same_data(tensor));
    CHECK(tensor.rows(0, 1).same_data(tensor));
    rest.data<float>()[0] = -1.0F;
    CHECK(tensor.data<float>()[8] == -1.0F);
  }
  CHECK(allocator.stats().active_bytes > 0);
  CHECK(rest.data<float>()[1] == 9.0F);
  rest = Tensor();
  CHECK(allocator.stats().active_bytes == 0);
}

TEST_CASE("A view has the same elements under another shape") {
  HostAllocator allocator;
  const Tensor tensor = counted(allocator, {6, 4});
  const Tensor view = tensor.view({2, 3, 4});
  CHECK(view.same_data(tensor));
  CHECK(view.row_stride() == 12);
  CHECK(view.rows(1, 2).data<float>()[0] == 12.0F);
}

TEST_CASE("Rows of any rank start where they lie") {
  HostAllocator allocator;
  const Tensor tensor = counted(allocator, {5, 2, 3});
  const Tensor rows = tensor.rows(1, 3);
  CHECK(rows.shape() == Shape{2, 2, 3});
  CHECK(rows.is_contiguous());
  CHECK(rows.data<float>()[0] == 6.0F);
  CHECK(rows.rows(1, 2).data<float>()[0] == 12.0F);
  CHECK(counted(allocator, {7}).rows(3, 7).data<float>()[0] == 3.0F);
}

TEST_CASE("Columns leave the rows where they lie") {
  HostAllocator allocator;
  const Tensor tensor = counted(allocator, {4, 10});
  const Tensor columns = tensor.columns(3, 7);
  CHECK(columns.shape() == Shape{4, 4});
  CHECK(columns.row_stride() == 10);
  CHECK_FALSE(columns.is_contiguous());
  CHECK(columns.data<float>()[0] == 3.0F);
  const Tensor inner = columns.rows(1, 3).columns(1, 2);
  CHECK(inner.row_stride() == 10);
  CHECK(inner.data<float>()[0] == 14.0F);
  CHECK(inner.data<float>()[inner.row_stride()] == 24.0F);
  // One row has no gaps, and all columns are the tensor itself.
  CHECK(columns.rows(2, 3).is_contiguous());
  CHECK(columns.rows(2, 3).view({2, 2}).data<float>()[0] == 23.0F);
  CHECK(tensor.columns(0, 10).is_contiguous());
}

TEST_CASE("What a tensor cannot do is an error that names what was asked and what is there") {
  HostAllocator allocator;
  const Tensor tensor = counted(allocator, {4, 10});
  CHECK(error_text([&] {
          tensor.view({4, 9});
        }) == "[tensor.view] required a contiguous tensor of 36 elements for [4, 9], found [4, 10]");
  CHECK(error_text([&] { tensor.columns(0, 5).view({20}); }) ==
        "[tensor.view] required a contiguous tensor of 20 elements for [20], found [4, 5] with strided rows");
  CHECK(error_text([&] { Tensor().view({1}); }) == "[tensor.view] required a defined tensor");
  CHECK(error_text([&] { tensor.rows(2, 5); }) == "[tensor.rows] required a range within [4, 10], found rows 2 to 5");
  CHECK(error_text([&] { tensor.rows(-1, 2); }) == "[tensor.rows] required a range within [4, 10], found rows -1 to 2");
  CHECK(error_text([&] { tensor.rows(3, 2); }) == "[tensor.rows] required a range within [4, 10], found rows 3 to 2");
  CHECK(error_text([&] { tensor.columns(4, 11); }) ==
        "[tensor.columns] required a range within the columns of a matrix, found columns 4 to 11 of [4, 10]");
  CHECK(error_text([&] {
          tensor.view({2, 2, 10}).columns(0, 1);
        }) == "[tensor.columns] required a range within the columns of a matrix, found columns 0 to 1 of [2, 2, 10]");
  CHECK(error_text([&] { tensor.data<bf16>(); }) == "[tensor.data] required bf16, found f32");
  CHECK(error_text([&] { Tensor().data<float>(); }) == "[tensor.data] required f32, found an undefined tensor");
}

TEST_CASE("A shape whose size does not fit is an error, not a small tensor") {
  HostAllocator allocator;
  const std::int64_t large = std::int64_t{1} << 32;
  CHECK(contains(error_text([&] {
                   Tensor::empty(allocator, {large, large}, DType::f32);
                 }),
                 "[tensor] required less than 2^62 bytes, found the shape [4294967296, 4294967296]"));
  CHECK(Tensor::empty(allocator, {large, 0, large}, DType::f32).numel() == 0);
}

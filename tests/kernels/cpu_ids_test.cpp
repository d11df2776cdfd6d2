#include "support/catch.h"
#include "support/error_text.h"
#include "support/tensors.h"
#include "support/test_device.h"

// Values of ids that kernels of the CPU look at and those of a GPU do not.

namespace artel {
namespace {

TEST_CASE("sort_by_expert and expert_counts name the id that no expert has and its slot", "[cpu]") {
  TestDevice device;
  const Context context = device.context();
  const Tensor ids = tensor_of(device.allocator, {4}, DType::i32, {0, 2, 3, 1});
  const Tensor negative = tensor_of(device.allocator, {4}, DType::i32, {0, 2, -1, 1});
  const Tensor rows = context.empty({4}, DType::i32);
  const auto sort = [&](const Tensor& of) {
    device.backend.sort_by_expert(of, 3, context.empty({4}, DType::i32), rows, rows);
  };
  CHECK(error_text([&] { sort(ids); }) == "[sort_by_expert] required ids from 0 to 2, found 3 at slot 2");
  CHECK(error_text([&] { sort(negative); }) == "[sort_by_expert] required ids from 0 to 2, found -1 at slot 2");
  const Tensor offsets = tensor_of(device.allocator, {3}, DType::i32, {0, 2, 4});
  CHECK(error_text([&] {
          device.backend.expert_counts(ids, offsets, 2, context.empty({1, 3}, DType::i32));
        }) == "[expert_counts] required ids from 0 to 2, found 3 at slot 2");
}

}  // namespace
}  // namespace artel

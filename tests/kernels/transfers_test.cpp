#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

// Sizes around those of the memory that transfers go through: nothing, one element, and several pieces of it.
TEST_CASE("what was uploaded comes back, and the host memory of an upload is free at once") {
  for_each_device([](TestDevice& device) {
    for (const std::size_t count : {0UL, 1UL, 1000UL, 5000000UL}) {
      INFO(count << " elements");
      std::vector<float> values(count);
      for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 65536);
      const std::vector<float> expected = values;
      const Tensor x = Tensor::empty(device.allocator, {static_cast<std::int64_t>(count)}, DType::f32);
      device.backend.upload(values.data(), x);
      values.assign(count, -1.0F);
      device.backend.download(x, values.data());
      CHECK(values == expected);
    }
  });
}

TEST_CASE("many small uploads on the way keep their values apart") {
  for_each_device([](TestDevice& device) {
    std::vector<Tensor> tensors;
    for (int i = 0; i < 300; ++i) {
      const std::vector<float> values(20000, static_cast<float>(i));
      tensors.push_back(Tensor::empty(device.allocator, {20000}, DType::f32));
      device.backend.upload(values.data(), tensors.back());
    }
    for (int i = 0; i < 300; ++i) {
      std::vector<float> values(20000);
      device.backend.download(tensors[static_cast<std::size_t>(i)], values.data());
      CHECK(values == std::vector<float>(20000, static_cast<float>(i)));
    }
  });
}

TEST_CASE("a download that was started has the values of its place among the kernels") {
  for_each_device([](TestDevice& device) {
    Tensor x = Tensor::empty(device.allocator, {1000}, DType::f32);
    std::vector<float> first(1000), second(1000), dropped(1000, 5.0F);
    device.backend.fill(x, 1.0F);
    const auto first_copy = device.backend.start_download(x, first.data());
    device.backend.fill(x, 2.0F);
    const auto second_copy = device.backend.start_download(x, second.data());
    device.backend.start_download(x, dropped.data());
    x = Tensor();
    const Tensor other = Tensor::empty(device.allocator, {1000}, DType::f32);
    device.backend.fill(other, 3.0F);
    second_copy->wait();
    CHECK(second == std::vector<float>(1000, 2.0F));
    first_copy->wait();
    first_copy->wait();
    CHECK(first == std::vector<float>(1000, 1.0F));
  });
}

}  // namespace
}  // namespace artel

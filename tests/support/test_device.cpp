#include "support/test_device.h"

#include "kernels/checks/attention.h"
#include "support/catch.h"
#include "support/device_access.h"
#include "support/tensors.h"

namespace artel {

TestDevice::TestDevice(int num_threads) : TestDevice(make_device_parts(num_threads), "", false) {}

TestDevice::TestDevice(std::unique_ptr<DeviceParts> parts, std::string device_name, bool aligned_tensors)
    : parts_(std::move(parts)),
      allocator(parts_->allocator()),
      pool(parts_->pool()),
      backend(parts_->backend()),
      name(std::move(device_name)),
      aligned(aligned_tensors) {}

TestDevice::~TestDevice() {
  std::string reports = parts_->find_damage();
  parts_.reset();
  reports += take_device_reports();
  if (!reports.empty()) FAIL_CHECK(reports);
}

bool TestDevice::takes_head_dim(std::int64_t head_dim) const {
  return artel::takes_head_dim(backend.device(), head_dim);
}

void for_each_device(const std::function<void(TestDevice&)>& body) {
  for (const auto& make : all_devices()) {
    TestDevice device = make();
    INFO(device.name);
    body(device);
  }
}

void expect_same_bits_on_every_run(const std::function<NamedTensors(TestDevice&)>& run) {
  std::vector<std::string> expected;
  for (const auto& make : equal_devices()) {
    TestDevice device = make();
    INFO(device.name);
    const NamedTensors outputs = run(device);
    REQUIRE_FALSE(outputs.empty());
    const bool first = expected.empty();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::string bits = bytes_of(outputs[i].second);
      REQUIRE_FALSE(bits.empty());
      if (first) {
        expected.push_back(bits);
      } else if (bits != expected[i]) {
        FAIL_CHECK(outputs[i].first << " differs from the result of the first run");
      } else {
        SUCCEED(outputs[i].first);
      }
    }
  }
}

}  // namespace artel

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/context.h"
#include "core/tensor.h"
#include "core/thread_pool.h"
#include "kernels/backend.h"

namespace artel {

/// What a device of tests is made of; test_devices_cpu.cpp and test_devices_cuda.cpp each have their own.
class DeviceParts {
 public:
  virtual ~DeviceParts() = default;
  virtual Allocator& allocator() = 0;
  virtual ThreadPool& pool() = 0;
  virtual Backend& backend() = 0;
  /// Empty, or what was written beside the memory that the allocator gave out, scratch of the backend included.
  virtual std::string find_damage() { return ""; }
};

/// Allocator, backend and threads of one device, for tests, which do not know what it is: the test executable is linked
/// with one list of devices.
class TestDevice {
 public:
  /// The best of the devices; a GPU leaves the threads idle.
  explicit TestDevice(int num_threads = 1);
  /// `aligned`: what GuardedTensors makes begins at multiples of 16 bytes.
  TestDevice(std::unique_ptr<DeviceParts> parts, std::string device_name, bool aligned_tensors);
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;
  /// Fails the test case if a checker of the device or a guard of its allocator has found anything.
  ~TestDevice();

  Context context() { return Context{allocator, backend, pool}; }
  /// Whether its kernels of attention take heads of this size.
  bool takes_head_dim(std::int64_t head_dim) const;

 private:
  std::unique_ptr<DeviceParts> parts_;

 public:
  Allocator& allocator;
  ThreadPool& pool;
  Backend& backend;
  const std::string name;
  const bool aligned;
};

// Defined by the list of devices that is linked.

/// The parts of the best device.
std::unique_ptr<DeviceParts> make_device_parts(int num_threads);
/// CPU: every instruction set of this processor, on two threads. GPU: twice the same one, with unaligned tensors and
/// with aligned ones, since kernels read and write in packs only what is aligned.
std::vector<std::function<TestDevice()>> all_devices();
/// Devices that must give the same bits. CPU: 1, 2, 3 and 4 threads; GPU: the same one again and again.
std::vector<std::function<TestDevice()>> equal_devices();

/// Runs `body` with every device, one after another. A failure names the device.
void for_each_device(const std::function<void(TestDevice&)>& body);

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Runs `run` on all equal devices and requires that every returned tensor has the same bits each time.
void expect_same_bits_on_every_run(const std::function<NamedTensors(TestDevice&)>& run);

}  // namespace artel

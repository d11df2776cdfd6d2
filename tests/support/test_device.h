#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/context.h"
#include "core/thread_pool.h"
#include "kernels/cpu/cpu_backend.h"

namespace artel {

/// Allocator, threads and backend of one CPU, for tests.
class TestDevice {
 public:
  explicit TestDevice(int num_threads = 1, cpu::Isa isa = cpu::detect_isa())
      : pool(num_threads, &cpu::Gemm::prepare_thread), backend(pool, allocator, CpuOptions{isa}) {}

  Context context() { return Context{allocator, backend, pool}; }

  HostAllocator allocator;
  ThreadPool pool;
  CpuBackend backend;
};

/// Every instruction set that this processor has, the least first.
std::vector<cpu::Isa> supported_isas();

/// Runs `body` once per supported instruction set, on two threads. A failure names the instruction set.
void for_each_isa(const std::function<void(TestDevice&)>& body);

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Runs `run` with 1, 2, 3 and 4 threads and requires that every returned tensor has the same bits each time.
void expect_same_bits_for_any_num_threads(const std::function<NamedTensors(TestDevice&)>& run);

}  // namespace artel

#pragma once

#include <cstddef>
#include <string>

#include "core/tensor.h"

namespace artel {

// How tests reach the memory of the device under test: nothing else in tests/support and tests/kernels reads or writes
// where a tensor points. The first three functions are defined by device_access_cpu.cpp, or by device_access_cuda.cpp
// with emulator_reports_cuda.cpp or no_reports_cuda.cpp; which is a matter of linking.

/// Waits for the device, then copies bytes of its memory to the host, and the reverse.
void copy_from_device(const void* device, void* host, std::size_t num_bytes);
void copy_to_device(const void* host, void* device, std::size_t num_bytes);

/// What watches over the device has found since the last call: a report a line. Empty if nothing watches.
std::string take_device_reports();

/// host = the elements in order, nbytes() of them, what lies between strided rows left out.
void read_tensor(const Tensor& tensor, void* host);
/// The reverse; what lies between strided rows stays as it is.
void write_tensor(const void* host, const Tensor& tensor);

}  // namespace artel

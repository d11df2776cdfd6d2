#include "support/device_access.h"

#include <cstring>
#include <vector>

namespace artel {
namespace {

struct Rows {
  explicit Rows(const Tensor& tensor)
      : count(static_cast<std::size_t>(tensor.size(0))),
        bytes(static_cast<std::size_t>(tensor.shape().inner()) * dtype_size(tensor.dtype())),
        stride_bytes(static_cast<std::size_t>(tensor.row_stride()) * dtype_size(tensor.dtype())) {}

  std::size_t extent() const { return (count - 1) * stride_bytes + bytes; }

  std::size_t count, bytes, stride_bytes;
};

}  // namespace

// Strided rows travel together with what is between them: one copy, however many rows.

void read_tensor(const Tensor& tensor, void* host) {
  if (tensor.nbytes() == 0) return;
  if (tensor.is_contiguous()) {
    copy_from_device(tensor.raw(), host, tensor.nbytes());
    return;
  }
  const Rows rows(tensor);
  std::vector<char> extent(rows.extent());
  copy_from_device(tensor.raw(), extent.data(), extent.size());
  for (std::size_t i = 0; i < rows.count; ++i) {
    std::memcpy(static_cast<char*>(host) + i * rows.bytes, extent.data() + i * rows.stride_bytes, rows.bytes);
  }
}

void write_tensor(const void* host, const Tensor& tensor) {
  if (tensor.nbytes() == 0) return;
  if (tensor.is_contiguous()) {
    copy_to_device(host, tensor.raw(), tensor.nbytes());
    return;
  }
  const Rows rows(tensor);
  std::vector<char> extent(rows.extent());
  copy_from_device(tensor.raw(), extent.data(), extent.size());
  for (std::size_t i = 0; i < rows.count; ++i) {
    std::memcpy(extent.data() + i * rows.stride_bytes, static_cast<const char*>(host) + i * rows.bytes, rows.bytes);
  }
  copy_to_device(extent.data(), tensor.raw(), extent.size());
}

}  // namespace artel

#include <cstring>

#include "support/device_access.h"

namespace artel {

void copy_from_device(const void* device, void* host, std::size_t num_bytes) {
  std::memcpy(host, device, num_bytes);
}

void copy_to_device(const void* host, void* device, std::size_t num_bytes) {
  std::memcpy(device, host, num_bytes);
}

std::string take_device_reports() {
  return "";
}

}  // namespace artel

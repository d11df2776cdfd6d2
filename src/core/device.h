#pragma once

#include <cstdint>

namespace artel {

enum class Device : std::uint8_t { cpu, cuda };

constexpr const char* device_name(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

}  // namespace artel

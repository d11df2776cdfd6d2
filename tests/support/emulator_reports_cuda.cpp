#include "emulator/emulator.h"
#include "support/device_access.h"

namespace artel {

std::string take_device_reports() {
  std::string reports;
  for (const emulator::Error& error : emulator::errors()) reports += emulator::to_string(error) + '\n';
  emulator::clear_errors();
  return reports;
}

}  // namespace artel

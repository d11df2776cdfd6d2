#include "support/device_access.h"

namespace artel {

std::string take_device_reports() {
  return "";
}

}  // namespace artel

#pragma once

#include <string>

namespace artel {

/// The name of this machine; "localhost" when it has none.
std::string host_name();

}  // namespace artel

#pragma once

#include <string>

namespace artel {

/// The name of this machine; "localhost" when it has none.
std::string host_name();

/// Processors that this process may run on; at least 1.
int available_cores();

}  // namespace artel

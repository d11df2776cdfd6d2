#pragma once

#include <string>

namespace artel {

// The Python files of tools/hf, which are compiled into the executable: an export of the artel layout holds them.

/// configuration_artel.py
std::string configuration_artel_py();
/// modeling_artel.py
std::string modeling_artel_py();

}  // namespace artel

#pragma once

#include <string>
#include <string_view>

namespace artel {

/// `text` as part of a message of one line: control characters become spaces, and what goes beyond `max_bytes` bytes
/// becomes "…" (never in the middle of a UTF-8 character).
std::string one_line(std::string_view text, size_t max_bytes = std::string_view::npos);

}  // namespace artel

#include "util/error.h"

#include <string>

#include "util/one_line.h"

namespace artel {

Error::Error(std::string_view where, std::string_view what)
    : std::runtime_error(one_line(std::string("[").append(where).append("] ").append(what))) {}

}  // namespace artel

#pragma once

#include <string>

#include "core/shape.h"
#include "util/json.h"

// Names and small conversions shared by writing and reading checkpoints.

namespace artel {

inline constexpr const char* checkpoint_format = "artel-checkpoint";
inline constexpr std::int64_t checkpoint_version = 1;
inline constexpr const char* temporary_prefix = ".tmp-";
inline constexpr const char* replaced_prefix = ".replaced-";

/// "step-00000200"
std::string step_name(std::int64_t step);
/// The step of such a name; -1 for any other.
std::int64_t parse_step_name(const std::string& name);

Shape zero_shape(int rank);
/// end - begin per dimension.
Shape extent(const Shape& begin, const Shape& end);
Json shape_json(const Shape& shape);
/// Errors: not an array of at most four non-negative numbers.
Shape parse_shape(const Json& json, const std::string& where);

/// Checksum of a manifest without its own "manifest_crc32c", over its compact form.
std::string manifest_checksum(Json manifest);

}  // namespace artel

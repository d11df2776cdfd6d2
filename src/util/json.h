#pragma once
// The one home of nlohmann/json: everything else includes this header.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "util/error.h"

namespace artel {

/// Keys keep the order in which they were written.
using Json = nlohmann::ordered_json;

/// Keys are sorted and found in logarithmic time, where Json looks through a list: for objects with thousands of
/// members. A member converts to Json by assignment.
using SortedJson = nlohmann::json;

/// Parses one JSON document. Throws Error("where", …) naming line and column of the first byte that does not fit.
Json parse_json(std::string_view text, std::string_view where);
SortedJson parse_sorted_json(std::string_view text, std::string_view where);

/// Serialises `json`, compact for indent < 0. Bytes that are not UTF-8 become U+FFFD, NaN and infinities become null.
std::string dump_json(const Json& json, int indent = -1);

/// The first 60 bytes of the compact form, for messages.
std::string excerpt_json(const Json& json);

/// The member `key` of `object`. Throws Error when `object` is no object or has no such member.
const Json& json_member(const Json& object, std::string_view key, std::string_view where);

/// The member `key` of `object` as a T. Throws Error when it is missing, of another type, or outside the range of T.
template <typename T>
T json_value(const Json& object, std::string_view key, std::string_view where);

}  // namespace artel

#pragma once

#include <string>
#include <string_view>

#include "util/error.h"

namespace artel {

/// The text of the Error that `action` throws; "(no error)" when it throws none. Other exceptions pass through.
template <typename Action>
std::string error_text(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

/// The text of an error without what was found: "[op] required name …" up to the comma.
template <typename Action>
std::string requirement_of(Action&& action) {
  const std::string text = error_text(action);
  return text.substr(0, text.find(", found"));
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace artel

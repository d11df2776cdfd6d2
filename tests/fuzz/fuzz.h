#pragma once
// What the fuzz targets share. A target feeds damaged input to a reader, which may refuse it with an Error and nothing
// else: another exception, a failed check() or a finding of the sanitizers ends the process.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "util/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace artel {

/// Ends the process with `text` unless `condition` holds.
inline void check(bool condition, std::string_view text) {
  if (condition) return;
  std::fprintf(stderr, "check failed: %.*s\n", static_cast<int>(text.size()), text.data());
  std::abort();
}

/// The text of the Error that `action` throws, which names a place; empty when it throws none.
template <typename Action>
std::string refusal_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what();
    check(text.size() > 4 && text.front() == '[' && text.find("] ") != std::string::npos, "an error names its place");
    return text;
  }
  return {};
}

inline std::string text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace artel

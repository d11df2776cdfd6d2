#pragma once

#include <string>
#include <vector>

#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {

struct BadInput {
  std::string yaml;
  int line;  ///< that the message names; 0: the file alone
  std::vector<std::string> parts;
};

/// Checks that `yaml`, as a file bad.yaml, gives one line of bounded length that names file and line and holds `parts`.
inline void check_message(const std::string& yaml, int line, const std::vector<std::string>& parts) {
  const std::string text = error_text([&] { parse_config(yaml, "bad.yaml"); });
  INFO(one_line(yaml, 200) << "\n" << text);
  const std::string place = line > 0 ? concat("[config] bad.yaml:", line, ": ") : "[config] bad.yaml: ";
  CHECK(text.rfind(place, 0) == 0);
  CHECK(one_line(text) == text);
  CHECK(text.size() < 400);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(contains(text, part));
  }
}

}  // namespace artel

#include "config/yaml.h"
#include "fuzz/fuzz.h"
#include "util/one_line.h"

// A YAML config. What loads must survive a dump; what does not is refused on one line of bounded length.

using namespace artel;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t max_message_bytes = 2000;
  const std::string text = text_of(data, size);
  Config config;
  const std::string refusal = refusal_of([&] { config = parse_config(text, "/nonexistent/fuzz.yaml"); });
  if (!refusal.empty()) {
    check(refusal.rfind("[config] ", 0) == 0, "an error begins with [config]");
    check(one_line(refusal) == refusal, "an error is one line");
    check(refusal.size() <= max_message_bytes, "an error is of bounded length");
    return 0;
  }
  check(parse_config(dump_config(config), "dump.yaml") == config, "a config that loads survives its dump as YAML");
  check(config_from_json(config_json(config), "manifest.json") == config, "and as JSON");
  return 0;
}

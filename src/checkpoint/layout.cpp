#include "checkpoint/layout.h"

#include <cstdio>

#include "util/crc32c.h"
#include "util/text.h"

namespace artel {

std::string step_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

std::int64_t parse_step_name(const std::string& name) {
  constexpr std::string_view prefix = "step-";
  if (name.rfind(prefix, 0) != 0 || name.size() < prefix.size() + 8 || name.size() > prefix.size() + 18) return -1;
  std::int64_t step = 0;
  for (const char digit : name.substr(prefix.size())) {
    if (digit < '0' || digit > '9') return -1;
    step = step * 10 + (digit - '0');
  }
  return step;
}

Shape zero_shape(int rank) {
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(0);
  return shape;
}

Shape extent(const Shape& begin, const Shape& end) {
  Shape shape;
  for (int i = 0; i < begin.rank(); ++i) shape.push_back(end[i] - begin[i]);
  return shape;
}

Json shape_json(const Shape& shape) {
  Json json = Json::array();
  for (int i = 0; i < shape.rank(); ++i) json.push_back(shape[i]);
  return json;
}

Shape parse_shape(const Json& json, const std::string& where) {
  if (!json.is_array() || json.size() > Shape::max_rank) {
    fail("checkpoint",
         concat("required a list of at most ", Shape::max_rank, " sizes, found ", dump_json(json), " in ", where));
  }
  Shape shape;
  for (const Json& dim : json) {
    if (!dim.is_number_unsigned() || dim.get<std::uint64_t>() > (std::uint64_t{1} << 40)) {
      fail("checkpoint", concat("required sizes of 0 to 2^40, found ", dump_json(json), " in ", where));
    }
    shape.push_back(dim.get<std::int64_t>());
  }
  return shape;
}

std::string manifest_checksum(Json manifest) {
  manifest.erase("manifest_crc32c");
  const std::string text = dump_json(manifest);
  return crc32c_hex(crc32c(text.data(), text.size()));
}

}  // namespace artel

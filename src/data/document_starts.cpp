#include "data/document_starts.h"

#include <algorithm>

namespace artel {

void document_starts_by_id(const int32_t* ids, int64_t count, int32_t end_of_document, int32_t* starts) {
  int32_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    starts[i] = start;
    if (ids[i] == end_of_document) start = static_cast<int32_t>(i + 1);
  }
}

void document_starts_by_bounds(const std::vector<int64_t>& bounds, int64_t begin, int64_t count, int32_t* starts) {
  auto next = std::upper_bound(bounds.begin(), bounds.end(), begin);
  int32_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (; next != bounds.end() && *next <= begin + i; ++next) start = static_cast<int32_t>(i);
    starts[i] = start;
  }
}

}  // namespace artel

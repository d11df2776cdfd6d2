#pragma once

#include <cstdint>
#include <vector>

namespace artel {

// Where documents begin within a window of ids: starts [count] holds for every id the first position of the window that
// is of the same document, 0 for a document that began before the window.

/// `end_of_document` is the last id of each document.
void document_starts_by_id(const int32_t* ids, int64_t count, int32_t end_of_document, int32_t* starts);

/// The window begins at position `begin` of a stream whose documents begin at `bounds` (ascending).
void document_starts_by_bounds(const std::vector<int64_t>& bounds, int64_t begin, int64_t count, int32_t* starts);

}  // namespace artel

#pragma once
// What holds for every token file that could be opened.

#include <algorithm>
#include <vector>

#include "data/token_file.h"
#include "fuzz/fuzz.h"

namespace artel {

inline void check_token_file(const TokenFile& file, int64_t vocab_size) {
  check(file.size() > 0, "an open file holds ids");
  std::vector<int32_t> ids(static_cast<size_t>(file.size()), -1);
  const bool whole = refusal_of([&] { file.read(0, file.size(), ids.data()); }).empty();
  const auto inside = [&](int32_t id) { return id >= 0 && id < vocab_size; };
  if (whole) {
    check(std::all_of(ids.begin(), ids.end(), inside), "ids that are read lie in the vocabulary");
    check(file.at(file.size() - 1) == ids.back(), "a single id is that of the whole");
  }
  int32_t id = 0;
  check(!refusal_of([&] { file.read(file.size(), 1, &id); }).empty(), "nothing is read behind the end");
  check(!refusal_of([&] { file.read(-1, 1, &id); }).empty(), "nothing is read before the beginning");
  check(refusal_of([&] { file.read(file.size(), 0, &id); }).empty(), "nothing can be read at the end");
}

/// Positions that rise from 0 to the number of ids.
inline void check_starts(const std::vector<int64_t>& starts, int64_t size) {
  check(starts.size() >= 2 && starts.front() == 0 && starts.back() == size, "documents are all the ids");
  check(std::is_sorted(starts.begin(), starts.end()), "documents stand one behind the other");
}

}  // namespace artel

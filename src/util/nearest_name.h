#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// The one of `names` that `word` was most likely meant to be; empty when none is near. For "did you mean" texts.
/// Distance: Damerau-Levenshtein with adjacent transpositions, letter case ignored, '-' and '_' equal. Near: at most a
/// third of the longer length (at least one edit, never every letter). Among equals the first name wins.
std::string nearest_name(std::string_view word, const std::vector<std::string>& names);

}  // namespace artel

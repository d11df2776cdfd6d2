#pragma once

#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace artel {

/// Whether elements of one type can be stored as the other: equal types, and f32 and bf16.
bool is_convertible(DType from, DType to);

/// `to` = the elements of `from`, which have type `from_type`, as `to_type`: rounded to nearest from f32 to bf16, exact
/// otherwise. `to` may not be `from`.
void convert_elements(const std::vector<std::uint8_t>& from, DType from_type, DType to_type,
                      std::vector<std::uint8_t>& to);

/// Multiplies elements of f32 or bf16, rounded to nearest. Returns whether all results are finite.
bool scale_elements(std::vector<std::uint8_t>& elements, DType dtype, float factor);

}  // namespace artel

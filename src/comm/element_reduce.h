#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/communicator.h"

namespace artel {

/// Element types that travel: those of tensors, and those of small host values.
enum class ElementType : std::uint8_t { f32, bf16, f64, i32, i64, byte };

ElementType element_type(DType dtype);
std::int64_t element_size(ElementType type);
const char* element_name(ElementType type);
const char* reduction_name(Reduction reduction);

/// out = reduction of the parts' elements in the order of the parts, the first part being the start; bf16 in fp32,
/// rounded once; integers wrap round; in max and min a NaN wins. parts: one pointer per rank to `count` elements; out
/// may be one of them.
void reduce_elements(ElementType type, Reduction reduction, std::span<const std::byte* const> parts, std::int64_t count,
                     std::byte* out);

}  // namespace artel

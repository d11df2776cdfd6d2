#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "core/thread_pool.h"

namespace artel {

/// Size of a task where nothing else decides: 64 KiB of floats, some microseconds of work. Tasks depend on shapes
/// alone.
inline constexpr std::int64_t elements_per_task = 16384;

/// Rows of `row_elements` elements that make a task.
inline std::int64_t rows_per_task(std::int64_t row_elements) {
  return std::max<std::int64_t>(1, elements_per_task / std::max<std::int64_t>(1, row_elements));
}

inline std::int64_t num_chunks(std::int64_t total, std::int64_t chunk) {
  return (total + chunk - 1) / chunk;
}

/// body(begin, end, worker) for the chunks of `chunk` indices that make 0 .. total-1.
template <class Body>
void for_chunks(ThreadPool& pool, std::int64_t total, std::int64_t chunk, const Body& body) {
  const auto task = [&](std::int64_t index, int worker) {
    body(index * chunk, std::min(total, (index + 1) * chunk), worker);
  };
  pool.parallel_for(num_chunks(total, chunk), std::ref(task));  // a reference: std::function need not allocate
}

}  // namespace artel

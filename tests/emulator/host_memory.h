#pragma once

#include <cstddef>

// Pinned memory of the host (cudaMallocHost): copies run beside the host, so that it matters who uses it when.
namespace emulator {

/// Null if there is none.
void* pinned_allocate(std::size_t bytes);
/// false: p was not allocated here.
bool pinned_free(void* p);
/// Bytes of the pinned allocation that begins at p; 0 if there is none.
std::size_t pinned_bytes(const void* p);
bool is_pinned(const void* p);
/// Reports (memcheck) and returns false if [p, p + bytes) begins in a pinned allocation and reaches beyond it.
bool pinned_check(const void* p, std::size_t bytes, const char* user, const char* what);

}  // namespace emulator

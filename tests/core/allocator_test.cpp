#include "core/allocator.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

// Under these sanitizers malloc ends the process on an impossible size instead of returning null.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool malloc_can_fail = false;
#else
constexpr bool malloc_can_fail = true;
#endif

}  // namespace

TEST_CASE("Sizes are rounded up to an eighth of their power of two") {
  CHECK(HostAllocator::rounded_size(0) == 64);
  CHECK(HostAllocator::rounded_size(1) == 64);
  CHECK(HostAllocator::rounded_size(64) == 64);
  CHECK(HostAllocator::rounded_size(65) == 128);
  CHECK(HostAllocator::rounded_size(1024) == 1024);
  CHECK(HostAllocator::rounded_size(1025) == 1152);
  CHECK(HostAllocator::rounded_size(1U << 20) == 1U << 20);
  CHECK(HostAllocator::rounded_size((1U << 20) + 1) == (1U << 20) + (1U << 17));
  for (std::size_t bytes = 1; bytes < (1U << 16); bytes += 37) {
    const std::size_t size = HostAllocator::rounded_size(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size % 64 == 0);
    REQUIRE(size <= std::max<std::size_t>(bytes + bytes / 8, bytes + 63));
    REQUIRE(HostAllocator::rounded_size(size) == size);
  }
}

TEST_CASE("Memory is aligned, writable to its last byte, and distinct while in use") {
  HostAllocator allocator;
  const std::vector<std::size_t> sizes = {0,       1, 63, 64, 1000, 1U << 20, (2U << 20) - 1, 2U << 20, (2U << 20) + 1,
                                          5U << 20};
  std::vector<unsigned char*> blocks;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    blocks.push_back(static_cast<unsigned char*>(allocator.allocate(sizes[i])));
    REQUIRE(reinterpret_cast<std::uintptr_t>(blocks.back()) % 64 == 0);
    std::memset(blocks.back(), static_cast<int>(i), sizes[i]);
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    CHECK(std::all_of(blocks[i], blocks[i] + sizes[i], [i](unsigned char byte) { return byte == i; }));
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) allocator.deallocate(blocks[i], sizes[i]);
}

TEST_CASE("A freed block serves the next request of its rounded size and no other") {
  HostAllocator allocator;
  void* const first = allocator.allocate(1000);  // 1024 after rounding
  allocator.deallocate(first, 1000);
  void* const smaller = allocator.allocate(500);
  CHECK(smaller != first);
  CHECK(allocator.allocate(1024) == first);
  CHECK(allocator.stats().num_system_allocations == 2);
  allocator.deallocate(smaller, 500);
  allocator.deallocate(first, 1024);
}

TEST_CASE("Counters follow what is handed out, its peak, and what is kept") {
  HostAllocator allocator;
  void* const a = allocator.allocate(1000);
  void* const b = allocator.allocate(4096);
  CHECK(allocator.stats().active_bytes == 1024 + 4096);
  CHECK(allocator.stats().cached_bytes == 0);
  CHECK(allocator.stats().num_system_allocations == 2);

  allocator.deallocate(b, 4096);
  CHECK(allocator.stats().active_bytes == 1024);
  CHECK(allocator.stats().peak_bytes == 1024 + 4096);
  CHECK(allocator.stats().cached_bytes == 4096);

  allocator.reset_peak();
  CHECK(allocator.stats().peak_bytes == 1024);
  void* const c = allocator.allocate(4000);  // from the cache
  CHECK(c == b);
  CHECK(allocator.stats().peak_bytes == 1024 + 4096);
  CHECK(allocator.stats().cached_bytes == 0);
  CHECK(allocator.stats().num_system_allocations == 2);

  allocator.deallocate(a, 1000);
  allocator.deallocate(c, 4000);
  CHECK(allocator.stats().active_bytes == 0);
  CHECK(allocator.stats().cached_bytes == 1024 + 4096);
  allocator.release_cache();
  CHECK(allocator.stats().cached_bytes == 0);
  void* const d = allocator.allocate(4096);
  CHECK(allocator.stats().num_system_allocations == 3);
  allocator.deallocate(d, 4096);
}

TEST_CASE("Steps that ask for the same sizes in any order take nothing more from the system") {
  HostAllocator allocator;
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 40; ++i) sizes.push_back(100 + i * i * 997);
  std::mt19937 order(5);
  std::int64_t after_first = 0;
  for (int step = 0; step < 50; ++step) {
    std::shuffle(sizes.begin(), sizes.end(), order);
    std::vector<void*> blocks;
    for (const std::size_t size : sizes) blocks.push_back(allocator.allocate(size));
    for (std::size_t i = 0; i < sizes.size(); ++i) allocator.deallocate(blocks[i], sizes[i]);
    if (step == 0) after_first = allocator.stats().num_system_allocations;
  }
  CHECK(allocator.stats().num_system_allocations == after_first);
  CHECK(allocator.stats().active_bytes == 0);
}

TEST_CASE("Memory that cannot be had is an error that names the size and what is in use") {
  HostAllocator allocator;
  void* const held = allocator.allocate(4096);
  std::vector<std::size_t> impossible = {~std::size_t{0}, (~std::size_t{0}) - 100, std::size_t{1} << 62};
  if (malloc_can_fail) impossible.push_back(std::size_t{1} << 58);
  for (const std::size_t bytes : impossible) {
    CAPTURE(bytes);
    const std::string text = error_text([&] { allocator.allocate(bytes); });
    CHECK(contains(text, "[allocator] required " + std::to_string(bytes) + " bytes of host memory"));
    CHECK(contains(text, "4096 bytes in use"));
  }
  CHECK(allocator.stats().active_bytes == 4096);
  allocator.deallocate(held, 4096);
}

TEST_CASE("Threads may allocate and free at the same time") {
  HostAllocator allocator;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&allocator, t] {
      for (std::size_t i = 0; i < 500; ++i) {
        const std::size_t bytes = 64 + 64 * ((i * 7 + static_cast<std::size_t>(t)) % 13);
        auto* const block = static_cast<unsigned char*>(allocator.allocate(bytes));
        std::memset(block, t, bytes);
        if (block[0] != t || block[bytes - 1] != t) std::abort();
        allocator.deallocate(block, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(allocator.stats().active_bytes == 0);
}

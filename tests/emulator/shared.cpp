#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "emulator/execution.h"
#include "emulator/poison.h"

namespace emulator {

Range shared_memory;

namespace {

constexpr std::size_t red_zone_bytes = 256;
constexpr std::size_t max_static_bytes = 48 * 1024;
constexpr std::size_t memory_bytes = 512 * 1024;

struct Array {
  const void* tag = nullptr;
  char* begin = nullptr;
  std::size_t bytes = 0;
  std::string name;
};

/// The arrays of the running kernel: the dynamic memory first, with a null tag, then one for each SIMT_SHARED.
struct Arrays {
  std::vector<Array> all;
  std::size_t end = 0;           // of the last one
  std::size_t static_bytes = 0;  // of all but the dynamic one
  std::size_t limit = 0;         // for all together
};

Arrays& arrays() {
  static Arrays instance;
  return instance;
}

void make_memory() {
  if (shared_memory.begin != nullptr) return;
  void* p = mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  shared_memory = {static_cast<const char*>(p), static_cast<const char*>(p) + memory_bytes};
  poison_region(p, memory_bytes);
}

void forget_contents(const Array& array) {
  if (config().poison) std::memset(array.begin, poison_byte, array.bytes);
}

char* add_array(const void* tag, std::size_t bytes, std::size_t alignment, const char* name) {
  Arrays& of_kernel = arrays();
  const std::size_t offset = (of_kernel.end + red_zone_bytes + alignment - 1) / alignment * alignment;
  if (offset + bytes + red_zone_bytes > memory_bytes) {
    error("launch", "shared array %s of %zu bytes does not fit", name, bytes);
    throw std::bad_alloc();
  }
  char* begin = const_cast<char*>(shared_memory.begin) + offset;
  of_kernel.all.push_back({tag, begin, bytes, name});
  of_kernel.end = offset + bytes;
  unpoison_region(begin, bytes);
  mark_live(begin, bytes);
  forget_contents(of_kernel.all.back());
  return begin;
}

}  // namespace

void begin_shared_of_launch(std::size_t dynamic_bytes, std::size_t limit) {
  make_memory();
  for (const Array& array : arrays().all) {
    poison_region(array.begin, array.bytes);
    mark_dead(array.begin, array.bytes);
  }
  arrays() = {};
  arrays().limit = limit;
  constexpr std::size_t dynamic_alignment = 128;
  if (dynamic_bytes > 0) add_array(nullptr, dynamic_bytes, dynamic_alignment, "dynamic shared memory");
}

void begin_shared_of_block() {
  for (const Array& array : arrays().all) forget_contents(array);
}

std::string name_of_shared(const void* p) {
  const Array* nearest = nullptr;
  for (const Array& array : arrays().all) {
    if (array.begin <= p && (nearest == nullptr || array.begin > nearest->begin)) nearest = &array;
  }
  return nearest == nullptr ? "" : nearest->name;
}

void* shared_static(const void* tag, std::size_t bytes, std::size_t alignment, const char* name) {
  for (const Array& array : arrays().all) {
    if (array.tag == tag) return array.begin;
  }
  Arrays& of_kernel = arrays();
  of_kernel.static_bytes += bytes;
  const void* pc = __builtin_return_address(0);
  if (of_kernel.static_bytes > max_static_bytes) {
    report_at(pc, 8, "launch", "static shared memory of more than 48 KiB, with the array " + std::string(name));
  }
  const bool has_dynamic = !of_kernel.all.empty() && of_kernel.all.front().tag == nullptr;
  const std::size_t bytes_together = of_kernel.static_bytes + (has_dynamic ? of_kernel.all.front().bytes : 0);
  if (has_dynamic && bytes_together > of_kernel.limit) {
    report_at(pc, 9, "launch",
              "static and dynamic shared memory of " + std::to_string(bytes_together) + " bytes of " +
                  std::to_string(of_kernel.limit) + ", with the array " + name);
  }
  return add_array(tag, bytes, alignment, name);
}

void* shared_dynamic() {
  const Arrays& of_kernel = arrays();
  if (!of_kernel.all.empty() && of_kernel.all.front().tag == nullptr) return of_kernel.all.front().begin;
  return const_cast<char*>(shared_memory.begin) + memory_bytes -
         red_zone_bytes;  // of 0 bytes: any access is out of bounds
}

}  // namespace emulator

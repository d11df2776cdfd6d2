#include "emulator/memory_rules.h"

#include <link.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace emulator {

namespace {

// Numbers of rules, for first_report().
enum Rule : int {
  host_touches_device = 100,
  kernel_touches_host,
  kernel_writes_global,
  out_of_bounds,
  uninitialized,
  read_after_write,
  write_after_write,
  write_after_read,
};

/// A variable or constant of the program itself, as opposed to memory that it allocated.
struct Segment {
  Range range;
  bool writable = false;
};

std::vector<Segment> find_segments() {
  std::vector<Segment> segments;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const auto* begin = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
          static_cast<std::vector<Segment>*>(data)->push_back(
              {{begin, begin + segment.p_memsz}, (segment.p_flags & PF_W) != 0});
        }
        return 0;
      },
      &segments);
  return segments;
}

const Segment* segment_of(const void* p) {
  static const std::vector<Segment> segments = find_segments();
  for (const Segment& segment : segments) {
    if (segment.range.contains(p)) return &segment;
  }
  return nullptr;
}

std::string text_of(const char* what, std::size_t bytes, bool is_shared, const void* p) {
  std::string text = std::string(what) + ", " + std::to_string(bytes) + " bytes of ";
  if (!is_shared) return text + "global memory";
  return text + "shared memory (" + name_of_shared(p) + ")";
}

/// Whether an earlier access of the launch (for shared memory: of the block) is before what the running thread does.
bool is_before(std::uint32_t epoch, std::uint16_t thread, std::uint16_t clock) {
  if (epoch < running.block_begin) return false;  // another block
  if (thread == running.thread) return true;
  if (epoch < running.epoch) return true;                                                 // a __syncthreads between
  return thread / warp_size == running.thread / warp_size && clock < running.warp_clock;  // a __syncwarp between
}

/// Whether all reads that the cell remembers are before the running thread's write.
bool are_reads_before(const Cell& cell) {
  if ((cell.flags & cell_flags::read_by_blocks) != 0) return false;
  if (!is_before(cell.read_epoch, cell.read_thread, cell.read_clock)) return false;
  if (cell.read_epoch < running.epoch) return true;
  if ((cell.flags & cell_flags::read_by_warps) != 0) return false;
  if ((cell.flags & cell_flags::read_by_lanes) == 0) return true;
  return cell.read_thread / warp_size == running.thread / warp_size && cell.read_clock < running.warp_clock;
}

void set(Cell& cell, unsigned bits, bool value) {
  cell.flags = static_cast<std::uint16_t>(value ? cell.flags | bits : cell.flags & ~bits);
}

void remember_write(Cell& cell, unsigned bytes, bool atomic) {
  cell.write_epoch = running.epoch;
  cell.write_thread = running.thread;
  cell.write_clock = running.warp_clock;
  cell.read_epoch = 0;
  set(cell,
      cell_flags::both << cell_flags::written_shift | cell_flags::read_by_warps | cell_flags::read_by_lanes |
          cell_flags::read_by_blocks,
      false);
  set(cell, bytes << cell_flags::written_shift, true);
  set(cell, cell_flags::atomic, atomic);
}

void remember_read(Cell& cell, unsigned bytes, std::uint32_t begin) {
  using namespace cell_flags;
  if (cell.read_epoch < begin) {  // nothing to remember of
    set(cell, both << read_shift | read_by_warps | read_by_lanes | read_by_blocks, false);
  } else {
    if (cell.read_epoch < running.block_begin) set(cell, read_by_blocks, true);
    if (cell.read_epoch != running.epoch) {
      set(cell, read_by_warps | read_by_lanes, false);
    } else if (cell.read_thread / warp_size != running.thread / warp_size) {
      set(cell, read_by_warps, true);
    } else if (cell.read_clock != running.warp_clock) {
      set(cell, read_by_lanes, false);
    } else if (cell.read_thread != running.thread) {
      set(cell, read_by_lanes, true);
    }
  }
  cell.read_epoch = running.epoch;
  cell.read_thread = running.thread;
  cell.read_clock = running.warp_clock;
  set(cell, bytes << read_shift, true);
}

}  // namespace

struct MemoryRules::Site {
  const char* begin;
  std::size_t bytes;
  AccessKind kind;
  const void* pc;
  bool writes() const { return kind != AccessKind::read; }
};

Shadow& MemoryRules::heap_shadow() {
  if (heap_ == nullptr) heap_ = std::make_unique<Shadow>(device_heap);
  return *heap_;
}

Shadow& MemoryRules::shared_shadow() {
  if (shared_ == nullptr) shared_ = std::make_unique<Shadow>(shared_memory);
  return *shared_;
}

Shadow* MemoryRules::shadow_of(const void* p) {
  if (device_heap.contains(p)) return &heap_shadow();
  if (shared_memory.contains(p)) return &shared_shadow();
  return nullptr;
}

void MemoryRules::mark_live(const void* p, std::size_t bytes) {
  if (Shadow* shadow = shadow_of(p)) {
    shadow->reset(p, bytes, 0);
    shadow->mark(p, bytes, cell_flags::live_shift, true);
  }
}

void MemoryRules::mark_dead(const void* p, std::size_t bytes) {
  if (Shadow* shadow = shadow_of(p)) shadow->reset(p, bytes, cell_flags::freed);
}

void MemoryRules::mark_initialized(const void* p, std::size_t bytes) {
  if (Shadow* shadow = shadow_of(p)) shadow->mark(p, bytes, cell_flags::initialized_shift, true);
}

void MemoryRules::copy_initialized(const void* destination, const void* source, std::size_t bytes) {
  if (!device_heap.contains(destination)) return;
  if (!device_heap.contains(source)) return mark_initialized(destination, bytes);
  heap_shadow().copy(destination, source, bytes, cell_flags::initialized_shift);
}

bool MemoryRules::is_initialized(const void* p, std::size_t bytes) const {
  return !device_heap.contains(p) || heap_ == nullptr || heap_->all(p, bytes, cell_flags::initialized_shift);
}

void MemoryRules::begin_launch() {
  heap_shadow().begin_launch();
  shared_shadow().begin_launch();
}

std::vector<Access> MemoryRules::accesses() {
  return heap_shadow().accesses(running.launch_begin);
}

void MemoryRules::forget_epochs() {
  heap_shadow().forget_epochs();
  shared_shadow().forget_epochs();
}

void MemoryRules::access(const void* p, std::size_t bytes, AccessKind kind, const void* pc) {
  if (bytes == 0) return;
  const Site site{static_cast<const char*>(p), bytes, kind, pc};
  if (!in_kernel) {
    if (device_heap.contains(p) && first_report(pc, host_touches_device)) {
      report("memcheck", place_of(pc),
             "code of the host " + std::string(site.writes() ? "writes" : "reads") + " device memory");
    }
    return;
  }
  if (running.stack.contains(p)) return;
  if (shared_memory.contains(p)) {
    access_cells(*shared_, true, site);
  } else if (device_heap.contains(p)) {
    access_cells(*heap_, false, site);
  } else {
    access_other_memory(site);
  }
  if (config().preempt > 0 && kind != AccessKind::atomic && kind != AccessKind::exchange && chance(config().preempt)) {
    block().yield();
  }
}

void MemoryRules::access_other_memory(const Site& site) {
  if (running.arguments.contains(site.begin)) return;
  const Segment* segment = segment_of(site.begin);
  if (segment != nullptr && (!segment->writable || !site.writes())) return;
  const bool is_global = segment != nullptr;
  if (!first_report(site.pc, is_global ? kernel_writes_global : kernel_touches_host)) return;
  if (is_global) {
    report("memcheck", place_of(site.pc),
           "a kernel writes a variable of the host, " + std::to_string(site.bytes) + " bytes");
  } else {
    report("memcheck", place_of(site.pc),
           "a kernel " + std::string(site.writes() ? "writes" : "reads") +
               " memory of the host or of another thread's stack, " + std::to_string(site.bytes) + " bytes");
  }
}

void MemoryRules::report_out_of_bounds(Shadow& shadow, bool is_shared, const char* p, const Site& site) {
  if (!first_report(site.pc, out_of_bounds)) return;
  std::string what = site.writes() ? "write" : "read";
  if ((shadow.cell_of(p).flags & cell_flags::freed) != 0) {
    what += is_shared ? " of another kernel's shared array" : " after free";
    return report("memcheck", place_of(site.pc), text_of(what.c_str(), site.bytes, is_shared, p));
  }
  constexpr std::size_t limit = 4096;
  const std::size_t past = shadow.distance_to_live(p, true, limit);
  const std::size_t ahead = shadow.distance_to_live(p, false, limit);
  what += " out of bounds";
  if (past <= ahead && past < limit) what += ", " + std::to_string(past - 1) + " bytes past the end";
  if (ahead < past && ahead < limit) what += ", " + std::to_string(ahead) + " bytes before the beginning";
  report("memcheck", place_of(site.pc), text_of(what.c_str(), site.bytes, is_shared, p));
}

void MemoryRules::access_cells(Shadow& shadow, bool is_shared, const Site& site) {
  const std::uint32_t begin = is_shared ? running.block_begin : running.launch_begin;
  const bool is_atomic = site.kind == AccessKind::atomic || site.kind == AccessKind::exchange;
  const char* end = std::min(site.begin + site.bytes, shadow.memory().end);
  const auto race = [&](Rule rule, const char* what, std::uint16_t other, std::uint32_t epoch, const char* p) {
    if (!first_report(site.pc, rule)) return;
    const char* block_of_other = epoch < running.block_begin ? " of another block" : "";
    report("racecheck", place_of(site.pc),
           text_of(what, site.bytes, is_shared, p) + ", by thread " + std::to_string(other) + block_of_other +
               " and thread " + std::to_string(running.thread));
  };
  shadow.touch(site.begin, static_cast<std::size_t>(end - site.begin));
  for (const char* p = site.begin; p < end; p = next_cell(p)) {
    Cell& cell = shadow.cell_of(p);
    const unsigned bytes = bytes_of_cell(p, end);
    if ((cell.flags >> cell_flags::live_shift & bytes) != bytes)
      return report_out_of_bounds(shadow, is_shared, p, site);
    const bool was_written = cell.write_epoch >= begin && (cell.flags >> cell_flags::written_shift & bytes) != 0;
    if (was_written && !is_before(cell.write_epoch, cell.write_thread, cell.write_clock) &&
        !(is_atomic && (cell.flags & cell_flags::atomic) != 0)) {
      race(site.writes() ? write_after_write : read_after_write,
           site.writes() ? "write after write without order" : "read after write without order", cell.write_thread,
           cell.write_epoch, p);
    }
    if (site.kind != AccessKind::write && site.kind != AccessKind::exchange) {
      // What a block of before has left in shared memory does not count.
      const bool is_known = !is_shared || cell.write_epoch >= begin;
      const unsigned initialized = is_known ? cell.flags >> cell_flags::initialized_shift & bytes : 0U;
      if (initialized != bytes && first_report(site.pc, uninitialized)) {
        report("initcheck", place_of(site.pc), text_of("read of memory that nobody wrote", site.bytes, is_shared, p));
      }
    }
    if (!site.writes()) {
      remember_read(cell, bytes, begin);
      continue;
    }
    const bool was_read = cell.read_epoch >= begin && (cell.flags >> cell_flags::read_shift & bytes) != 0;
    if (was_read && !are_reads_before(cell)) {
      race(write_after_read, "write after read without order", cell.read_thread, cell.read_epoch, p);
    }
    if (is_shared && cell.write_epoch < begin) set(cell, cell_flags::both << cell_flags::initialized_shift, false);
    set(cell, bytes << cell_flags::initialized_shift, true);
    remember_write(cell, bytes, is_atomic);
  }
}

}  // namespace emulator

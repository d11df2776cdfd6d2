#include "emulator/shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace emulator {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t cells_per_page = page_bytes / 2;

}  // namespace

Shadow::Shadow(Range memory) : memory_(memory) {
  void* p = mmap(nullptr, num_cells() * sizeof(Cell), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  cells_ = static_cast<Cell*>(p);  // zeros: no access, and no flag
  page_launches_.resize((num_cells() + cells_per_page - 1) / cells_per_page);
}

Shadow::~Shadow() {
  munmap(cells_, num_cells() * sizeof(Cell));
}

void Shadow::mark(const void* p, std::size_t bytes, unsigned shift, bool value) {
  const char* at = static_cast<const char*>(p);
  for (const char* end = at + bytes; at < end; at = next_cell(at)) {
    const unsigned bits = bytes_of_cell(at, end) << shift;
    std::uint16_t& flags = cell_of(at).flags;
    flags = static_cast<std::uint16_t>(value ? flags | bits : flags & ~bits);
  }
}

void Shadow::reset(const void* p, std::size_t bytes, unsigned flags) {
  const char* at = static_cast<const char*>(p);
  for (const char* end = at + bytes; at < end; at = next_cell(at)) {
    Cell& cell = cell_of(at);
    cell = {};
    cell.flags = static_cast<std::uint16_t>(flags);
  }
}

bool Shadow::all(const void* p, std::size_t bytes, unsigned shift) const {
  const char* at = static_cast<const char*>(p);
  for (const char* end = at + bytes; at < end; at = next_cell(at)) {
    const unsigned bits = bytes_of_cell(at, end);
    if ((cell_of(at).flags >> shift & bits) != bits) return false;
  }
  return true;
}

void Shadow::copy(const void* destination, const void* source, std::size_t bytes, unsigned shift) {
  const char* from = static_cast<const char*>(source);
  const char* to = static_cast<const char*>(destination);
  const auto copy_byte = [&](std::size_t i) { mark(to + i, 1, shift, all(from + i, 1, shift)); };
  if (to <= from) {
    for (std::size_t i = 0; i < bytes; ++i) copy_byte(i);
  } else {
    for (std::size_t i = bytes; i > 0; --i) copy_byte(i - 1);
  }
}

void Shadow::begin_launch() {
  touched_pages_.clear();
  if (++launch_ == 0) {  // wrapped around; 0 is for pages that were never touched
    for (std::uint32_t& launch : page_launches_) launch = std::min(launch, 1U);
    launch_ = 2;
  }
}

void Shadow::touch(const void* p, std::size_t bytes) {
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - memory_.begin);
  const std::size_t last = std::min((offset + bytes - 1) / page_bytes, page_launches_.size() - 1);
  for (std::size_t page = offset / page_bytes; page <= last; ++page) {
    if (page_launches_[page] == launch_) continue;
    page_launches_[page] = launch_;
    touched_pages_.push_back(page);
  }
}

std::vector<Access> Shadow::accesses(std::uint32_t launch_begin) const {
  std::vector<Access> result;
  const auto add = [&](const char* begin, const char* end, bool write) {
    if (!result.empty() && result.back().range.end == begin && result.back().write == write) {
      result.back().range.end = end;
    } else {
      result.push_back({{begin, end}, write});
    }
  };
  std::vector<std::size_t> pages = touched_pages_;
  std::sort(pages.begin(), pages.end());
  for (const std::size_t page : pages) {
    const std::size_t last = std::min((page + 1) * cells_per_page, num_cells());
    for (std::size_t i = page * cells_per_page; i < last; ++i) {
      const Cell& cell = cells_[i];
      const bool written = cell.write_epoch >= launch_begin;
      if (!written && cell.read_epoch < launch_begin) continue;
      // A cell of which both bytes were used by different kinds of access counts as a whole.
      unsigned bytes = cell.flags >> (written ? cell_flags::written_shift : cell_flags::read_shift) & cell_flags::both;
      if (written && cell.read_epoch >= launch_begin) bytes |= cell.flags >> cell_flags::read_shift & cell_flags::both;
      const char* begin = memory_.begin + i * 2;
      add(begin + (bytes == 2U ? 1 : 0), begin + (bytes == 1U ? 1 : 2), written);
    }
  }
  return result;
}

void Shadow::forget_epochs() {
  for (std::size_t page = 0; page < page_launches_.size(); ++page) {
    if (page_launches_[page] == 0) continue;
    const std::size_t last = std::min((page + 1) * cells_per_page, num_cells());
    for (std::size_t i = page * cells_per_page; i < last; ++i) {
      cells_[i].write_epoch = 0;
      cells_[i].read_epoch = 0;
    }
  }
}

std::size_t Shadow::distance_to_live(const void* p, bool before, std::size_t limit) const {
  const char* at = static_cast<const char*>(p);
  for (std::size_t distance = 0; distance < limit; ++distance) {
    const char* other = before ? at - distance : at + distance;
    if (!memory_.contains(other)) break;
    if (all(other, 1, cell_flags::live_shift)) return distance;
  }
  return limit;
}

}  // namespace emulator

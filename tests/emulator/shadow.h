#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/internal.h"

namespace emulator {

/// What is remembered of two bytes of device or shared memory: the last write and the last read, and what holds of each
/// byte. Reads and writes of single bytes are told apart, but only the last one of the two is remembered.
struct Cell {
  std::uint32_t write_epoch;
  std::uint32_t read_epoch;
  std::uint16_t write_thread;
  std::uint16_t read_thread;
  std::uint16_t write_clock;
  std::uint16_t read_clock;
  std::uint16_t flags;
};

/// In Cell::flags; the first four hold a bit for each of the two bytes.
namespace cell_flags {
constexpr unsigned live_shift = 0;
constexpr unsigned initialized_shift = 2;
constexpr unsigned written_shift = 4;
constexpr unsigned read_shift = 6;
constexpr unsigned atomic = 1U << 8;           ///< the last write was an atomic operation
constexpr unsigned read_by_warps = 1U << 9;    ///< the last reads, of one epoch, came from several warps
constexpr unsigned read_by_lanes = 1U << 10;   ///< … from several lanes of a warp without a __syncwarp between
constexpr unsigned read_by_blocks = 1U << 11;  ///< a block of this launch before the last reader's read it too
constexpr unsigned freed = 1U << 12;
constexpr unsigned both = 3U;
}  // namespace cell_flags

/// The cells of one range of memory, and which of its pages were touched.
class Shadow {
 public:
  explicit Shadow(Range memory);
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;
  ~Shadow();

  const Range& memory() const { return memory_; }
  Cell& cell_of(const void* p) { return cells_[(static_cast<const char*>(p) - memory_.begin) / 2]; }

  /// Sets and clears bits that flags hold for each byte, over [p, p + bytes).
  void mark(const void* p, std::size_t bytes, unsigned shift, bool value);
  /// Forgets the accesses and sets the flags of [p, p + bytes), both rounded outwards to two bytes.
  void reset(const void* p, std::size_t bytes, unsigned flags);
  bool all(const void* p, std::size_t bytes, unsigned shift) const;
  /// Takes over, for each byte of the destination, the flag of the byte at the source.
  void copy(const void* destination, const void* source, std::size_t bytes, unsigned shift);

  void begin_launch();
  void touch(const void* p, std::size_t bytes);
  /// What was read and written since the epoch in which the launch began.
  std::vector<Access> accesses(std::uint32_t launch_begin) const;
  void forget_epochs();
  /// Bytes between p and the nearest live byte before it (`before`) or after it, at most `limit`; `limit` if there is
  /// none.
  std::size_t distance_to_live(const void* p, bool before, std::size_t limit) const;

 private:
  std::size_t num_cells() const { return static_cast<std::size_t>(memory_.end - memory_.begin) / 2; }
  const Cell& cell_of(const void* p) const { return cells_[(static_cast<const char*>(p) - memory_.begin) / 2]; }

  Range memory_;
  Cell* cells_ = nullptr;
  std::vector<std::uint32_t> page_launches_;  // in which each page was last touched
  std::vector<std::size_t> touched_pages_;
  std::uint32_t launch_ = 0;
};

/// The bits of a cell's two bytes that [p, end) covers.
inline unsigned bytes_of_cell(const char* p, const char* end) {
  const bool odd = (reinterpret_cast<std::uintptr_t>(p) & 1U) != 0;
  if (odd) return 2U;
  return end - p == 1 ? 1U : cell_flags::both;
}
/// The beginning of the next cell.
inline const char* next_cell(const char* p) {
  return p + 2 - (reinterpret_cast<std::uintptr_t>(p) & 1U);
}

}  // namespace emulator

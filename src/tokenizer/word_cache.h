#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace artel {

/// The ids of short pieces met before. Each piece has one place, where the newest wins, so the memory is bounded and
/// what is found never depends on luck, only whether it is found.
class WordCache {
 public:
  static constexpr size_t max_bytes = 26;
  static constexpr size_t max_ids = 8;

  struct Slot {
    uint32_t tag;
    uint8_t num_bytes;  ///< 0: empty
    uint8_t num_ids;
    std::array<char, max_bytes> bytes;
    std::array<int32_t, max_ids> ids;
  };
  static_assert(sizeof(Slot) == 64);

  WordCache() : slots_(static_cast<Slot*>(std::calloc(num_slots, sizeof(Slot)))) {
    if (!slots_) throw std::bad_alloc();
  }

  /// The place of a piece of 1 to max_bytes bytes; whether it `holds` it is another matter.
  Slot& place(std::string_view piece, uint32_t& tag) {
    const uint64_t hash = hash_of(piece);
    tag = static_cast<uint32_t>(hash);
    return slots_.get()[hash >> (64 - log2_slots)];
  }
  static bool holds(const Slot& slot, uint32_t tag, std::string_view piece) {
    return slot.tag == tag && slot.num_bytes == piece.size() &&
           std::memcmp(slot.bytes.data(), piece.data(), piece.size()) == 0;
  }
  static void keep(Slot& slot, uint32_t tag, std::string_view piece, const int32_t* ids, size_t num_ids) {
    if (num_ids > max_ids) return;
    slot.tag = tag;
    slot.num_bytes = static_cast<uint8_t>(piece.size());
    slot.num_ids = static_cast<uint8_t>(num_ids);
    std::memcpy(slot.bytes.data(), piece.data(), piece.size());
    std::copy_n(ids, num_ids, slot.ids.begin());
  }

 private:
  static constexpr int log2_slots = 16;
  static constexpr size_t num_slots = size_t{1} << log2_slots;

  static uint64_t hash_of(std::string_view piece) {
    uint64_t hash = piece.size() * 0x9E3779B97F4A7C15U;
    const char* bytes = piece.data();
    size_t left = piece.size();
    for (; left >= 8; left -= 8, bytes += 8) hash = mix(hash, bytes, 8);
    return left > 0 ? mix(hash, bytes, left) : hash;
  }
  static uint64_t mix(uint64_t hash, const char* bytes, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, bytes, size);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93U;
    return (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15U;
  }

  // From calloc: a place that is never used costs no memory.
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  std::unique_ptr<Slot, Free> slots_;
};

}  // namespace artel

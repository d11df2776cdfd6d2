#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "emulator/execution.h"
#include "emulator/shadow.h"

namespace emulator {

/// What every access of a kernel is held against: bounds, life and alignment of memory (memcheck), earlier writes
/// (initcheck), order with accesses of other threads (racecheck).
class MemoryRules final : public MemoryChecker {
 public:
  void mark_live(const void* p, std::size_t bytes) override;
  void mark_dead(const void* p, std::size_t bytes) override;
  void mark_initialized(const void* p, std::size_t bytes) override;
  void copy_initialized(const void* destination, const void* source, std::size_t bytes) override;
  bool is_initialized(const void* p, std::size_t bytes) const override;
  void access(const void* p, std::size_t bytes, AccessKind kind, const void* pc) override;
  void begin_launch() override;
  std::vector<Access> accesses() override;
  void forget_epochs() override;

 private:
  struct Site;
  Shadow& heap_shadow();
  Shadow& shared_shadow();
  Shadow* shadow_of(const void* p);
  void access_cells(Shadow& shadow, bool is_shared, const Site& site);
  void access_other_memory(const Site& site);
  void report_out_of_bounds(Shadow& shadow, bool is_shared, const char* p, const Site& site);

  std::unique_ptr<Shadow> heap_;
  std::unique_ptr<Shadow> shared_;
};

}  // namespace emulator

#pragma once

#include <cstdint>

namespace artel::cpu {

/// Instruction sets that the row kernels (kernels/cpu/rows) are compiled for; chosen at run time.
enum class Isa : std::uint8_t { generic, avx2, avx512 };

constexpr const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::generic:
      return "generic";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "?";
}

/// The best instruction set that this processor and this build have.
Isa detect_isa();

}  // namespace artel::cpu

/// Declares the table `name` of row functions that kernels/cpu/rows defines once per instruction set, and a function
/// name(isa) that picks one. Use inside namespace artel::cpu.
#if ARTEL_X86_ROWS
#define ARTEL_DECLARE_ROWS(Table, name)                   \
  namespace generic {                                     \
  extern const Table name;                                \
  }                                                       \
  namespace avx2 {                                        \
  extern const Table name;                                \
  }                                                       \
  namespace avx512 {                                      \
  extern const Table name;                                \
  }                                                       \
  inline const Table& name(Isa isa) {                     \
    if (isa == Isa::avx512) return avx512::name;          \
    return isa == Isa::avx2 ? avx2::name : generic::name; \
  }
#else
#define ARTEL_DECLARE_ROWS(Table, name) \
  namespace generic {                   \
  extern const Table name;              \
  }                                     \
  inline const Table& name(Isa) {       \
    return generic::name;               \
  }
#endif

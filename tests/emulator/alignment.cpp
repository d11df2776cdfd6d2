#include <cstddef>
#include <cstdint>

#include "emulator/execution.h"

// What code compiled with -fsanitize=alignment calls when an address does not suit the type that is accessed there:
// a vector access that a GPU would end the program for. g++ sees all of them, clang those that are no copies of
// structs.
namespace emulator {

namespace {

/// The sanitizer's description of what it found.
struct TypeMismatch {
  const char* file;
  std::uint32_t line;
  std::uint32_t column;
  const void* type;
  unsigned char log_alignment;
  unsigned char kind;
};

}  // namespace
}  // namespace emulator

extern "C" {
void __ubsan_handle_type_mismatch_v1(const emulator::TypeMismatch* mismatch, const void* p) {
  emulator::check_alignment(p, std::size_t{1} << mismatch->log_alignment, __builtin_return_address(0));
}
void __ubsan_handle_type_mismatch_v1_abort(const emulator::TypeMismatch* mismatch, const void* p) {
  emulator::check_alignment(p, std::size_t{1} << mismatch->log_alignment, __builtin_return_address(0));
}
}

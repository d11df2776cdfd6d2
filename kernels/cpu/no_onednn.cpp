// The twin of onednn_gemm.cpp in a build without oneDNN: there is no Gemm, so there is no CPU backend.
#include "kernels/cpu/gemm.h"
#include "util/error.h"

namespace artel::cpu {
namespace {

[[noreturn]] void refuse() {
  fail("device", "required oneDNN for device: cpu, found a build without it; configure with -DARTEL_ONEDNN=ON");
}

}  // namespace

struct Gemm::Impl {};

Gemm::Gemm(int) {
  refuse();
}
Gemm::~Gemm() = default;

void Gemm::prepare_thread() {}

void Gemm::multiply(const GemmTile&, const float*, const float*, float*) const {
  refuse();
}

bool Gemm::has_native_bf16() const {
  return false;
}

const Bf16Product* Gemm::prepare(const Bf16Shape&) const {
  refuse();
}

std::int64_t Gemm::num_prepared() const {
  return 0;
}

bool Gemm::same_packed_form(const Bf16Product&, const Bf16Product&) {
  refuse();
}

std::int64_t Gemm::packed_floats(const Bf16Product&) {
  refuse();
}

std::int64_t Gemm::workspace_floats(const Bf16Product&) {
  refuse();
}

std::int64_t Gemm::num_packing_parts(const Bf16Product&) {
  refuse();
}

void Gemm::pack(const Bf16Product&, Isa, const bf16*, float*, std::int64_t, const GemmWorker&) const {
  refuse();
}

void Gemm::multiply(const Bf16Product&, const bf16*, const void*, void*, const GemmWorker&) const {
  refuse();
}

}  // namespace artel::cpu

#include "kernels/checks/routing.h"
#include "kernels/cpu/cpu_backend.h"

namespace artel {

void CpuBackend::load_balance(In counts, float scale, Out balance) {
  check_load_balance(counts, balance);
  const std::int64_t num_experts = counts.size(1);
  for (std::int64_t set = 0; set < counts.size(0); ++set) {
    const std::int32_t* count = counts.data<std::int32_t>() + set * num_experts;
    float* out = balance.data<float>() + set * num_experts;
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < num_experts; ++i) total += count[i];
    for (std::int64_t i = 0; i < num_experts; ++i) {
      out[i] = total > 0 ? scale * static_cast<float>(count[i]) / static_cast<float>(total) : 0.0F;
    }
  }
}

}  // namespace artel

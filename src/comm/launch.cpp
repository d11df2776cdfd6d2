#include "comm/launch.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace artel {
namespace {

int number(const char* text) {
  int value = -1;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

struct Signs {
  const char* launcher;
  const char* mark;  // set by this launcher alone
  const char* rank;
  const char* size;
};

// In this order: a Slurm job step may carry the signs of the launcher that runs inside it. SLURM_STEP_ID is set by srun
// for the processes of a step; in a batch script, which is one process by itself, only SLURM_JOB_ID is.
constexpr Signs launchers[] = {
    {"Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"MVAPICH", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"},
    {"Hydra (MPICH, Intel MPI)", "PMI_RANK", "PMI_RANK", "PMI_SIZE"},
    {"Slurm", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
    {"PMIx", "PMIX_RANK", "PMIX_RANK", nullptr},
};

}  // namespace

std::optional<Launch> detect_launch(const std::function<const char*(const char*)>& variable) {
  for (const Signs& signs : launchers) {
    if (variable(signs.mark) == nullptr) continue;
    return Launch{signs.launcher, number(variable(signs.rank)),
                  signs.size != nullptr ? number(variable(signs.size)) : -1};
  }
  return std::nullopt;
}

std::optional<Launch> detect_launch() {
  return detect_launch([](const char* name) { return std::getenv(name); });
}

}  // namespace artel

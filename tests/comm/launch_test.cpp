#include "comm/launch.h"

#include <map>

#include "support/catch.h"

namespace artel {
namespace {

std::optional<Launch> detect(const std::map<std::string, const char*>& environment) {
  return detect_launch([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second;
  });
}

}  // namespace

TEST_CASE("A launcher is known by what it sets") {
  CHECK_FALSE(detect({{"HOME", "/root"}}).has_value());
  const auto open_mpi = detect({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  REQUIRE(open_mpi.has_value());
  CHECK(open_mpi->launcher == "Open MPI");
  CHECK(open_mpi->size == 4);
  CHECK(open_mpi->rank == 3);
  const auto hydra = detect({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}});
  REQUIRE(hydra.has_value());
  CHECK(hydra->size == 2);
  const auto pmix = detect({{"PMIX_RANK", "1"}});
  REQUIRE(pmix.has_value());
  CHECK(pmix->size == -1);
}

TEST_CASE("A Slurm job step is a launch, a batch script alone is not") {
  const std::map<std::string, const char*> batch{{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}};
  CHECK_FALSE(detect(batch).has_value());
  auto step = batch;
  step["SLURM_STEP_ID"] = "0";
  step["SLURM_STEP_NUM_TASKS"] = "8";
  const auto launch = detect(step);
  REQUIRE(launch.has_value());
  CHECK(launch->launcher == "Slurm");
  CHECK(launch->size == 8);
}

}  // namespace artel

// Stands in for mpi_communicator.cpp in builds without MPI.
#include "comm/launch.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {

std::string mpi_version() {
  return "";
}

std::unique_ptr<MpiSession> start_mpi(const MpiOptions&, const std::optional<Launch>& launch) {
  fail("MPI", concat("required a build with MPI for several ranks",
                     launch ? concat(" (started by ", launch->launcher, ")") : std::string(),
                     ", found one without; configure with -DARTEL_MPI=ON, or start one process"));
}

}  // namespace artel

// One rank of the tests of the MPI transport: mpirun -np N mpi_ranks [cases | late | different | failing | killed].
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include "comm/case_tensors.h"
#include "comm/communicator_cases.h"
#include "comm/launch.h"
#include "comm/mesh.h"

namespace artel {
namespace {

/// What the last rank does wrong while the others are in an all_reduce at step 7.
void go_wrong(Communicator& world, const std::string& how) {
  world.set_step(7);
  world.barrier();
  HostAllocator allocator;
  Tensor x = case_tensor<float>(allocator, 300000, 1, "x", world.rank());
  if (world.rank() == world.size() - 1) {
    if (how == "late") std::this_thread::sleep_for(std::chrono::seconds(30));
    if (how == "different") return world.barrier();
    if (how == "longer") x = case_tensor<float>(allocator, 400000, 1, "x", world.rank());
    if (how == "failing") fail("disk", "required room, found none");
    if (how == "killed") std::raise(SIGKILL);
  }
  world.all_reduce(x, Purpose::gradients);
}

int run(const std::string& what) {
  // Short messages, so that tensors of the cases are cut.
  MpiOptions options;
  options.max_message_bytes = 100000;
  options.timeout_seconds = what == "cases" ? 60.0 : 2.0;
  const auto session = start_mpi(options, detect_launch());
  Communicator& world = session->world();
  try {
    if (what != "cases") {
      go_wrong(world, what);
      return 0;
    }
    run_communicator_cases(world);
    const int expert = world.size() % 2 == 0 ? 2 : 1;
    const Mesh mesh(world, MeshLayout({world.size(), expert, 8, 4 * world.size(), 1}));
    mesh.expert().barrier();
    mesh.expert_replicas().barrier();
    if (world.rank() == 0) {
      std::printf("%zu cases passed on %d ranks of %s\n", communicator_cases().size(), world.size(),
                  mpi_version().c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", world.rank(), error.what());
    session->abort(1);
  }
  return 0;
}

}  // namespace
}  // namespace artel

int main(int argc, char** argv) {
  try {
    return artel::run(argc > 1 ? argv[1] : "cases");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

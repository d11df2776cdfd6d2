// One rank of the tests of a transport that mpirun starts: mpirun -np N mpi_ranks or nccl_ranks
// [cases | late | different | longer | failing | killed | stuck | broken].
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "comm/case_tensors.h"
#include "comm/communicator_cases.h"
#include "comm/launch.h"
#include "comm/mesh.h"
#include "comm/ranks_world.h"
#include "util/error.h"

namespace artel {
namespace {

/// What the last rank does wrong while the others are in an all_reduce at step 7.
void go_wrong(RanksWorld& ranks, const std::string& how) {
  Communicator& world = ranks.world();
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
    if (how == "stuck") ranks.stop_device();
    if (how == "broken") ranks.break_transfer();
  }
  world.all_reduce(x, Purpose::gradients);
}

}  // namespace

static int run_rank(const std::string& what) {
  // Short messages, so that tensors of the cases are cut.
  MpiOptions options;
  options.max_message_bytes = 100000;
  options.timeout_seconds = what == "cases" ? 60.0 : 2.0;
  const auto session = start_mpi(options, detect_launch());
  try {
    const std::unique_ptr<RanksWorld> ranks = make_ranks_world(session->world());
    Communicator& world = ranks->world();
    if (what != "cases") {
      go_wrong(*ranks, what);
      return 0;
    }
    run_communicator_cases(world);
    const int expert = world.size() % 2 == 0 ? 2 : 1;
    const Mesh mesh(world, MeshLayout({world.size(), expert, 8, 4 * world.size(), 1}));
    mesh.expert().barrier();
    mesh.expert_replicas().barrier();
    if (const std::string reports = ranks->take_reports(); !reports.empty()) fail("device", reports);
    if (world.rank() == 0) {
      std::printf("%zu cases passed on %d ranks of %s\n", communicator_cases().size(), world.size(),
                  mpi_version().c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", session->world().rank(), error.what());
    // The others are to find it out by themselves.
    if (what == "broken") std::this_thread::sleep_for(std::chrono::duration<double>(3.0 * options.timeout_seconds));
    session->abort(1);
  }
  return 0;
}

int run_ranks_main(int argc, char** argv) {
  try {
    return run_rank(argc > 1 ? argv[1] : "cases");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace artel

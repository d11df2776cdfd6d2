#include <mpi.h>

#include "support/catch_session.h"

#include <cstdio>
#include <cstring>

// nccl_main cases [Catch2's options]: every rank runs every test case, in the same order. A rank that fails ends all.
int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  Catch::Session session;
  const bool cases = argc > 1 && std::strcmp(argv[1], "cases") == 0;
  if (cases) argv[1] = argv[0];
  int failed = session.applyCommandLine(argc - (cases ? 1 : 0), argv + (cases ? 1 : 0));
  session.configData().abortAfter = 1;
  if (failed == 0) failed = artel::run_session(session);
  std::fflush(stdout);
  if (failed != 0) MPI_Abort(MPI_COMM_WORLD, 1);
  MPI_Finalize();
  if (rank == 0) std::printf("cases passed on %d ranks of the emulator\n", size);
  return 0;
}

#pragma once

#include <mpi.h>

#include <functional>

// The functions of MPI that Artel may block in are defined by the emulator, on top of MPI's profiling interface: while
// the host waits there, streams go on, as they do on a GPU. A rank that waits in MPI_Barrier therefore still takes part
// in what its streams send and receive.
namespace emulator {

/// A duplicate of MPI_COMM_WORLD that the emulator made in MPI_Init for itself; MPI_COMM_NULL outside of MPI.
MPI_Comm bootstrap_communicator();
/// Runs operations of streams until the request has ended.
int wait_and_progress(MPI_Request* request, MPI_Status* status);
/// Until `done`.
void progress_until(const std::function<bool()>& done);

}  // namespace emulator

#pragma once

#include <nccl.h>

namespace emulator {

/// What ncclCommGetAsyncError gives from now on, and calls that enqueue: for tests of what a failing network does.
void set_nccl_async_error(ncclComm_t comm, ncclResult_t status);

/// The next operation that starts on this process never ends, as when the network fails in the middle of it; so many
/// seconds later its communicator has this error.
void break_next_nccl_operation(ncclResult_t status, double seconds_until_known);

}  // namespace emulator

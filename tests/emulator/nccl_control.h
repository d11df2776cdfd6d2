#pragma once

#include <nccl.h>

namespace emulator {

/// What ncclCommGetAsyncError gives from now on, and calls that enqueue: for tests of what a failing network does.
void set_nccl_async_error(ncclComm_t comm, ncclResult_t status);

}  // namespace emulator

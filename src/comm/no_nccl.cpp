// Stands in for nccl_communicator.cpp in executables that are linked without NCCL.
#include "comm/nccl_communicator.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const NcclDevice&) {
  fail("NCCL", concat("required a build with NCCL (-DARTEL_CUDA=ON and -DARTEL_MPI=ON) for ", host.size(),
                      " ranks with GPUs, found one without; start one process, or use train.device: cpu"));
}

}  // namespace artel

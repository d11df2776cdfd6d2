#pragma once

#include <memory>

#include "comm/communicator.h"
#include "core/rank_parts.h"

namespace artel {

/// What the transport uses of the GPU of its rank; all of it outlives the communicator and its groups.
struct NcclDevice {
  void* compute_stream = nullptr;  ///< the cudaStream_t whose work transfers follow, and which waits for them
  Allocator* allocator = nullptr;  ///< of its memory, in the order of that stream
  ReduceRankParts reduce_parts;    ///< sums in rank order, which NCCL does not promise
};

/// The ranks of `host` with their tensors in the memory of GPUs, one GPU per rank, the current one. Transfers run on a
/// stream of their own: one begins when the compute stream has done what was put on it before, and after wait() the
/// compute stream does nothing until the transfer has ended. wait() itself blocks until every rank has started the
/// operation, not until the data is there; seconds_waited counts that. Values of the host and agreement go over the
/// group of `host` that is split off here. Sums are made from pieces that ranks exchange, in rank order, with the bits
/// of the other transports. buffer_stats() is part of what the device's allocator has given out.
/// Errors: a build without NCCL; a host without ranks' messages; those of Communicator, a transfer that does not end
/// within the timeout when somebody polls, and what NCCL reports: then every transfer is aborted.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const NcclDevice& device);

}  // namespace artel

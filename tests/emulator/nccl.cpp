#include <nccl.h>

#include <algorithm>
#include <utility>

#include "emulator/nccl_communicator.h"
#include "emulator/nccl_elements.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

struct Group {
  int depth = 0;
  std::vector<NcclCall> calls;
};

Group& group() {
  static Group instance;
  return instance;
}

void look_for_open_group(const char* call) {
  if (group().depth == 0) return;
  error("nccl", "%s within a group: ncclGroupStart without ncclGroupEnd, so that %zu calls have not been enqueued",
        call, group().calls.size());
}

bool is_device_memory(const char* call, const void* p, const char* what) {
  if (is_device(p)) return true;
  error("nccl", "%s: required the %s in device memory, found host memory", call, what);
  return false;
}

bool has_buffers(const NcclCall& call) {
  const char* const name = nccl_kind_name(call.kind);
  const bool sends =
      call.kind != NcclKind::receive && (call.kind != NcclKind::broadcast || call.peer == call.comm->rank);
  const bool receives = call.kind != NcclKind::send;
  if (call.count == 0) return true;
  return (!sends || is_device_memory(name, call.sent, "send buffer")) &&
         (!receives || is_device_memory(name, call.received, "receive buffer"));
}

ncclResult_t check(const NcclCall& call) {
  const char* const name = nccl_kind_name(call.kind);
  NcclState& comm = *call.comm;
  if (comm.async_error != ncclSuccess) return comm.async_error;
  if (comm.finalized || comm.in_progress) {
    error("nccl", "%s: the communicator %s", name,
          comm.finalized ? "was finalized" : "is still in progress: poll ncclCommGetAsyncError first");
    return ncclInvalidUsage;
  }
  if (nccl_element_bytes(call.type) == 0 || call.reduction >= ncclNumOps) {
    error("nccl", "%s: the emulator has no such type or reduction", name);
    return ncclInvalidArgument;
  }
  const bool has_peer =
      call.kind == NcclKind::broadcast || call.kind == NcclKind::send || call.kind == NcclKind::receive;
  if (has_peer && (call.peer < 0 || call.peer >= comm.size)) {
    error("nccl", "%s: required a rank of [0, %d), found %d", name, comm.size, call.peer);
    return ncclInvalidArgument;
  }
  return has_buffers(call) ? ncclSuccess : ncclInvalidArgument;
}

bool is_message(const NcclCall& call) {
  return call.kind == NcclKind::send || call.kind == NcclKind::receive;
}

/// Collectives in the order of their calls, then messages together.
ncclResult_t issue(const std::vector<NcclCall>& calls) {
  ncclResult_t result = ncclSuccess;
  const auto keep = [&result](ncclResult_t status) {
    if (status != ncclSuccess && (result == ncclSuccess || result == ncclInProgress)) result = status;
  };
  std::vector<NcclCall> messages;
  for (const NcclCall& call : calls) {
    if (is_message(call)) {
      messages.push_back(call);
    } else {
      keep(nccl_issue_collective(call));
    }
  }
  if (!messages.empty()) keep(nccl_issue_messages(messages));
  return result == ncclSuccess ? nccl_enqueued(*calls.front().comm) : result;
}

/// The calls of a group, communicator by communicator.
ncclResult_t end_group() {
  std::vector<NcclCall> calls = std::move(group().calls);
  group().calls.clear();
  ncclResult_t result = ncclSuccess;
  while (!calls.empty()) {
    const NcclCall first = calls.front();
    const auto others =
        std::stable_partition(calls.begin(), calls.end(), [&](const NcclCall& c) { return c.comm == first.comm; });
    const std::vector<NcclCall> own(calls.begin(), others);
    calls.erase(calls.begin(), others);
    const bool one_stream =
        std::all_of(own.begin(), own.end(), [&](const NcclCall& c) { return c.stream == first.stream; });
    if (!one_stream) {
      error("nccl", "ncclGroupEnd: calls of one communicator on several streams in one group are not emulated");
      return ncclInvalidUsage;
    }
    const ncclResult_t status = issue(own);
    if (status != ncclSuccess) result = status;
  }
  return result;
}

ncclResult_t call(NcclCall call, ncclComm_t comm) {
  set_wait_hook(look_for_open_group);
  call.comm = find_nccl(comm, nccl_kind_name(call.kind));
  if (call.comm == nullptr) return ncclInvalidArgument;
  const ncclResult_t status = check(call);
  if (status != ncclSuccess) return status;
  if (group().depth == 0) return issue({call});
  group().calls.push_back(call);
  return ncclSuccess;
}

}  // namespace

const char* nccl_kind_name(NcclKind kind) {
  switch (kind) {
    case NcclKind::all_reduce:
      return "ncclAllReduce";
    case NcclKind::reduce_scatter:
      return "ncclReduceScatter";
    case NcclKind::all_gather:
      return "ncclAllGather";
    case NcclKind::broadcast:
      return "ncclBroadcast";
    case NcclKind::send:
      return "ncclSend";
    case NcclKind::receive:
      return "ncclRecv";
  }
  return "an unknown call";
}

NcclHeader nccl_header(const NcclCall& call) {
  NcclHeader header;
  header.kind = static_cast<std::int32_t>(call.kind);
  header.type = static_cast<std::int32_t>(call.type);
  header.reduction = static_cast<std::int32_t>(call.reduction);
  header.root = call.peer;
  header.count = call.count;
  return header;
}

std::string nccl_header_text(const NcclHeader& header) {
  const auto kind = static_cast<NcclKind>(header.kind);
  std::string text = std::string("calls ") + nccl_kind_name(kind) + " of " +
                     nccl_count_text(header.count, static_cast<ncclDataType_t>(header.type));
  if (kind == NcclKind::all_reduce || kind == NcclKind::reduce_scatter) {
    text += std::string(" (") + nccl_reduction_name(static_cast<ncclRedOp_t>(header.reduction)) + ")";
  }
  if (kind == NcclKind::broadcast) text += " (root " + std::to_string(header.root) + ")";
  if (header.has_memory == 0) text += " with memory that it cannot use";
  return text;
}

ncclResult_t nccl_submit(std::shared_ptr<NcclOperation> operation, NcclState& state, const std::string& label,
                         cudaStream_t stream) {
  const std::string name =
      state.size == 1 ? label
                      : label + " (rank " + std::to_string(state.rank) + " of " + std::to_string(state.size) + ")";
  const cudaError_t status = submit(stream, {name, nullptr, 0}, {}, [operation] { return operation->poll(); });
  if (status == cudaSuccess) return ncclSuccess;
  operation->take_back();
  return ncclUnhandledCudaError;
}

void nccl_keep(std::shared_ptr<void> buffers) {
  static std::vector<std::shared_ptr<void>> kept;
  kept.push_back(std::move(buffers));
}

}  // namespace emulator

using namespace emulator;

extern "C" {

ncclResult_t ncclGroupStart() {
  set_wait_hook(look_for_open_group);
  ++group().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group().depth == 0) {
    error("nccl", "ncclGroupEnd without ncclGroupStart");
    return ncclInvalidUsage;
  }
  return --group().depth == 0 ? end_group() : ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* sent, void* received, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::all_reduce, sent, received, count, type, reduction, 0, nullptr, stream}, comm);
}

ncclResult_t ncclReduceScatter(const void* sent, void* received, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::reduce_scatter, sent, received, count, type, reduction, 0, nullptr, stream}, comm);
}

ncclResult_t ncclAllGather(const void* sent, void* received, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return call({NcclKind::all_gather, sent, received, count, type, ncclSum, 0, nullptr, stream}, comm);
}

ncclResult_t ncclBroadcast(const void* sent, void* received, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return call({NcclKind::broadcast, sent, received, count, type, ncclSum, root, nullptr, stream}, comm);
}

ncclResult_t ncclSend(const void* sent, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call({NcclKind::send, sent, nullptr, count, type, ncclSum, peer, nullptr, stream}, comm);
}

ncclResult_t ncclRecv(void* received, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call({NcclKind::receive, nullptr, received, count, type, ncclSum, peer, nullptr, stream}, comm);
}

}  // extern "C"

#pragma once

#include <mpi.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

/// What operations share with the handle; they may outlive it after an abort.
struct NcclState {
  MPI_Comm data = MPI_COMM_NULL;     ///< messages of operations
  MPI_Comm control = MPI_COMM_NULL;  ///< splits
  int rank = 0;
  int size = 1;
  std::vector<int> world_ranks;  ///< of its ranks, in the bootstrap communicator
  int device = 0;
  bool blocking = true;
  bool in_progress = false;  ///< a call of a communicator that does not block has not been polled to its end
  bool aborted = false;
  bool finalized = false;
  ncclResult_t async_error = ncclSuccess;
  std::string last_error;
  std::uint64_t num_issued = 0;  ///< operations given turns, in the order of the calls
  std::uint64_t num_ended = 0;
  std::vector<std::uint32_t> num_sent;      ///< messages so far to each rank
  std::vector<std::uint32_t> num_received;  ///< from each rank
};

}  // namespace emulator

struct ncclComm {
  std::shared_ptr<emulator::NcclState> state;
};

namespace emulator {

/// Reports (nccl) and returns null for a communicator that was destroyed.
std::shared_ptr<NcclState> find_nccl(ncclComm_t comm, const char* call);
/// Keeps the error for ncclCommGetAsyncError and reports it.
void nccl_error(NcclState& state, ncclResult_t status, const std::string& text);
/// What a call that enqueues gives: ncclInProgress for a communicator that does not block, until it is polled.
ncclResult_t nccl_enqueued(NcclState& state);

// ---- Operations (nccl_collective.cpp, nccl_messages.cpp) ----
enum class NcclKind : std::int32_t { all_reduce, reduce_scatter, all_gather, broadcast, send, receive };

/// One call between ncclGroupStart and ncclGroupEnd, or on its own.
struct NcclCall {
  NcclKind kind = NcclKind::all_reduce;
  const void* sent = nullptr;
  void* received = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t reduction = ncclSum;
  int peer = 0;  ///< root of a broadcast
  std::shared_ptr<NcclState> comm;
  cudaStream_t stream = nullptr;
};
const char* nccl_kind_name(NcclKind kind);
/// "ncclAllReduce of 8 f32 (sum)"
std::string nccl_call_text(const NcclCall& call);

/// Puts a collective, or all sends and receives of a group over one communicator, on their stream.
ncclResult_t nccl_issue_collective(const NcclCall& call);
ncclResult_t nccl_issue_messages(const std::vector<NcclCall>& calls);

/// What ranks tell each other of an operation before its data, so that they notice when they disagree.
struct NcclHeader {
  std::int32_t kind = 0;
  std::int32_t type = 0;
  std::int32_t reduction = 0;
  std::int32_t root = 0;
  std::uint64_t count = 0;
  std::int32_t has_memory = 1;  ///< 0: its memory failed a check
  std::int32_t unused = 0;
  bool operator==(const NcclHeader&) const = default;
};
NcclHeader nccl_header(const NcclCall& call);
std::string nccl_header_text(const NcclHeader& header);

/// A failure of the network that is planned for the next operation (nccl_control.h).
struct NcclFailure {
  ncclResult_t status = ncclSuccess;
  double seconds_until_known = 0;
};
/// It, once; none else.
std::optional<NcclFailure> take_nccl_failure();

/// An operation on a stream. Those of a communicator run one after the other, in the order of their calls, also when
/// they are on different streams, as in NCCL.
class NcclOperation {
 public:
  explicit NcclOperation(std::shared_ptr<NcclState> comm) : comm_(std::move(comm)), turn_(comm_->num_issued++) {}
  NcclOperation(const NcclOperation&) = delete;
  NcclOperation& operator=(const NcclOperation&) = delete;
  /// One that is given up before its end leaves a communicator that can do nothing more.
  virtual ~NcclOperation() {
    if (!ended_) comm_->aborted = true;
  }
  /// Whether it has ended. Never blocks.
  bool poll() {
    if (!ended_ && !comm_->aborted) {
      if (!started_) {
        if (comm_->num_ended != turn_) return false;
        started_ = true;
        failure_ = take_nccl_failure();
        if (!failure_) start();
      }
      if (failure_) {
        fail();
        return false;
      }
      if (!advance()) return false;
    }
    if (!ended_) ++comm_->num_ended;
    ended_ = true;
    return true;
  }
  /// Of one that could not be enqueued.
  void take_back() {
    --comm_->num_issued;
    ended_ = true;
  }

 protected:
  virtual void start() = 0;
  virtual bool advance() = 0;
  NcclState& comm() const { return *comm_; }

 private:
  void fail() {
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
    if (since.count() > failure_->seconds_until_known) comm_->async_error = failure_->status;
  }

  std::shared_ptr<NcclState> comm_;
  std::uint64_t turn_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<NcclFailure> failure_;
  bool started_ = false;
  bool ended_ = false;
};
/// Puts it on a stream; `label` is what messages call it.
ncclResult_t nccl_submit(std::shared_ptr<NcclOperation> operation, NcclState& state, const std::string& label,
                         cudaStream_t stream);
/// Of messages that may still be under way when an operation is given up: they must outlive it.
void nccl_keep(std::shared_ptr<void> buffers);

}  // namespace emulator

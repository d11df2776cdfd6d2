#include <climits>
#include <cstring>

#include "emulator/heap.h"
#include "emulator/nccl_communicator.h"
#include "emulator/nccl_elements.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

std::size_t size_of(const NcclState& comm) {
  return static_cast<std::size_t>(comm.size);
}

/// Bytes that a rank gives and takes.
struct Extent {
  std::size_t sent = 0;
  std::size_t received = 0;
};

Extent extent_of(const NcclCall& call) {
  const std::size_t bytes = call.count * nccl_element_bytes(call.type);
  switch (call.kind) {
    case NcclKind::all_gather:
      return {bytes, bytes * size_of(*call.comm)};
    case NcclKind::reduce_scatter:
      return {bytes * size_of(*call.comm), bytes};
    case NcclKind::broadcast:
      return {call.comm->rank == call.peer ? bytes : 0, bytes};
    default:
      return {bytes, bytes};
  }
}

/// Whether the buffers are apart, or in place as NCCL has it.
bool has_valid_overlap(const NcclCall& call) {
  const Extent extent = extent_of(call);
  const char* const sent = static_cast<const char*>(call.sent);
  const char* const received = static_cast<const char*>(call.received);
  if (sent + extent.sent <= received || received + extent.received <= sent) return true;
  const std::size_t own = static_cast<std::size_t>(call.comm->rank) * call.count * nccl_element_bytes(call.type);
  switch (call.kind) {
    case NcclKind::all_gather:
      return sent == received + own;
    case NcclKind::reduce_scatter:
      return received == sent + own;
    default:
      return sent == received;
  }
}

class Collective final : public NcclOperation {
 public:
  explicit Collective(const NcclCall& call) : NcclOperation(call.comm), call_(call), extent_(extent_of(call)) {}
  ~Collective() override {
    if (flight_->request != MPI_REQUEST_NULL) nccl_keep(flight_);
  }

 private:
  /// What MPI reads and writes.
  struct Flight {
    NcclHeader own;
    std::vector<NcclHeader> headers;
    std::vector<char> sent;
    std::vector<char> received;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void start() override {
    Flight& f = *flight_;
    f.own = nccl_header(call_);
    const std::vector<MemoryUse> uses{{call_.sent, extent_.sent, false, "send buffer"},
                                      {call_.received, extent_.received, true, "receive buffer"}};
    f.own.has_memory = use_now(uses) ? 1 : 0;
    if (f.own.has_memory != 0 && extent_.sent > 0) {
      if (!is_initialized(call_.sent, extent_.sent)) {
        error("initcheck", "%s sends memory that nobody has written: %s", text(running_label()).c_str(),
              heap_describe(call_.sent, extent_.sent).c_str());
      }
      f.sent.resize(extent_.sent);
      std::memcpy(f.sent.data(), call_.sent, extent_.sent);
    }
    f.headers.resize(size_of(comm()));
    PMPI_Iallgather(&f.own, sizeof(NcclHeader), MPI_BYTE, f.headers.data(), sizeof(NcclHeader), MPI_BYTE, comm().data,
                    &f.request);
  }

  bool advance() override {
    if (!test()) return false;
    if (!has_agreed_) {
      if (!agree()) return true;
      has_agreed_ = true;
      exchange();
      if (!test()) return false;
    }
    finish();
    return true;
  }

  bool test() {
    int ended = 0;
    PMPI_Test(&flight_->request, &ended, MPI_STATUS_IGNORE);
    return ended != 0;
  }

  bool agree() {
    const auto& headers = flight_->headers;
    bool agree = true;
    std::string differences;
    for (std::size_t r = 0; r < headers.size(); ++r) {
      agree = agree && headers[r] == headers[0] && headers[r].has_memory != 0;
      differences += (r == 0 ? "rank " : ", rank ") + std::to_string(r) + " " + nccl_header_text(headers[r]);
    }
    if (!agree) nccl_error(comm(), ncclInvalidUsage, "ranks disagree: " + differences);
    return agree;
  }

  void exchange() {
    Flight& f = *flight_;
    const std::size_t bytes = call_.count * nccl_element_bytes(call_.type);
    const int length = static_cast<int>(bytes);
    f.received.resize(bytes * size_of(comm()));
    switch (call_.kind) {
      case NcclKind::reduce_scatter:
        PMPI_Ialltoall(f.sent.data(), length, MPI_BYTE, f.received.data(), length, MPI_BYTE, comm().data, &f.request);
        break;
      case NcclKind::broadcast:
        if (comm().rank == call_.peer) std::memcpy(f.received.data(), f.sent.data(), bytes);
        PMPI_Ibcast(f.received.data(), length, MPI_BYTE, call_.peer, comm().data, &f.request);
        break;
      default:
        PMPI_Iallgather(f.sent.data(), length, MPI_BYTE, f.received.data(), length, MPI_BYTE, comm().data, &f.request);
        break;
    }
  }

  void finish() {
    const Flight& f = *flight_;
    const std::size_t bytes = call_.count * nccl_element_bytes(call_.type);
    if (call_.kind == NcclKind::all_reduce || call_.kind == NcclKind::reduce_scatter) {
      nccl_reduce(call_.type, call_.reduction, f.received.data(), bytes, comm().size, call_.count, call_.received);
    } else if (extent_.received > 0) {
      std::memcpy(call_.received, f.received.data(), extent_.received);
    }
    mark_initialized(call_.received, extent_.received);
  }

  NcclCall call_;
  Extent extent_;
  std::shared_ptr<Flight> flight_ = std::make_shared<Flight>();
  bool has_agreed_ = false;
};

}  // namespace

ncclResult_t nccl_issue_collective(const NcclCall& call) {
  const Extent extent = extent_of(call);
  if (!has_valid_overlap(call)) {
    error("nccl", "%s: required buffers apart from each other or in place as NCCL defines it",
          nccl_kind_name(call.kind));
    return ncclInvalidArgument;
  }
  if (extent.sent > INT_MAX || extent.received > INT_MAX) {
    error("nccl", "%s: the emulator sends at most 2^31 - 1 bytes at once", nccl_kind_name(call.kind));
    return ncclInternalError;
  }
  return nccl_submit(std::make_shared<Collective>(call), *call.comm, nccl_kind_name(call.kind), call.stream);
}

}  // namespace emulator

#include <climits>
#include <cstring>

#include "emulator/heap.h"
#include "emulator/nccl_communicator.h"
#include "emulator/nccl_elements.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

std::size_t bytes_of(const NcclCall& call) {
  return call.count * nccl_element_bytes(call.type);
}

/// One send or receive: a header, and the elements if there are any. Messages between two ranks have tags by their
/// number, since operations of two streams may look at them in any order.
class Message {
 public:
  Message(const NcclCall& call, bool has_memory) : call_(call), has_memory_(has_memory) {
    NcclState& comm = *call.comm;
    const auto peer = static_cast<std::size_t>(call.peer);
    tag_ = static_cast<int>((sends() ? comm.num_sent : comm.num_received)[peer]++ % 8192) * 2;
    if (!sends()) {
      PMPI_Irecv(&header_, sizeof header_, MPI_BYTE, call.peer, tag_, comm.data, &header_request_);
      return;
    }
    header_ = nccl_header(call);
    header_.has_memory = has_memory ? 1 : 0;
    PMPI_Isend(&header_, sizeof header_, MPI_BYTE, call.peer, tag_, comm.data, &header_request_);
    if (!has_memory || call.count == 0) return;
    const char* const begin = static_cast<const char*>(call.sent);
    elements_.assign(begin, begin + bytes_of(call));
    // Ends when the other rank has come, as on GPUs.
    PMPI_Issend(elements_.data(), static_cast<int>(elements_.size()), MPI_BYTE, call.peer, tag_ + 1, comm.data,
                &elements_request_);
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  bool is_under_way() const { return header_request_ != MPI_REQUEST_NULL || elements_request_ != MPI_REQUEST_NULL; }

  bool advance() {
    if (!test(header_request_)) return false;
    if (!sends() && !has_header_) {
      has_header_ = true;
      receive_elements();
    }
    if (!test(elements_request_)) return false;
    if (!sends() && matches_ && !is_stored_) {
      is_stored_ = true;
      std::memcpy(call_.received, elements_.data(), elements_.size());
      mark_initialized(call_.received, elements_.size());
    }
    return true;
  }

 private:
  bool sends() const { return call_.kind == NcclKind::send; }

  static bool test(MPI_Request& request) {
    int ended = 0;
    PMPI_Test(&request, &ended, MPI_STATUS_IGNORE);
    return ended != 0;
  }

  void receive_elements() {
    NcclHeader expected = nccl_header(call_);
    expected.kind = static_cast<std::int32_t>(NcclKind::send);
    expected.root = header_.root;
    const bool agrees = header_ == expected;
    matches_ = agrees && has_memory_ && call_.count > 0;
    if (!agrees) {
      nccl_error(*call_.comm, ncclInvalidUsage,
                 "ranks disagree: rank " + std::to_string(call_.peer) + " " + nccl_header_text(header_) +
                     ", and this rank " + nccl_header_text(nccl_header(call_)));
    }
    // What was sent is taken in any case, so that the other rank gets on.
    if (header_.has_memory == 0 || header_.count == 0) return;
    elements_.resize(header_.count * nccl_element_bytes(static_cast<ncclDataType_t>(header_.type)));
    PMPI_Irecv(elements_.data(), static_cast<int>(elements_.size()), MPI_BYTE, call_.peer, tag_ + 1, call_.comm->data,
               &elements_request_);
  }

  NcclCall call_;
  bool has_memory_;
  int tag_ = 0;
  NcclHeader header_;
  std::vector<char> elements_;
  MPI_Request header_request_ = MPI_REQUEST_NULL;
  MPI_Request elements_request_ = MPI_REQUEST_NULL;
  bool has_header_ = false;
  bool matches_ = false;
  bool is_stored_ = false;
};

/// All sends and receives of a group: they go on together, and it ends when all have.
class Messages final : public NcclOperation {
 public:
  explicit Messages(const std::vector<NcclCall>& calls) : NcclOperation(calls.front().comm), calls_(calls) {}
  ~Messages() override {
    for (const auto& message : messages_) {
      if (message->is_under_way()) nccl_keep(message);
    }
  }

 private:
  void start() override {
    std::vector<MemoryUse> uses;
    for (const NcclCall& call : calls_) {
      if (call.kind == NcclKind::send) {
        uses.push_back({call.sent, bytes_of(call), false, "send buffer"});
      } else {
        uses.push_back({call.received, bytes_of(call), true, "receive buffer"});
      }
    }
    const bool has_memory = use_now(uses);
    for (const NcclCall& call : calls_) {
      if (has_memory && call.kind == NcclKind::send) check_written(call);
    }
    for (const NcclCall& call : calls_) messages_.push_back(std::make_shared<Message>(call, has_memory));
  }

  static void check_written(const NcclCall& call) {
    if (is_initialized(call.sent, bytes_of(call))) return;
    error("initcheck", "%s sends memory that nobody has written: %s", text(running_label()).c_str(),
          heap_describe(call.sent, bytes_of(call)).c_str());
  }

  bool advance() override {
    bool ended = true;
    for (const auto& message : messages_) ended = message->advance() && ended;
    return ended;
  }

  std::vector<NcclCall> calls_;
  std::vector<std::shared_ptr<Message>> messages_;
};

std::string label_of(const std::vector<NcclCall>& calls) {
  if (calls.size() == 1) return nccl_kind_name(calls.front().kind);
  int num_sends = 0;
  for (const NcclCall& call : calls) num_sends += call.kind == NcclKind::send ? 1 : 0;
  return "group of " + std::to_string(num_sends) + " ncclSend and " +
         std::to_string(static_cast<int>(calls.size()) - num_sends) + " ncclRecv";
}

}  // namespace

ncclResult_t nccl_issue_messages(const std::vector<NcclCall>& calls) {
  for (const NcclCall& call : calls) {
    if (bytes_of(call) <= INT_MAX) continue;
    error("nccl", "%s: the emulator sends at most 2^31 - 1 bytes at once", nccl_kind_name(call.kind));
    return ncclInternalError;
  }
  const NcclCall& first = calls.front();
  return nccl_submit(std::make_shared<Messages>(calls), *first.comm, label_of(calls), first.stream);
}

}  // namespace emulator

#include "comm/nccl_communicator.h"

#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "comm/exchange_communicator.h"
#include "comm/nccl_handles.h"
#include "util/error.h"
#include "util/text.h"

// N elements, n ranks, w bytes of an element, as in communicator.h.

namespace artel {
namespace {

using nccl::check_nccl;
using nccl::Transfer;
using nccl::Transfers;

// Whole lines of memory, so that parts can be read in packs.
constexpr std::int64_t part_alignment = 64;

std::byte* bytes_of(const Tensor& x) {
  return static_cast<std::byte*>(x.raw());
}

std::int64_t width_of(const Tensor& x) {
  return static_cast<std::int64_t>(dtype_size(x.dtype()));
}

PartReduction part_reduction(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return PartReduction::sum;
    case Reduction::max:
      return PartReduction::max;
    case Reduction::min:
      return PartReduction::min;
  }
  return PartReduction::sum;
}

class Handle final : public PendingOperation {
 public:
  Handle(std::shared_ptr<Transfers> transfers, std::shared_ptr<Transfer> transfer)
      : transfers_(std::move(transfers)), transfer_(std::move(transfer)) {}

  void wait() override {
    if (transfer_->is_ordered) return;
    Operation& announcement = *transfer_->announcement;
    announcement.wait();
    // Ordered meanwhile, or an error of another operation has ended this one too.
    if (!transfers_->family().failure.empty()) fail("communication", transfers_->family().failure);
    try {
      transfers_->order(*transfer_);
    } catch (const TransportFailure& failure) {
      announcement.fail_in_transport(failure);
    }
  }
  bool done() override {
    if (!transfer_->is_ordered) transfers_->family().poll();
    return transfer_->is_ordered;
  }

 private:
  std::shared_ptr<Transfers> transfers_;
  std::shared_ptr<Transfer> transfer_;
};

/// Sends and receives that go on together.
class MessageGroup {
 public:
  MessageGroup(ncclComm_t comm, cudaStream_t stream) : comm_(comm), stream_(stream) {
    check_nccl(ncclGroupStart(), "ncclGroupStart", nullptr);
  }
  MessageGroup(const MessageGroup&) = delete;
  MessageGroup& operator=(const MessageGroup&) = delete;
  // After an error in the middle of it: a group must not stay open.
  ~MessageGroup() {
    if (is_open_) ncclGroupEnd();
  }

  void send(const std::byte* data, std::int64_t bytes, int to) {
    if (bytes == 0) return;
    check_nccl(ncclSend(data, static_cast<std::size_t>(bytes), ncclUint8, to, comm_, stream_), "ncclSend", comm_);
  }
  void receive(std::byte* data, std::int64_t bytes, int from) {
    if (bytes == 0) return;
    check_nccl(ncclRecv(data, static_cast<std::size_t>(bytes), ncclUint8, from, comm_, stream_), "ncclRecv", comm_);
  }
  void end() {
    is_open_ = false;
    check_nccl(ncclGroupEnd(), "ncclGroupEnd", comm_);
  }

 private:
  ncclComm_t comm_;
  cudaStream_t stream_;
  bool is_open_ = true;
};

class NcclCommunicator final : public ExchangeCommunicator {
 public:
  NcclCommunicator(RankGroup group, std::shared_ptr<Transfers> transfers, ReduceRankParts reduce_parts)
      : ExchangeCommunicator(std::move(group), Device::cuda),
        transfers_(std::move(transfers)),
        reduce_parts_(std::move(reduce_parts)) {}
  ~NcclCommunicator() override { transfers_->end_communicator(comm_); }

  /// Of the world: all ranks meet.
  void connect();

  Pending start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction) override;
  Pending start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts, const Tensor& piece,
                               Purpose purpose, Reduction reduction) override;
  Pending start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x,
                           Purpose purpose) override;
  Pending start_broadcast(const Tensor& x, int root, Purpose purpose) override;
  Pending start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                             const RowPieces& receive_pieces, Purpose purpose) override;
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override;
  AllocatorStats buffer_stats() const override;

 private:
  struct Counts {
    std::vector<std::int64_t> bytes;  ///< of each rank
    std::int64_t own_offset = 0;
    std::int64_t total = 0;
    bool are_equal = true;
  };
  Counts counts_of(std::span<const std::int64_t> counts, std::int64_t bytes) const;
  std::size_t own() const { return static_cast<std::size_t>(rank()); }

  /// Runs body(operation), which puts the transfer on the stream.
  template <class Body>
  Pending start(const OperationLabel& label, const std::vector<std::int64_t> (&rows)[2], std::int64_t bytes_sent,
                std::vector<Tensor> kept, const Body& body);
  template <class Body>
  Pending start(const OperationLabel& label, std::int64_t bytes_sent, std::vector<Tensor> kept, const Body& body) {
    return start(label, {}, bytes_sent, std::move(kept), body);
  }
  /// Where the pieces of the other ranks arrive; none if there are none.
  Tensor buffer_for(const Counts& counts);
  void reduce(Operation& operation, const OperationLabel& label, const Tensor& x, const Counts& counts,
              const Tensor& buffer, std::byte* out);
  void gather(Operation& operation, const std::byte* piece, const Counts& counts, std::byte* x);
  /// A copy on the GPU.
  void copy(const std::byte* from, std::int64_t bytes, std::byte* to);
  /// Calls of a communicator that does not block go on after they return; the next one must wait.
  void settle(Operation& operation, ncclComm_t comm) const;

  std::shared_ptr<Transfers> transfers_;
  ReduceRankParts reduce_parts_;
  ncclComm_t comm_ = nullptr;
};

NcclCommunicator::Counts NcclCommunicator::counts_of(std::span<const std::int64_t> counts, std::int64_t bytes) const {
  Counts result;
  for (const std::int64_t count : counts) {
    if (result.bytes.size() == own()) result.own_offset = result.total;
    result.bytes.push_back(count * bytes);
    result.total += count * bytes;
    result.are_equal = result.are_equal && count == counts[0];
  }
  return result;
}

void NcclCommunicator::settle(Operation& operation, ncclComm_t comm) const {
  operation.wait_until([comm] {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", comm);
    check_nccl(state, "starting", comm);
    return state != ncclInProgress;
  });
}

void NcclCommunicator::connect() {
  ncclUniqueId id{};
  std::string text;
  if (rank() == 0) {
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId", nullptr);
    text.assign(id.internal, sizeof id.internal);
  }
  const std::string of_first = all_gather_text(text, Purpose::control)[0];
  std::memcpy(id.internal, of_first.data(), sizeof id.internal);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that a rank that does not come is noticed
  const auto operation = announce({.kind = OperationKind::split});
  check_nccl(ncclCommInitRankConfig(&comm_, size(), id, rank(), &config), "ncclCommInitRankConfig", nullptr);
  transfers_->add_communicator(comm_);
  settle(*operation, comm_);
}

template <class Body>
Pending NcclCommunicator::start(const OperationLabel& label, const std::vector<std::int64_t> (&rows)[2],
                                std::int64_t bytes_sent, std::vector<Tensor> kept, const Body& body) {
  const auto operation = announce(label, rows);
  group().counters.bytes_sent[static_cast<std::size_t>(label.purpose)] += bytes_sent;
  std::shared_ptr<Transfer> transfer;
  try {
    try {
      transfers_->follow_compute();
      body(*operation);
      transfer = transfers_->add(operation, std::move(kept));
    } catch (const TransportFailure& failure) {
      operation->fail_in_transport(failure);
    }
  } catch (const std::exception& error) {
    group().family->break_off(error.what());
    throw;
  }
  group().family->poll();
  return std::make_unique<Handle>(transfers_, std::move(transfer));
}

Tensor NcclCommunicator::buffer_for(const Counts& counts) {
  const std::int64_t part_bytes = (counts.bytes[own()] + part_alignment - 1) / part_alignment * part_alignment;
  // 4-byte elements keep the shape's numbers below their limits for any type.
  if (size() == 1 || part_bytes == 0) return {};
  return Tensor::empty(transfers_->buffers(), {(size() - 1) * part_bytes / 4}, DType::f32);
}

void NcclCommunicator::copy(const std::byte* from, std::int64_t bytes, std::byte* to) {
  if (bytes == 0 || from == to) return;
  nccl::check_cuda(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, transfers_->stream()),
      "cudaMemcpyAsync");
}

void NcclCommunicator::reduce(Operation& operation, const OperationLabel& label, const Tensor& x, const Counts& counts,
                              const Tensor& buffer, std::byte* out) {
  RankParts parts;
  parts.dtype = x.dtype();
  parts.reduction = part_reduction(label.reduction);
  parts.count = counts.bytes[own()] / width_of(x);
  parts.num_parts = size();
  parts.own = rank();
  parts.own_part = bytes_of(x) + counts.own_offset;
  std::byte* received = buffer.defined() ? bytes_of(buffer) : nullptr;
  parts.other_parts = received;
  parts.stride_bytes = buffer.defined() ? static_cast<std::int64_t>(buffer.nbytes()) / (size() - 1) : 0;
  if (size() > 1 && counts.total > 0) {
    MessageGroup messages(comm_, transfers_->stream());
    const std::byte* piece = bytes_of(x);
    for (int r = 0; r < size(); ++r) {
      if (r != rank()) {
        messages.send(piece, counts.bytes[static_cast<std::size_t>(r)], r);
        messages.receive(received, counts.bytes[own()], r);
        if (received != nullptr) received += parts.stride_bytes;
      }
      piece += counts.bytes[static_cast<std::size_t>(r)];
    }
    messages.end();
    settle(operation, comm_);
  }
  if (size() == 1) return copy(bytes_of(x), counts.total, out);
  if (parts.count > 0) reduce_parts_(transfers_->stream(), parts, out);
}

void NcclCommunicator::gather(Operation& operation, const std::byte* piece, const Counts& counts, std::byte* x) {
  if (counts.total == 0) return;
  if (size() == 1) return copy(piece, counts.total, x);
  if (counts.are_equal) {
    check_nccl(
        ncclAllGather(piece, x, static_cast<std::size_t>(counts.bytes[0]), ncclUint8, comm_, transfers_->stream()),
        "ncclAllGather", comm_);
    return settle(operation, comm_);
  }
  copy(piece, counts.bytes[own()], x + counts.own_offset);
  MessageGroup messages(comm_, transfers_->stream());
  for (int r = 0; r < size(); ++r) {
    const std::int64_t bytes = counts.bytes[static_cast<std::size_t>(r)];
    if (r != rank()) {
      messages.send(piece, counts.bytes[own()], r);
      messages.receive(x, bytes, r);
    }
    x += bytes;
  }
  messages.end();
  settle(operation, comm_);
}

Pending NcclCommunicator::start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction) {
  check_tensor(OperationKind::all_reduce, purpose, x);
  OperationLabel label = label_of(OperationKind::all_reduce, purpose, x);
  label.reduction = reduction;
  const Counts counts = counts_of(even_shares(x.numel(), size()), width_of(x));
  const std::int64_t mine = counts.bytes[own()];
  const Tensor buffer = buffer_for(counts);
  return start(label, size() == 1 ? 0 : counts.total + (size() - 2) * mine, {x, buffer}, [&](Operation& operation) {
    if (size() == 1) return;
    std::byte* const sum = bytes_of(x) + counts.own_offset;
    reduce(operation, label, x, counts, buffer, sum);
    gather(operation, sum, counts, bytes_of(x));
  });
}

Pending NcclCommunicator::start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts,
                                               const Tensor& piece, Purpose purpose, Reduction reduction) {
  check_counts(OperationKind::reduce_scatter, purpose, counts, piece, x);
  OperationLabel label = label_of(OperationKind::reduce_scatter, purpose, x);
  label.reduction = reduction;
  const Counts sizes = counts_of(counts, x.shape().inner() * width_of(x));
  const Tensor buffer = buffer_for(sizes);
  return start(label, sizes.total - sizes.bytes[own()], {x, piece, buffer},
               [&](Operation& operation) { reduce(operation, label, x, sizes, buffer, bytes_of(piece)); });
}

Pending NcclCommunicator::start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x,
                                           Purpose purpose) {
  check_counts(OperationKind::all_gather, purpose, counts, piece, x);
  const Counts sizes = counts_of(counts, x.shape().inner() * width_of(x));
  return start(label_of(OperationKind::all_gather, purpose, x), (size() - 1) * sizes.bytes[own()], {piece, x},
               [&](Operation& operation) { gather(operation, bytes_of(piece), sizes, bytes_of(x)); });
}

Pending NcclCommunicator::start_broadcast(const Tensor& x, int root, Purpose purpose) {
  check_tensor(OperationKind::broadcast, purpose, x);
  check_root(root, purpose);
  OperationLabel label = label_of(OperationKind::broadcast, purpose, x);
  label.root = root;
  const auto bytes = static_cast<std::int64_t>(x.nbytes());
  return start(label, rank() == root ? (size() - 1) * bytes : 0, {x}, [&](Operation& operation) {
    if (size() == 1 || bytes == 0) return;
    check_nccl(ncclBroadcast(x.raw(), x.raw(), x.nbytes(), ncclUint8, root, comm_, transfers_->stream()),
               "ncclBroadcast", comm_);
    settle(operation, comm_);
  });
}

Pending NcclCommunicator::start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                                             const RowPieces& receive_pieces, Purpose purpose) {
  check_pieces(send, send_pieces, receive, receive_pieces, purpose);
  OperationLabel label = label_of(OperationKind::all_to_all_v, purpose, send);
  label.num_elements = 0;
  const std::int64_t bytes = send.shape().inner() * width_of(send);
  const std::int64_t rows = std::accumulate(send_pieces.counts.begin(), send_pieces.counts.end(), std::int64_t{0});
  const auto run = [&](Operation& operation) {
    copy(bytes_of(send) + send_pieces.offsets[own()] * bytes, send_pieces.counts[own()] * bytes,
         bytes_of(receive) + receive_pieces.offsets[own()] * bytes);
    MessageGroup messages(comm_, transfers_->stream());
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      const auto i = static_cast<std::size_t>(r);
      messages.send(bytes_of(send) + send_pieces.offsets[i] * bytes, send_pieces.counts[i] * bytes, r);
      messages.receive(bytes_of(receive) + receive_pieces.offsets[i] * bytes, receive_pieces.counts[i] * bytes, r);
    }
    messages.end();
    settle(operation, comm_);
  };
  return start(label, {send_pieces.counts, receive_pieces.counts}, (rows - send_pieces.counts[own()]) * bytes,
               {send, receive}, run);
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key, const std::string& name) {
  std::optional<RankGroup> part = split_off(color, key, name);
  const int place = part ? part->rank() : 0;
  std::unique_ptr<NcclCommunicator> result;
  if (part) result = std::make_unique<NcclCommunicator>(std::move(*part), transfers_, reduce_parts_);
  const auto operation = announce({.kind = OperationKind::split});
  try {
    // NCCL wants nothing under way.
    operation->wait_until([this] { return transfers_->is_idle(); });
    ncclComm_t child = nullptr;
    check_nccl(ncclCommSplit(comm_, part ? color : NCCL_SPLIT_NOCOLOR, place, &child, nullptr), "ncclCommSplit", comm_);
    settle(*operation, comm_);
    if (!result) return nullptr;
    result->comm_ = child;
    transfers_->add_communicator(child);
    settle(*operation, child);
  } catch (const TransportFailure& failure) {
    group().family->break_off(failure.what());
    operation->fail_in_transport(failure);
  }
  return result;
}

AllocatorStats NcclCommunicator::buffer_stats() const {
  const AllocatorStats on_host = ExchangeCommunicator::buffer_stats();
  AllocatorStats stats = transfers_->buffer_stats();
  stats.active_bytes += on_host.active_bytes;
  stats.peak_bytes += on_host.peak_bytes;
  stats.cached_bytes += on_host.cached_bytes;
  stats.num_system_allocations += on_host.num_system_allocations;
  return stats;
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const NcclDevice& device) {
  auto* exchange = dynamic_cast<ExchangeCommunicator*>(&host);
  if (exchange == nullptr) fail("NCCL", "required a communicator of host memory to start from, found another one");
  std::optional<RankGroup> group = exchange->split_off(0, host.rank(), host.name());
  if (group->family->device != nullptr) {
    fail("NCCL", "required one communicator of GPUs for all ranks, found a second one; split the first");
  }
  try {
    auto transfers =
        std::make_shared<Transfers>(group->family, static_cast<cudaStream_t>(device.compute_stream), *device.allocator);
    auto world = std::make_unique<NcclCommunicator>(std::move(*group), std::move(transfers), device.reduce_parts);
    world->connect();
    return world;
  } catch (const TransportFailure& failure) {
    fail("NCCL", concat("required a connection of the GPUs of ", host.size(), " ranks, found ", failure.what(),
                        "; this is rank ", host.rank()));
  }
}

}  // namespace artel

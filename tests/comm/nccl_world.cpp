// The cases work on host memory. Here every tensor of theirs has a copy on the GPU: it goes there on the compute stream
// before an operation starts and comes back on it after the wait, so that a transfer that is not ordered with that
// stream shows.
#include <cstddef>
#include <utility>
#include <vector>

#include "comm/nccl_communicator.h"
#include "comm/ranks_world.h"
#include "kernels/cuda_device.h"
#include "support/device_access.h"

namespace artel {
namespace {

/// A tensor of a case and its copy.
struct Copied {
  Tensor host;
  Tensor device;
  bool is_output = false;
};

/// An operation on copies. Shared by its handle and by the communicator, which ends it when the handle was dropped.
struct CopiedOperation {
  Pending pending;
  std::vector<Copied> tensors;

  void finish(Backend& backend) {
    const std::vector<Copied> copies = std::exchange(tensors, {});  // let go of after an error too
    pending->wait();
    for (const Copied& x : copies) {
      if (x.is_output) backend.download(x.device, x.host.raw());
    }
  }
};

class CopiedHandle final : public PendingOperation {
 public:
  CopiedHandle(std::shared_ptr<CopiedOperation> operation, Backend& backend)
      : operation_(std::move(operation)), backend_(backend) {}
  void wait() override { operation_->finish(backend_); }
  bool done() override { return operation_->tensors.empty() || operation_->pending->done(); }

 private:
  std::shared_ptr<CopiedOperation> operation_;
  Backend& backend_;
};

class CopyingCommunicator final : public Communicator {
 public:
  CopyingCommunicator(std::unique_ptr<Communicator> inner, CudaDevice& device)
      : inner_(std::move(inner)), device_(device) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }

  Pending start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction) override {
    const Copied copy = to_device(x, true);
    return keep(inner_->start_all_reduce(copy.device, purpose, reduction), {copy});
  }
  Pending start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts, const Tensor& piece,
                               Purpose purpose, Reduction reduction) override {
    const Copied whole = to_device(x, false);
    const Copied part = part_of(piece, whole, true);
    return keep(inner_->start_reduce_scatter(whole.device, counts, part.device, purpose, reduction), {whole, part});
  }
  Pending start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x,
                           Purpose purpose) override {
    const Copied whole = to_device(x, true);
    const Copied part = part_of(piece, whole, false);
    return keep(inner_->start_all_gather(part.device, counts, whole.device, purpose), {whole, part});
  }
  Pending start_broadcast(const Tensor& x, int root, Purpose purpose) override {
    const Copied copy = to_device(x, true);
    return keep(inner_->start_broadcast(copy.device, root, purpose), {copy});
  }
  Pending start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                             const RowPieces& receive_pieces, Purpose purpose) override {
    const Copied from = to_device(send, false);
    const Copied to = to_device(receive, true);
    return keep(inner_->start_all_to_all_v(from.device, send_pieces, to.device, receive_pieces, purpose), {from, to});
  }

  void all_reduce_values(std::span<double> values, Purpose purpose, Reduction reduction) override {
    inner_->all_reduce_values(values, purpose, reduction);
  }
  void all_reduce_values(std::span<std::int64_t> values, Purpose purpose, Reduction reduction) override {
    inner_->all_reduce_values(values, purpose, reduction);
  }
  void all_to_all_counts(std::span<const std::int64_t> send, std::span<std::int64_t> receive,
                         Purpose purpose) override {
    inner_->all_to_all_counts(send, receive, purpose);
  }
  std::vector<std::string> all_gather_text(std::string_view text, Purpose purpose) override {
    return inner_->all_gather_text(text, purpose);
  }
  void barrier(Purpose purpose) override { inner_->barrier(purpose); }
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
    std::unique_ptr<Communicator> part = inner_->split(color, key, name);
    return part == nullptr ? nullptr : std::make_unique<CopyingCommunicator>(std::move(part), device_);
  }
  void poll() override {
    inner_->poll();
    std::erase_if(operations_, [this](const std::shared_ptr<CopiedOperation>& operation) {
      if (!operation->tensors.empty() && operation.use_count() == 1 && operation->pending->done()) {
        operation->finish(device_.backend());
      }
      return operation->tensors.empty();
    });
  }
  void set_step(std::int64_t step) override { inner_->set_step(step); }
  void set_wait_observer(std::function<void(double, const std::string&)> observer) override {
    inner_->set_wait_observer(std::move(observer));
  }
  const CommunicationCounters& counters() const override { return inner_->counters(); }
  AllocatorStats buffer_stats() const override { return inner_->buffer_stats(); }
  double timeout_seconds() const override { return inner_->timeout_seconds(); }

 private:
  // Starts at a multiple of the element alone, so that nobody relies on more.
  Copied to_device(const Tensor& x, bool is_output) {
    const Tensor room = Tensor::empty(device_.allocator(), {x.numel() + 1}, x.dtype());
    const Tensor copy = room.rows(1, x.numel() + 1).view(x.shape());
    if (x.nbytes() > 0) device_.backend().upload(x.raw(), copy);
    return {x, copy, is_output};
  }
  // Inside the whole's copy if it is inside the whole.
  Copied part_of(const Tensor& piece, const Copied& whole, bool is_output) {
    const auto* const begin = static_cast<const std::byte*>(whole.host.raw());
    const auto* const data = static_cast<const std::byte*>(piece.raw());
    const auto row = static_cast<std::ptrdiff_t>(whole.host.shape().inner()) *
                     static_cast<std::ptrdiff_t>(dtype_size(piece.dtype()));
    if (data < begin || data > begin + whole.host.nbytes() || row == 0) return to_device(piece, is_output);
    const bool is_inside = piece.nbytes() > 0 && data < begin + whole.host.nbytes();
    if (!is_inside) return to_device(piece, is_output);
    const std::int64_t first = (data - begin) / row;
    return {piece, whole.device.rows(first, first + piece.size(0)), is_output};
  }
  Pending keep(Pending pending, std::vector<Copied> tensors) {
    auto operation = std::make_shared<CopiedOperation>();
    operation->pending = std::move(pending);
    operation->tensors = std::move(tensors);
    std::erase_if(operations_, [](const auto& other) { return other->tensors.empty(); });
    operations_.push_back(operation);
    return std::make_unique<CopiedHandle>(std::move(operation), device_.backend());
  }

  std::unique_ptr<Communicator> inner_;
  CudaDevice& device_;
  std::vector<std::shared_ptr<CopiedOperation>> operations_;
};

class NcclWorld final : public RanksWorld {
 public:
  explicit NcclWorld(Communicator& host) : device_(make_cuda_device(0)) {
    NcclDevice device;
    device.compute_stream = device_->compute_stream();
    device.allocator = &device_->allocator();
    device.reduce_parts = [this](void* stream, const RankParts& parts, void* out) {
      device_->reduce_rank_parts(stream, parts, out);
    };
    std::unique_ptr<Communicator> gpus = make_nccl_communicator(host, device);
    device_->set_wait_poll([&world = *gpus] { world.poll(); });
    world_ = std::make_unique<CopyingCommunicator>(std::move(gpus), *device_);
  }
  Communicator& world() override { return *world_; }
  std::string take_reports() override { return take_device_reports(); }
  void stop_device() override { stop_stream(device_->compute_stream()); }
  void break_transfer() override { break_next_transfer(); }

 private:
  std::unique_ptr<CudaDevice> device_;
  std::unique_ptr<CopyingCommunicator> world_;
};

}  // namespace

std::unique_ptr<RanksWorld> make_ranks_world(Communicator& host) {
  return std::make_unique<NcclWorld>(host);
}

}  // namespace artel

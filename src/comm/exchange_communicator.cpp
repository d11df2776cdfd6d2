#include "comm/exchange_communicator.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

class Handle final : public PendingOperation {
 public:
  explicit Handle(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}
  void wait() override { operation_->wait(); }
  bool done() override {
    if (!operation_->is_done() && operation_->group() != nullptr) operation_->group()->family->poll();
    return operation_->is_done();
  }

 private:
  std::shared_ptr<Operation> operation_;
};

std::byte* bytes_of(const Tensor& x) {
  return static_cast<std::byte*>(x.raw());
}

void copy(const std::byte* from, std::int64_t bytes, std::byte* to) {
  if (bytes > 0 && from != to) std::memmove(to, from, static_cast<std::size_t>(bytes));
}

std::int64_t row_bytes(const Tensor& x) {
  return x.shape().inner() * static_cast<std::int64_t>(dtype_size(x.dtype()));
}

std::vector<std::int64_t> scaled(std::span<const std::int64_t> counts, std::int64_t factor) {
  std::vector<std::int64_t> result(counts.begin(), counts.end());
  for (std::int64_t& count : result) count *= factor;
  return result;
}

}  // namespace

ExchangeCommunicator::ExchangeCommunicator(std::unique_ptr<Transport> transport, const CommunicatorOptions& options) {
  if (!(options.timeout_seconds > 0.0)) {
    fail("communication", concat("required a timeout of more than 0 s, found ", options.timeout_seconds));
  }
  group_.family = std::make_shared<Family>(options);
  group_.transport = std::move(transport);
  group_.name = "world";
  group_.world_ranks.resize(static_cast<std::size_t>(group_.size()));
  std::iota(group_.world_ranks.begin(), group_.world_ranks.end(), 0);
}

ExchangeCommunicator::~ExchangeCommunicator() {
  std::erase_if(group_.family->active, [this](const std::shared_ptr<Operation>& operation) {
    if (operation->group() != &group_) return false;
    operation->abandon();
    return true;
  });
}

std::shared_ptr<Operation> ExchangeCommunicator::start(const OperationLabel& label, std::vector<OperationStage> stages,
                                                       std::vector<Tensor> kept) {
  Family& family = *group_.family;
  if (!family.failure.empty()) {
    refuse(label.kind, label.purpose, "required no error before it, found this one: " + family.failure);
  }
  try {
    auto operation = std::make_shared<Operation>(group_, label, std::move(stages), std::move(kept));
    family.active.push_back(operation);
    family.poll();  // a group of one is done by this
    return operation;
  } catch (const std::exception& error) {
    family.break_off(error.what());
    throw;
  }
}

OperationStage ExchangeCommunicator::reduce_stage(const OperationLabel& label, std::byte* x,
                                                  std::span<const std::int64_t> counts, std::byte* out,
                                                  std::vector<Tensor>& kept) {
  const auto n = static_cast<std::size_t>(size());
  const auto own = static_cast<std::size_t>(rank());
  const std::int64_t width = element_size(label.element);
  OperationStage stage;
  stage.send.resize(n);
  stage.receive.resize(n);
  std::vector<const std::byte*> parts(n);
  // Whole cache lines, so that the parts of two ranks never share one.
  const std::int64_t part_bytes = (counts[own] * width + 63) / 64 * 64;
  std::byte* scratch = nullptr;
  if (n > 1 && part_bytes > 0) {
    // 4-byte elements keep the shape's numbers below their limits for any type.
    kept.push_back(
        Tensor::empty(group_.family->buffers, {static_cast<std::int64_t>(n - 1) * part_bytes / 4}, DType::f32));
    scratch = bytes_of(kept.back());
  }
  for (std::size_t r = 0; r < n; ++r) {
    stage.send[r] = {x, counts[r] * width};
    if (r == own) {
      parts[r] = x;
    } else {
      parts[r] = scratch;
      stage.receive[r] = {scratch, counts[own] * width};
      if (scratch != nullptr) scratch += part_bytes;
    }
    x += counts[r] * width;
  }
  stage.finish = [label, parts, count = counts[own], out] {
    reduce_elements(label.element, label.reduction, parts, count, out);
  };
  return stage;
}

OperationStage ExchangeCommunicator::gather_stage(const std::byte* piece, std::span<const std::int64_t> bytes,
                                                  std::byte* x) const {
  OperationStage stage;
  for (std::size_t r = 0; r < bytes.size(); ++r) {
    const bool own = static_cast<int>(r) == rank();
    stage.send.push_back({piece, bytes[static_cast<std::size_t>(rank())]});
    stage.receive.push_back({x, bytes[r]});
    if (own) stage.finish = [piece, x, count = bytes[r]] { copy(piece, count, x); };
    x += bytes[r];
  }
  return stage;
}

std::shared_ptr<Operation> ExchangeCommunicator::start_reduce_all(const OperationLabel& label, std::byte* x,
                                                                  std::vector<Tensor> kept) {
  const std::vector<std::int64_t> counts = even_shares(label.num_elements, size());
  const std::vector<std::int64_t> bytes = scaled(counts, element_size(label.element));
  std::byte* own = x + std::accumulate(bytes.begin(), bytes.begin() + rank(), std::int64_t{0});
  std::vector<OperationStage> stages;
  if (size() > 1) {
    stages.push_back(reduce_stage(label, x, counts, own, kept));
    stages.push_back(gather_stage(own, bytes, x));
  }
  return start(label, std::move(stages), std::move(kept));
}

Pending ExchangeCommunicator::start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction) {
  check_tensor(OperationKind::all_reduce, purpose, x);
  OperationLabel label = label_of(OperationKind::all_reduce, purpose, x);
  label.reduction = reduction;
  return std::make_unique<Handle>(start_reduce_all(label, bytes_of(x), {x}));
}

Pending ExchangeCommunicator::start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts,
                                                   const Tensor& piece, Purpose purpose, Reduction reduction) {
  check_counts(OperationKind::reduce_scatter, purpose, counts, piece, x);
  OperationLabel label = label_of(OperationKind::reduce_scatter, purpose, x);
  label.reduction = reduction;
  std::vector<Tensor> kept{x, piece};
  std::vector<OperationStage> stages;
  stages.push_back(reduce_stage(label, bytes_of(x), scaled(counts, x.shape().inner()), bytes_of(piece), kept));
  return std::make_unique<Handle>(start(label, std::move(stages), std::move(kept)));
}

Pending ExchangeCommunicator::start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts,
                                               const Tensor& x, Purpose purpose) {
  check_counts(OperationKind::all_gather, purpose, counts, piece, x);
  std::vector<OperationStage> stages;
  stages.push_back(gather_stage(bytes_of(piece), scaled(counts, row_bytes(x)), bytes_of(x)));
  return std::make_unique<Handle>(
      start(label_of(OperationKind::all_gather, purpose, x), std::move(stages), {piece, x}));
}

Pending ExchangeCommunicator::start_broadcast(const Tensor& x, int root, Purpose purpose) {
  check_tensor(OperationKind::broadcast, purpose, x);
  check_root(root, purpose);
  OperationLabel label = label_of(OperationKind::broadcast, purpose, x);
  label.root = root;
  OperationStage stage;
  stage.send.resize(static_cast<std::size_t>(size()));
  stage.receive.resize(static_cast<std::size_t>(size()));
  const auto bytes = static_cast<std::int64_t>(x.nbytes());
  if (rank() == root) {
    std::fill(stage.send.begin(), stage.send.end(), SendPiece{bytes_of(x), bytes});
  } else {
    stage.receive[static_cast<std::size_t>(root)] = {bytes_of(x), bytes};
  }
  std::vector<OperationStage> stages;
  stages.push_back(std::move(stage));
  return std::make_unique<Handle>(start(label, std::move(stages), {x}));
}

Pending ExchangeCommunicator::start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces,
                                                 const Tensor& receive, const RowPieces& receive_pieces,
                                                 Purpose purpose) {
  check_pieces(send, send_pieces, receive, receive_pieces, purpose);
  const auto n = static_cast<std::size_t>(size());
  const auto own = static_cast<std::size_t>(rank());
  const std::int64_t bytes = row_bytes(send);
  OperationStage stage;
  for (std::size_t r = 0; r < n; ++r) {
    stage.send.push_back({bytes_of(send) + send_pieces.offsets[r] * bytes, send_pieces.counts[r] * bytes});
    stage.receive.push_back({bytes_of(receive) + receive_pieces.offsets[r] * bytes, receive_pieces.counts[r] * bytes});
  }
  copy(stage.send[own].data, stage.send[own].bytes, stage.receive[own].data);
  OperationLabel label = label_of(OperationKind::all_to_all_v, purpose, send);
  label.num_elements = 0;
  std::vector<OperationStage> stages;
  stages.push_back(std::move(stage));
  return std::make_unique<Handle>(start(label, std::move(stages), {send, receive}));
}

}  // namespace artel

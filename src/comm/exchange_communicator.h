#pragma once

#include <optional>
#include <utility>

#include "comm/communicator.h"
#include "comm/operation.h"

namespace artel {

/// Every operation on top of a transport that can exchange bytes. Sums are made here, in rank order: each rank receives
/// its piece from all, adds, and sends the sum to all, which moves as many bytes as a ring does.
class ExchangeCommunicator : public Communicator {
 public:
  /// The world: all ranks of the transport.
  ExchangeCommunicator(std::unique_ptr<Transport> transport, const CommunicatorOptions& options);
  ~ExchangeCommunicator() override;

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  const std::string& name() const override { return group_.name; }

  Pending start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction) override;
  Pending start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts, const Tensor& piece,
                               Purpose purpose, Reduction reduction) override;
  Pending start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x,
                           Purpose purpose) override;
  Pending start_broadcast(const Tensor& x, int root, Purpose purpose) override;
  Pending start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                             const RowPieces& receive_pieces, Purpose purpose) override;
  void all_reduce_values(std::span<double> values, Purpose purpose, Reduction reduction) override;
  void all_reduce_values(std::span<std::int64_t> values, Purpose purpose, Reduction reduction) override;
  void all_to_all_counts(std::span<const std::int64_t> send, std::span<std::int64_t> receive, Purpose purpose) override;
  std::vector<std::string> all_gather_text(std::string_view text, Purpose purpose) override;
  void barrier(Purpose purpose) override;
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override;

  void poll() override { group_.family->poll(); }
  void set_step(std::int64_t step) override { group_.family->step = step; }
  void set_wait_observer(std::function<void(double, const std::string&)> observer) override {
    group_.family->wait_observer = std::move(observer);
  }
  const CommunicationCounters& counters() const override { return group_.counters; }
  AllocatorStats buffer_stats() const override { return group_.family->buffers.stats(); }
  double timeout_seconds() const override { return group_.family->options.timeout_seconds; }

  /// The group that split() makes, without a communicator; none for a negative color.
  std::optional<RankGroup> split_off(int color, int key, const std::string& name);

 protected:
  /// `device`: where its tensors must be.
  explicit ExchangeCommunicator(RankGroup group, Device device = Device::cpu)
      : group_(std::move(group)), device_(device) {}

  RankGroup& group() { return group_; }
  /// Tells the ranks of an operation that something else carries out: they compare its label, and row counts where
  /// `rows` has some: this rank sends rows[0][r] to rank r and expects rows[1][r].
  std::shared_ptr<Operation> announce(const OperationLabel& label, const std::vector<std::int64_t> (&rows)[2]);
  std::shared_ptr<Operation> announce(const OperationLabel& label) { return announce(label, {}); }
  // What all transports require of arguments.
  void check_tensor(OperationKind kind, Purpose purpose, const Tensor& x) const;
  void check_counts(OperationKind kind, Purpose purpose, std::span<const std::int64_t> counts, const Tensor& piece,
                    const Tensor& x) const;
  void check_root(int root, Purpose purpose) const;
  void check_pieces(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                    const RowPieces& receive_pieces, Purpose purpose) const;
  [[noreturn]] void refuse(OperationKind kind, Purpose purpose, const std::string& what) const;

 private:
  std::shared_ptr<Operation> start(const OperationLabel& label, std::vector<OperationStage> stages,
                                   std::vector<Tensor> kept = {});
  /// Receives this rank's piece of `x` from every rank and leaves the reduction at `out`. counts: elements.
  OperationStage reduce_stage(const OperationLabel& label, std::byte* x, std::span<const std::int64_t> counts,
                              std::byte* out, std::vector<Tensor>& kept);
  /// Sends `piece` to every rank and receives theirs into x. bytes: per rank.
  OperationStage gather_stage(const std::byte* piece, std::span<const std::int64_t> bytes, std::byte* x) const;
  std::shared_ptr<Operation> start_reduce_all(const OperationLabel& label, std::byte* x, std::vector<Tensor> kept);

  RankGroup group_;
  Device device_ = Device::cpu;
};

}  // namespace artel

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/element_reduce.h"
#include "comm/transport.h"

namespace artel {

enum class OperationKind : std::uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all_v,
  all_to_all_counts,
  all_gather_text,
  barrier,
  split,
};
const char* operation_name(OperationKind kind);

class Operation;

/// Transfers of a family that no exchange carries: those between GPUs. Told of by its owner (Family::device).
class DeviceTransfers {
 public:
  DeviceTransfers() = default;
  DeviceTransfers(const DeviceTransfers&) = delete;
  DeviceTransfers& operator=(const DeviceTransfers&) = delete;
  virtual ~DeviceTransfers() = default;

  /// Forgets what has ended. Errors: those that the device's library reports; a transfer that does not end.
  virtual void poll() = 0;
  /// Ends what is under way: an error has come up.
  virtual void abort() noexcept = 0;
};

/// What the groups split from one world share on one rank.
struct Family {
  explicit Family(const CommunicatorOptions& given) : options(given) {}

  CommunicatorOptions options;
  std::int64_t step = -1;
  std::function<void(double, const std::string&)> wait_observer;
  HostAllocator buffers;
  std::vector<std::shared_ptr<Operation>> active;  ///< in the order in which they were started
  std::string failure;                             ///< text of the first error; nothing works after it
  DeviceTransfers* device = nullptr;               ///< or none

  /// Gives progress to every active operation and forgets those that ended.
  void poll();
  /// Notes an error and gives up what is active, so that nobody writes to its memory any more.
  void break_off(const std::string& why);
};

/// One group as its operations see it.
struct RankGroup {
  std::shared_ptr<Family> family;
  std::unique_ptr<Transport> transport;
  std::string name;
  std::vector<int> world_ranks;  ///< of its ranks, in order
  std::uint64_t num_started = 0;
  CommunicationCounters counters;

  int rank() const { return transport->rank(); }
  int size() const { return transport->size(); }
};

struct OperationLabel {
  OperationKind kind = OperationKind::barrier;
  Purpose purpose = Purpose::control;
  ElementType element = ElementType::byte;
  Reduction reduction = Reduction::sum;
  int root = 0;
  std::int64_t num_elements = 0;  ///< that ranks must agree on; 0 where they need not
};
OperationLabel label_of(OperationKind kind, Purpose purpose, const Tensor& x);

/// One exchange of an operation, and what is done with what it brought.
struct OperationStage {
  std::vector<SendPiece> send;        ///< [n]
  std::vector<ReceivePiece> receive;  ///< [n]
  std::function<void()> finish;       ///< may throw TransportFailure
  bool is_counted = true;             ///< whether its bytes count as sent
};

/// An operation of one rank: its stages one after the other, each begun as soon as the one before has ended and
/// somebody polls.
class Operation {
 public:
  /// `kept`: tensors that the stages point into. Starts the first stage. `group` must outlive it or call abandon().
  Operation(RankGroup& group, const OperationLabel& label, std::vector<OperationStage> stages,
            std::vector<Tensor> kept);

  bool is_done() const { return done_; }
  const RankGroup* group() const { return group_; }
  /// Starts what can be started, ends what has come. Errors: ranks that disagree, and those of the transport.
  void progress();
  /// Waits for the end. Errors: also nothing within the timeout.
  void wait();
  /// Polls until `done`, as long as the timeout allows.
  void wait_until(const std::function<bool()>& done);
  /// Gives up: the group is going away or an error ended everything.
  void abandon();
  [[noreturn]] void fail_in_transport(const TransportFailure& failure) const;
  /// Ends everything: not done after so many seconds.
  [[noreturn]] void fail_late(double seconds) const;

 private:
  void start_stage();
  void finish();
  void check_header(int from, const MessageHeader& found) const;
  /// Who and when, for messages.
  std::string context() const;
  /// "nothing from ranks 1, 2", "its messages to rank 1 not taken"
  std::string missing() const;
  void observe(double seconds) const;

  RankGroup* group_;
  OperationLabel label_;
  std::uint64_t sequence_;
  std::vector<OperationStage> stages_;
  std::vector<Tensor> kept_;
  std::size_t stage_ = 0;
  std::unique_ptr<Exchange> exchange_;
  bool done_ = false;
};

}  // namespace artel

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

// n = size() ranks; w = bytes of one element; N = elements of a tensor; N_r = elements of the piece of rank r;
// a row = one index of dimension 0.

namespace artel {

/// What a transfer is for: bytes and waiting times are counted by it, and messages name it.
enum class Purpose : std::uint8_t {
  dispatch,    ///< rows to the experts, and their gradients on the way there
  combine,     ///< rows back from the experts, and their gradients
  gradients,   ///< sums of gradients, and their norm
  parameters,  ///< weights after a sharded update, or at the start
  statistics,  ///< loads of experts, losses, other figures of a step
  checkpoint,  ///< what ranks tell one another around a save or a load
  control,     ///< agreement, set-up, barriers
};
inline constexpr std::size_t num_purposes = 7;
const char* purpose_name(Purpose purpose);

enum class Reduction : std::uint8_t { sum, max, min };

/// Totals of one communicator since it was made, by purpose (index: the enumerator's number). `bytes_sent` is the
/// payload that left this rank for other ranks, to the byte what the formulas at the operations say.
struct CommunicationCounters {
  std::array<std::int64_t, num_purposes> bytes_sent{};
  std::array<std::int64_t, num_purposes> num_operations{};
  std::array<double, num_purposes> seconds_waited{};  ///< inside wait() and the blocking forms

  /// Adds `sign` times what another counted.
  void add(const CommunicationCounters& other, int sign);
};

/// An operation under way. Its tensors must be left alone until wait() has returned; they are kept alive, so a handle
/// may be dropped, and the operation then ends whenever the communicator is polled.
class PendingOperation {
 public:
  PendingOperation() = default;
  PendingOperation(const PendingOperation&) = delete;
  PendingOperation& operator=(const PendingOperation&) = delete;
  virtual ~PendingOperation() = default;

  /// Returns when this rank's part is done; at once when it has been. Errors: see Communicator.
  virtual void wait() = 0;
  /// Whether wait() would return at once; gives progress like Communicator::poll().
  virtual bool done() = 0;
};
using Pending = std::unique_ptr<PendingOperation>;

/// Rows of a tensor by rank: rank r has `counts[r]` rows that begin at row `offsets[r]`. A count of zero is normal.
struct RowPieces {
  std::vector<std::int64_t> counts;   ///< [n]
  std::vector<std::int64_t> offsets;  ///< [n]
};
/// Pieces that lie one behind the other in rank order.
RowPieces consecutive_pieces(std::span<const std::int64_t> counts);
/// `total` in `num` counts that differ by at most one, the larger ones first.
std::vector<std::int64_t> even_shares(std::int64_t total, int num);

struct CommunicatorOptions {
  double timeout_seconds = 600.0;  ///< the longest that one wait may last; groups that are split off inherit it
};

/// A group of ranks that act together. One process alone is the group of one, not a special case.
///
/// Every rank of a group starts the same operations in the same order, whatever its counts; waits may come in any
/// order. No operation ends on a rank before every rank of the group has started it. Tensors are contiguous, in host
/// memory or a GPU's (nccl_communicator.h). Sums are made element by element in rank order from rank 0's value on: they
/// depend neither on the transport nor on how the elements are cut into pieces, and all_reduce gives the bits of
/// reduce_scatter and all_gather. bf16 is summed in fp32 and rounded once. Calls come from one thread per rank.
///
/// Errors, of any operation: nothing from a rank within the timeout; ranks that called different operations or sizes;
/// a rank that ended with an error; a tensor of another shape or type than required. They name this rank, the group,
/// the operation, its purpose and the step. No operation works after one.
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Of the group, for messages: "world", "expert 1", …
  virtual const std::string& name() const = 0;

  /// x = sum (max, min: a NaN wins) of x over the ranks; f32, f64, bf16, i32. Bytes sent: (N + (n - 2) · N_r) · w with
  /// N_r = even_shares(N, n)[rank], which is 2 (n - 1) / n · N · w when n divides N; 0 when n = 1.
  virtual Pending start_all_reduce(const Tensor& x, Purpose purpose, Reduction reduction = Reduction::sum) = 0;
  /// piece = rows of this rank of the sum of x over the ranks; x: [sum of counts, …], counts [n] in rows, equal on
  /// every rank. `piece` may be those rows of x; otherwise x is not changed. Bytes sent: (N - N_r) · w.
  virtual Pending start_reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts, const Tensor& piece,
                                       Purpose purpose, Reduction reduction = Reduction::sum) = 0;
  /// x = the pieces of all ranks in rank order; x: [sum of counts, …], counts [n] in rows, equal on every rank; any
  /// element type. `piece` may be this rank's rows of x. Bytes sent: (n - 1) · N_r · w.
  virtual Pending start_all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x,
                                   Purpose purpose) = 0;
  /// x = x of rank `root`; any element type. Bytes sent: by root (n - 1) · N · w, by others 0.
  virtual Pending start_broadcast(const Tensor& x, int root, Purpose purpose) = 0;
  /// Rows of `receive` from rank r = the rows of r's `send` for this rank; any element type, rows of equal size in
  /// both. What rank p sends to q and what q expects from p must agree. Rows of `receive` outside all pieces are left.
  /// Bytes sent: those of the rows for other ranks.
  virtual Pending start_all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                                     const RowPieces& receive_pieces, Purpose purpose) = 0;

  void all_reduce(const Tensor& x, Purpose purpose, Reduction reduction = Reduction::sum) {
    start_all_reduce(x, purpose, reduction)->wait();
  }
  void reduce_scatter(const Tensor& x, std::span<const std::int64_t> counts, const Tensor& piece, Purpose purpose,
                      Reduction reduction = Reduction::sum) {
    start_reduce_scatter(x, counts, piece, purpose, reduction)->wait();
  }
  void all_gather(const Tensor& piece, std::span<const std::int64_t> counts, const Tensor& x, Purpose purpose) {
    start_all_gather(piece, counts, x, purpose)->wait();
  }
  void broadcast(const Tensor& x, int root, Purpose purpose) { start_broadcast(x, root, purpose)->wait(); }
  void all_to_all_v(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                    const RowPieces& receive_pieces, Purpose purpose) {
    start_all_to_all_v(send, send_pieces, receive, receive_pieces, purpose)->wait();
  }

  /// Small values of the host, blocking. all_reduce_values: as all_reduce. all_to_all_counts: receive[r · k + i] =
  /// send[rank · k + i] of rank r, k = length / n values for each rank; bytes sent: 8 (n - 1) k. all_gather_text: the
  /// texts of all ranks, of any lengths; bytes sent: (n - 1) (8 + length). barrier: 0 bytes.
  virtual void all_reduce_values(std::span<double> values, Purpose purpose, Reduction reduction = Reduction::sum) = 0;
  virtual void all_reduce_values(std::span<std::int64_t> values, Purpose purpose,
                                 Reduction reduction = Reduction::sum) = 0;
  virtual void all_to_all_counts(std::span<const std::int64_t> send, std::span<std::int64_t> receive,
                                 Purpose purpose) = 0;
  virtual std::vector<std::string> all_gather_text(std::string_view text, Purpose purpose) = 0;
  virtual void barrier(Purpose purpose = Purpose::control) = 0;

  /// The group of the ranks that gave the same color, ordered by (key, rank here); none for a negative color. Called
  /// by every rank. `name`: of the new group. Counted as control: 16 (n - 1) bytes.
  virtual std::unique_ptr<Communicator> split(int color, int key, const std::string& name) = 0;

  /// Gives progress to whatever is pending on this rank, in every group split from the same world. Cheap when nothing
  /// is. Nothing progresses by itself: call it between pieces of computation.
  virtual void poll() = 0;

  /// The step that messages name, in every group split from the same world; negative: none.
  virtual void set_step(std::int64_t step) = 0;
  /// Called from within waits, every 0.1 s that one lasts, with the seconds so far and what is waited for; may throw,
  /// which ends the wait and what is under way. For every group split from the same world; empty: none.
  virtual void set_wait_observer(std::function<void(double seconds, const std::string& what)> observer) = 0;
  virtual const CommunicationCounters& counters() const = 0;
  /// Memory that operations took beside their tensors, in every group split from the same world.
  virtual AllocatorStats buffer_stats() const = 0;
  virtual double timeout_seconds() const = 0;
};

/// The group of one.
std::unique_ptr<Communicator> make_self_communicator(const CommunicatorOptions& options = {});

}  // namespace artel

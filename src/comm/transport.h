#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

namespace artel {

/// What every message says of the operation that it belongs to, so that ranks that disagree find out.
struct MessageHeader {
  std::uint8_t kind = 0;
  std::uint8_t element = 0;
  std::uint8_t reduction = 0;
  std::uint8_t purpose = 0;
  std::int32_t root = 0;
  std::int64_t num_elements = 0;  ///< of the whole tensor, where ranks must agree on it
  std::int64_t bytes = 0;         ///< of the message
};

struct SendPiece {
  const std::byte* data = nullptr;
  std::int64_t bytes = 0;
};
struct ReceivePiece {
  std::byte* data = nullptr;
  std::int64_t bytes = 0;
};

/// One message from every rank of a group to every other, empty ones included. Pieces are indexed by rank; those of
/// this rank itself are not looked at.
struct ExchangeRequest {
  std::uint64_t sequence = 0;  ///< number of the operation in its group
  int stage = 0;               ///< 0 or 1: an operation has up to two exchanges
  MessageHeader header;        ///< its `bytes` is set by the transport
  std::vector<SendPiece> send;
  std::vector<ReceivePiece> receive;
  /// Called with (rank, its header) before anything of that rank's message is relied on; throws on disagreement.
  std::function<void(int, const MessageHeader&)> check;
};

/// What a transport throws; the operation adds where it happened and makes an Error of it.
class TransportFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An exchange under way. Its destructor gives up what is unfinished: memory of the pieces is not touched after it.
class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;

  /// Whether all has been sent and received. Never blocks.
  virtual bool progress() = 0;
  /// Ranks from which nothing, or not all, has come.
  virtual std::vector<int> waiting_for() const = 0;
  /// Ranks that have not taken what was sent to them. None where sending copies.
  virtual std::vector<int> not_taken_by() const { return {}; }
};

/// Moves bytes within one group; what the bytes mean is ExchangeCommunicator's business.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::unique_ptr<Exchange> start(ExchangeRequest request) = 0;
  /// The group of `members` (ranks here, in their order there), this rank among them; every rank of this group calls
  /// with its own color and members, or with a negative color and none, which gives none.
  virtual std::unique_ptr<Transport> split(std::uint64_t sequence, int color, const std::vector<int>& members) = 0;

  /// A wait is a loop of before_poll(), progress of all exchanges, and idle(), which returns when a further look may be
  /// worth while and at the latest after `seconds`; it resets with begin_wait().
  virtual void begin_wait() {}
  virtual void before_poll() {}
  virtual void idle(double seconds) = 0;
};

}  // namespace artel

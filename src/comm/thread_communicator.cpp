#include "comm/thread_communicator.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>

#include "comm/exchange_communicator.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration clock_duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

struct Message {
  MessageHeader header;
  std::vector<std::byte> data;
  Clock::time_point arrives;
};

/// Where messages lie until they are fetched. Everything under one mutex: this is made for tests, not for speed.
class PostOffice {
 public:
  struct Address {
    int group;
    std::uint64_t sequence;
    int stage;
    int from;
    int to;
    auto operator<=>(const Address&) const = default;
  };

  explicit PostOffice(const ThreadRanksOptions& options) : options_(options) {}

  void post(const Address& address, const MessageHeader& header, const SendPiece& piece) {
    Message message{header, {piece.data, piece.data + piece.bytes}, Clock::now()};
    message.arrives += clock_duration(options_.delay_seconds);
    if (options_.bytes_per_second > 0.0) {
      message.arrives += clock_duration(static_cast<double>(piece.bytes) / options_.bytes_per_second);
    }
    const std::lock_guard lock(mutex_);
    messages_.emplace(address, std::move(message));
    announce();
  }

  /// The message, if it has arrived. Throws when a rank has failed.
  std::optional<Message> fetch(const Address& address) {
    const std::lock_guard lock(mutex_);
    const auto found = messages_.find(address);
    if (found == messages_.end()) {
      if (!failure_.empty()) throw TransportFailure(failure_);
      return std::nullopt;
    }
    if (found->second.arrives > Clock::now()) return std::nullopt;
    Message message = std::move(found->second);
    messages_.erase(found);
    return message;
  }

  /// The number of the group that a split makes of one color; the first to ask decides.
  int group_number(int parent, std::uint64_t sequence, int color) {
    const std::lock_guard lock(mutex_);
    const auto next = static_cast<int>(groups_.size()) + 1;  // 0 is the world
    return groups_.try_emplace({parent, sequence, color}, next).first->second;
  }

  /// The first error ends the rest.
  void report_failure(int rank, const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) {
      failure_ = concat("rank ", rank, " ended with an error: ", text);
      failed_rank_ = rank;
      failed_text_ = text;
    }
    announce();
  }
  void rethrow() const {
    if (!failure_.empty()) fail(concat("rank ", failed_rank_), failed_text_);
  }

  std::uint64_t news() const {
    const std::lock_guard lock(mutex_);
    return news_;
  }
  /// Returns when something has been posted since `seen`, and after `seconds` at the latest.
  void wait_for_news(std::uint64_t seen, double seconds) {
    std::unique_lock lock(mutex_);
    // A message on its way arrives without news.
    if (options_.delay_seconds > 0.0 || options_.bytes_per_second > 0.0) seconds = std::min(seconds, 1.0e-4);
    changed_.wait_until(lock, Clock::now() + clock_duration(seconds), [&] { return news_ != seen; });
  }

 private:
  void announce() {
    ++news_;
    changed_.notify_all();
  }

  ThreadRanksOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t news_ = 0;
  std::map<Address, Message> messages_;
  std::map<std::tuple<int, std::uint64_t, int>, int> groups_;
  std::string failure_;
  int failed_rank_ = -1;
  std::string failed_text_;
};

/// Sends by posting copies, so that only receiving takes progress.
class ThreadExchange final : public Exchange {
 public:
  ThreadExchange(PostOffice& office, int group, int rank, ExchangeRequest request)
      : office_(office), group_(group), rank_(rank), request_(std::move(request)) {
    const auto n = static_cast<int>(request_.send.size());
    for (int peer = 0; peer < n; ++peer) {
      if (peer == rank) continue;
      const SendPiece& piece = request_.send[static_cast<std::size_t>(peer)];
      MessageHeader header = request_.header;
      header.bytes = piece.bytes;
      office_.post({group_, request_.sequence, request_.stage, rank_, peer}, header, piece);
      missing_.push_back(peer);
    }
  }

  bool progress() override {
    std::erase_if(missing_, [this](int peer) {
      const std::optional<Message> message = office_.fetch({group_, request_.sequence, request_.stage, peer, rank_});
      if (!message) return false;
      request_.check(peer, message->header);
      const ReceivePiece& piece = request_.receive[static_cast<std::size_t>(peer)];
      if (piece.bytes > 0) std::memcpy(piece.data, message->data.data(), static_cast<std::size_t>(piece.bytes));
      return true;
    });
    return missing_.empty();
  }

  std::vector<int> waiting_for() const override { return missing_; }

 private:
  PostOffice& office_;
  int group_;
  int rank_;
  ExchangeRequest request_;
  std::vector<int> missing_;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(PostOffice& office, int group, int rank, int size)
      : office_(office), group_(group), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::unique_ptr<Exchange> start(ExchangeRequest request) override {
    return std::make_unique<ThreadExchange>(office_, group_, rank_, std::move(request));
  }
  std::unique_ptr<Transport> split(std::uint64_t sequence, int color, const std::vector<int>& members) override {
    if (color < 0) return nullptr;
    const auto own = std::find(members.begin(), members.end(), rank_);
    return std::make_unique<ThreadTransport>(office_, office_.group_number(group_, sequence, color),
                                             static_cast<int>(own - members.begin()), static_cast<int>(members.size()));
  }
  void before_poll() override { seen_ = office_.news(); }
  void idle(double seconds) override { office_.wait_for_news(seen_, seconds); }

 private:
  PostOffice& office_;
  int group_;
  int rank_;
  int size_;
  std::uint64_t seen_ = 0;
};

}  // namespace

void run_thread_ranks(int num_ranks, const ThreadRanksOptions& options,
                      const std::function<void(Communicator& world)>& body) {
  if (num_ranks < 1) fail("ranks", concat("required at least 1 rank, found ", num_ranks));
  PostOffice office(options);
  const auto run_rank = [&](int rank) {
    try {
      ExchangeCommunicator world(std::make_unique<ThreadTransport>(office, 0, rank, num_ranks),
                                 {.timeout_seconds = options.timeout_seconds});
      body(world);
    } catch (const std::exception& error) {
      office.report_failure(rank, error.what());
    } catch (...) {
      office.report_failure(rank, "an unknown exception");
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < num_ranks; ++rank) threads.emplace_back(run_rank, rank);
  }
  office.rethrow();
}

}  // namespace artel

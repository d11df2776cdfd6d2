#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>

#include "comm/blocking_call.h"
#include "comm/exchange_communicator.h"
#include "comm/launch.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// What ranks need to be loaded and to find each other counts too, before any of them can be said to stand still.
constexpr double least_seconds_to_start = 15.0;

std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return concat("MPI error ", code);
  return {text, static_cast<std::size_t>(length)};
}

void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) throw TransportFailure(concat(call, ": ", mpi_error_text(code)));
}

bool mpi_is_running() {
  int initialised = 0;
  int finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  return initialised != 0 && finalised == 0;
}

/// A communicator of MPI, freed at the end, whose errors come back as codes.
class MpiGroup {
 public:
  MpiGroup(MPI_Comm comm, double timeout_seconds) : comm_(comm), timeout_seconds_(timeout_seconds) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;
  // While an exception unwinds, the other ranks will not come, and some libraries wait for them.
  ~MpiGroup() {
    if (std::uncaught_exceptions() > 0 || !mpi_is_running()) return;
    const BlockingCall call("MPI_Comm_free", timeout_seconds_);
    MPI_Comm_free(&comm_);
  }

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

 private:
  MPI_Comm comm_;
  double timeout_seconds_;
  int rank_ = 0;
  int size_ = 0;
};

/// Header and payload of every pair of ranks as messages of their own. Tags carry the number of the operation, since
/// operations under way at the same time reach their second stage in any order; the stages of one keep their order by
/// themselves. MPI promises tags up to 32767.
class MpiExchange final : public Exchange {
 public:
  MpiExchange(const MpiGroup& group, ExchangeRequest request, std::int64_t max_message_bytes)
      : group_(group), request_(std::move(request)), max_message_bytes_(max_message_bytes) {
    const auto n = static_cast<std::size_t>(group.size());
    sent_headers_.resize(n);
    received_headers_.resize(n);
    unfinished_receives_.resize(n);
    unfinished_sends_.resize(n);
    // Receives first: what arrives then goes to its place at once.
    for (int peer = 0; peer < group.size(); ++peer) {
      if (peer != group.rank()) post_receives(peer);
    }
    for (int i = 1; i < group.size(); ++i) post_sends((group.rank() + i) % group.size());
  }

  // An end before time: receives are cancelled, so that nothing is written to memory that may be gone.
  ~MpiExchange() override {
    if (num_open_ == 0 || !mpi_is_running()) return;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      if (kinds_[i].what != What::send) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }

  bool progress() override {
    while (num_open_ > 0) {
      int num_ended = 0;
      ended_.resize(requests_.size());
      statuses_.resize(requests_.size());
      const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &num_ended, ended_.data(),
                                    statuses_.data());
      if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) check_mpi(code, "MPI_Testsome");
      if (num_ended == MPI_UNDEFINED || num_ended == 0) return num_open_ == 0;
      take(num_ended, code == MPI_ERR_IN_STATUS);
    }
    return true;
  }

  std::vector<int> waiting_for() const override { return with_any(unfinished_receives_); }
  std::vector<int> not_taken_by() const override { return with_any(unfinished_sends_); }

 private:
  enum class What : std::uint8_t { send, header, payload };
  struct Kind {
    What what;
    int peer;
  };

  static std::vector<int> with_any(const std::vector<int>& counts) {
    std::vector<int> ranks;
    for (std::size_t peer = 0; peer < counts.size(); ++peer) {
      if (counts[peer] > 0) ranks.push_back(static_cast<int>(peer));
    }
    return ranks;
  }
  std::vector<int>& unfinished(What what) { return what == What::send ? unfinished_sends_ : unfinished_receives_; }

  int tag(bool payload) const { return static_cast<int>(request_.sequence % 16384) * 2 + (payload ? 1 : 0); }

  MPI_Request* add(What what, int peer) {
    requests_.push_back(MPI_REQUEST_NULL);
    kinds_.push_back({what, peer});
    ++num_open_;
    ++unfinished(what)[static_cast<std::size_t>(peer)];
    return &requests_.back();
  }

  void post_receives(int peer) {
    const auto r = static_cast<std::size_t>(peer);
    check_mpi(MPI_Irecv(&received_headers_[r], sizeof(MessageHeader), MPI_BYTE, peer, tag(false), group_.comm(),
                        add(What::header, peer)),
              "MPI_Irecv");
    ReceivePiece piece = request_.receive[r];
    while (piece.bytes > 0) {
      const std::int64_t bytes = std::min(piece.bytes, max_message_bytes_);
      check_mpi(MPI_Irecv(piece.data, static_cast<int>(bytes), MPI_BYTE, peer, tag(true), group_.comm(),
                          add(What::payload, peer)),
                "MPI_Irecv");
      piece = {piece.data + bytes, piece.bytes - bytes};
    }
  }

  void post_sends(int peer) {
    const auto r = static_cast<std::size_t>(peer);
    SendPiece piece = request_.send[r];
    sent_headers_[r] = request_.header;
    sent_headers_[r].bytes = piece.bytes;
    check_mpi(MPI_Isend(&sent_headers_[r], sizeof(MessageHeader), MPI_BYTE, peer, tag(false), group_.comm(),
                        add(What::send, peer)),
              "MPI_Isend");
    while (piece.bytes > 0) {
      const std::int64_t bytes = std::min(piece.bytes, max_message_bytes_);
      check_mpi(MPI_Isend(piece.data, static_cast<int>(bytes), MPI_BYTE, peer, tag(true), group_.comm(),
                          add(What::send, peer)),
                "MPI_Isend");
      piece = {piece.data + bytes, piece.bytes - bytes};
    }
  }

  // Headers first: a header that disagrees explains a payload that is too long.
  void take(int num_ended, bool look_at_status) {
    num_open_ -= num_ended;
    for (const bool headers : {true, false}) {
      for (int i = 0; i < num_ended; ++i) {
        const auto request = static_cast<std::size_t>(ended_[static_cast<std::size_t>(i)]);
        const auto [what, peer] = kinds_[request];
        if ((what == What::header) != headers) continue;
        const int code = look_at_status ? statuses_[static_cast<std::size_t>(i)].MPI_ERROR : MPI_SUCCESS;
        check_mpi(code, what == What::send ? "sending" : "receiving");
        --unfinished(what)[static_cast<std::size_t>(peer)];
        if (headers) request_.check(peer, received_headers_[static_cast<std::size_t>(peer)]);
      }
    }
  }

  const MpiGroup& group_;
  ExchangeRequest request_;
  std::int64_t max_message_bytes_;
  std::vector<MessageHeader> sent_headers_;
  std::vector<MessageHeader> received_headers_;
  std::vector<MPI_Request> requests_;
  std::vector<Kind> kinds_;               // of the requests
  std::vector<int> unfinished_receives_;  // [n], by peer
  std::vector<int> unfinished_sends_;     // [n], by peer
  int num_open_ = 0;
  std::vector<int> ended_;
  std::vector<MPI_Status> statuses_;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport(MPI_Comm comm, const MpiOptions& options) : group_(comm, options.timeout_seconds), options_(options) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }

  std::unique_ptr<Exchange> start(ExchangeRequest request) override {
    return std::make_unique<MpiExchange>(group_, std::move(request), options_.max_message_bytes);
  }

  // All ranks have just exchanged colors, so that this blocking call finds them there.
  std::unique_ptr<Transport> split(std::uint64_t, int color, const std::vector<int>& members) override {
    const auto own = std::find(members.begin(), members.end(), rank());
    MPI_Comm comm = MPI_COMM_NULL;
    const BlockingCall call("MPI_Comm_split", options_.timeout_seconds);
    check_mpi(MPI_Comm_split(group_.comm(), color < 0 ? MPI_UNDEFINED : color, static_cast<int>(own - members.begin()),
                             &comm),
              "MPI_Comm_split");
    if (comm == MPI_COMM_NULL) return nullptr;
    return std::make_unique<MpiTransport>(comm, options_);
  }

  void begin_wait() override { num_looks_ = 0; }
  // Looks often at first, gives the core to other ranks on it, and sleeps more and more: polling is what moves data,
  // but a long wait must not take a core from the rank that is waited for.
  void idle(double seconds) override {
    ++num_looks_;
    if (num_looks_ < 2000) {
      std::this_thread::yield();
      return;
    }
    const double pause = num_looks_ < 4000 ? 50.0e-6 : 500.0e-6;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(pause, seconds)));
  }

 private:
  MpiGroup group_;
  MpiOptions options_;
  int num_looks_ = 0;
};

class Session final : public MpiSession {
 public:
  Session(const MpiOptions& options, const std::optional<Launch>& launch) : timeout_seconds_(options.timeout_seconds) {
    if (int initialised = 0; MPI_Initialized(&initialised) == MPI_SUCCESS && initialised != 0) {
      fail("MPI", "required a process that has not used MPI before: it can be started once only");
    }
    int provided = 0;
    const BlockingCall call("MPI_Init", std::max(timeout_seconds_, least_seconds_to_start));
    const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) fail("MPI", concat("required MPI to start, found: ", mpi_error_text(code)));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    try {
      if (provided < MPI_THREAD_FUNNELED) {
        fail("MPI", "required a library that allows threads beside the one that calls it, found one that does not");
      }
      int size = 0;
      MPI_Comm_size(MPI_COMM_WORLD, &size);
      if (launch && launch->size > 0 && launch->size != size) {
        fail("MPI", concat("required the ", launch->size, " ranks that ", launch->launcher, " started, found ", size,
                           "; use the launcher of ", mpi_version(), ", or under Slurm srun --mpi=pmix or --mpi=pmi2"));
      }
      MPI_Comm comm = MPI_COMM_NULL;
      if (const int dup = MPI_Comm_dup(MPI_COMM_WORLD, &comm); dup != MPI_SUCCESS) {
        fail("MPI", concat("required a communicator, found: ", mpi_error_text(dup)));
      }
      world_ = std::make_unique<ExchangeCommunicator>(std::make_unique<MpiTransport>(comm, options), options);
    } catch (...) {
      // Every rank fails in the same way here, so that all come to the end.
      MPI_Finalize();
      throw;
    }
  }

  ~Session() override {
    if (std::uncaught_exceptions() > 0) abort(1);
    const BlockingCall call("MPI_Finalize", timeout_seconds_);
    world_.reset();
    MPI_Finalize();
  }

  Communicator& world() override { return *world_; }

  [[noreturn]] void abort(int exit_code) noexcept override {
    // Launchers drop what they have not yet read of a rank that they end.
    std::fflush(nullptr);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  double timeout_seconds_;
  std::unique_ptr<ExchangeCommunicator> world_;
};

}  // namespace

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "MPI";
  // "Open MPI v4.1.4, package: …", "MPICH Version:\t4.0.2\nMPICH Release date: …"
  std::string version(text, static_cast<std::size_t>(length));
  version.resize(std::min(version.size(), version.find_first_of(",\n")));
  std::replace(version.begin(), version.end(), '\t', ' ');
  return version;
}

std::unique_ptr<MpiSession> start_mpi(const MpiOptions& options, const std::optional<Launch>& launch) {
  return std::make_unique<Session>(options, launch);
}

}  // namespace artel

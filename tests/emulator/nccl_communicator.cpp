#include "emulator/nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "emulator/api.h"
#include "emulator/internal.h"
#include "emulator/nccl_control.h"
#include "emulator/nccl_progress.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

std::vector<std::unique_ptr<ncclComm>>& communicators() {
  static std::vector<std::unique_ptr<ncclComm>> instance;
  return instance;
}

ncclComm_t add(std::shared_ptr<NcclState> state) {
  communicators().push_back(std::make_unique<ncclComm>(ncclComm{std::move(state)}));
  return communicators().back().get();
}

void remove(ncclComm_t comm) {
  auto& all = communicators();
  all.erase(std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.get() == comm; }));
}

/// What ncclUniqueId holds: who gathers the ranks, and under which number.
struct Rendezvous {
  char magic[8];
  int root;  // rank in the bootstrap communicator
  int number;
};
constexpr char magic[8] = "emunccl";
constexpr int first_tag = 1000;
constexpr int num_rendezvous_tags = 10000;

/// What a rank tells the root.
struct Arrival {
  int rank;
  int num_ranks;
  int world_rank;
};

bool all_ended(const NcclState& state) {
  return state.aborted || state.num_ended == state.num_issued;
}

/// Communicators over `world_ranks`, all of which are in this call.
void connect(NcclState& state, int tag) {
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group ranks = MPI_GROUP_NULL;
  PMPI_Comm_group(bootstrap_communicator(), &world);
  PMPI_Group_incl(world, state.size, state.world_ranks.data(), &ranks);
  PMPI_Comm_create_group(bootstrap_communicator(), ranks, tag, &state.data);
  PMPI_Comm_create_group(bootstrap_communicator(), ranks, tag, &state.control);
  PMPI_Group_free(&ranks);
  PMPI_Group_free(&world);
  state.num_sent.assign(static_cast<std::size_t>(state.size), 0);
  state.num_received.assign(static_cast<std::size_t>(state.size), 0);
}

/// Polls a request as long as it takes, or reports that ranks are missing.
void wait(MPI_Request& request, const char* call) {
  run_until(nullptr, call, [&] {
    int ended = 0;
    PMPI_Test(&request, &ended, MPI_STATUS_IGNORE);
    return ended != 0;
  });
}

/// The root's part of a rendezvous: world ranks in the order of NCCL's ranks; empty if the ranks disagree.
std::vector<int> gather(const Arrival& own, int tag) {
  std::vector<int> world_ranks(static_cast<std::size_t>(own.num_ranks), -1);
  std::vector<Arrival> arrivals(static_cast<std::size_t>(own.num_ranks));
  bool agree = true;
  for (Arrival& arrival : arrivals) {
    MPI_Request request = MPI_REQUEST_NULL;
    PMPI_Irecv(&arrival, sizeof arrival, MPI_BYTE, MPI_ANY_SOURCE, tag, bootstrap_communicator(), &request);
    wait(request, "ncclCommInitRank");
    const bool fits = arrival.num_ranks == own.num_ranks && arrival.rank >= 0 && arrival.rank < own.num_ranks &&
                      world_ranks[static_cast<std::size_t>(arrival.rank)] < 0;
    if (fits) world_ranks[static_cast<std::size_t>(arrival.rank)] = arrival.world_rank;
    agree = agree && fits;
  }
  if (!agree) std::fill(world_ranks.begin(), world_ranks.end(), -1);
  for (const Arrival& arrival : arrivals) {
    MPI_Request request = MPI_REQUEST_NULL;
    PMPI_Isend(world_ranks.data(), own.num_ranks, MPI_INT, arrival.world_rank, tag + num_rendezvous_tags,
               bootstrap_communicator(), &request);
    wait(request, "ncclCommInitRank");
  }
  return world_ranks;
}

ncclResult_t rendezvous(NcclState& state, const Rendezvous& id) {
  int world_rank = 0;
  PMPI_Comm_rank(bootstrap_communicator(), &world_rank);
  const Arrival arrival{state.rank, state.size, world_rank};
  const int tag = first_tag + id.number % num_rendezvous_tags;
  MPI_Request sent = MPI_REQUEST_NULL;
  PMPI_Isend(&arrival, sizeof arrival, MPI_BYTE, id.root, tag, bootstrap_communicator(), &sent);
  MPI_Request received = MPI_REQUEST_NULL;
  state.world_ranks.assign(static_cast<std::size_t>(state.size), -1);
  PMPI_Irecv(state.world_ranks.data(), state.size, MPI_INT, id.root, tag + num_rendezvous_tags,
             bootstrap_communicator(), &received);
  if (world_rank == id.root) gather(arrival, tag);
  wait(sent, "ncclCommInitRank");
  wait(received, "ncclCommInitRank");
  if (state.world_ranks.front() < 0) {
    error("nccl", "ncclCommInitRank of rank %d of %d: required every rank once and the same number of ranks everywhere",
          state.rank, state.size);
    return ncclInvalidArgument;
  }
  connect(state, tag);
  return ncclSuccess;
}

}  // namespace

std::shared_ptr<NcclState> find_nccl(ncclComm_t comm, const char* call) {
  for (const auto& c : communicators()) {
    if (c.get() == comm) return c->state;
  }
  error("nccl", "%s: the communicator was destroyed, or never made", call);
  return nullptr;
}

void nccl_error(NcclState& state, ncclResult_t status, const std::string& text) {
  state.async_error = status;
  state.last_error = text;
  error("nccl", "rank %d of %d: %s", state.rank, state.size, text.c_str());
}

ncclResult_t nccl_enqueued(NcclState& state) {
  if (state.blocking) return ncclSuccess;
  state.in_progress = true;
  return ncclInProgress;
}

static std::optional<NcclFailure>& planned_failure() {
  static std::optional<NcclFailure> instance;
  return instance;
}

std::optional<NcclFailure> take_nccl_failure() {
  return std::exchange(planned_failure(), std::nullopt);
}

void break_next_nccl_operation(ncclResult_t status, double seconds_until_known) {
  planned_failure() = NcclFailure{status, seconds_until_known};
}

void set_nccl_async_error(ncclComm_t comm, ncclResult_t status) {
  if (const auto state = find_nccl(comm, "set_nccl_async_error")) state->async_error = status;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  if (version == nullptr) return ncclInvalidArgument;
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int number = 0;
  if (bootstrap_communicator() == MPI_COMM_NULL) {
    error("nccl", "ncclGetUniqueId: the emulator's NCCL runs over MPI, which is not started");
    return ncclSystemError;
  }
  Rendezvous meeting{};
  std::memcpy(meeting.magic, magic, sizeof magic);
  PMPI_Comm_rank(bootstrap_communicator(), &meeting.root);
  meeting.number = number++;
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->internal, &meeting, sizeof meeting);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(comm, num_ranks, id, rank, nullptr);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  Rendezvous meeting{};
  std::memcpy(&meeting, id.internal, sizeof meeting);
  if (comm == nullptr || num_ranks < 1 || rank < 0 || rank >= num_ranks ||
      std::memcmp(meeting.magic, magic, sizeof magic) != 0) {
    error("nccl", "ncclCommInitRank: required a rank of [0, ranks) and an id of ncclGetUniqueId, found rank %d of %d%s",
          rank, num_ranks, std::memcmp(meeting.magic, magic, sizeof magic) != 0 ? " and another id" : "");
    return ncclInvalidArgument;
  }
  if (bootstrap_communicator() == MPI_COMM_NULL) {
    error("nccl", "ncclCommInitRank: the emulator's NCCL runs over MPI, which is not started");
    return ncclSystemError;
  }
  before_wait("ncclCommInitRank");
  auto state = std::make_shared<NcclState>();
  state->rank = rank;
  state->size = num_ranks;
  state->blocking = config == nullptr || config->blocking != 0;
  state->device = current_device();
  const ncclResult_t status = rendezvous(*state, meeting);
  if (status != ncclSuccess) return status;
  *comm = add(state);
  return nccl_enqueued(*state);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t* config) {
  const auto parent = find_nccl(comm, "ncclCommSplit");
  if (parent == nullptr || part == nullptr) return ncclInvalidArgument;
  before_wait("ncclCommSplit");
  struct Choice {
    int color;
    int key;
  };
  const Choice own{color, key};
  std::vector<Choice> choices(static_cast<std::size_t>(parent->size));
  MPI_Request request = MPI_REQUEST_NULL;
  PMPI_Iallgather(&own, 2, MPI_INT, choices.data(), 2, MPI_INT, parent->control, &request);
  wait(request, "ncclCommSplit");
  *part = nullptr;
  if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  std::vector<int> members;
  for (int r = 0; r < parent->size; ++r) {
    if (choices[static_cast<std::size_t>(r)].color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return choices[static_cast<std::size_t>(a)].key < choices[static_cast<std::size_t>(b)].key;
  });
  auto state = std::make_shared<NcclState>();
  state->size = static_cast<int>(members.size());
  state->rank = static_cast<int>(std::find(members.begin(), members.end(), parent->rank) - members.begin());
  const bool inherits = config == nullptr || config->blocking == NCCL_CONFIG_UNDEF_INT;
  state->blocking = inherits ? parent->blocking : config->blocking != 0;
  state->device = parent->device;
  for (const int r : members) state->world_ranks.push_back(parent->world_ranks[static_cast<std::size_t>(r)]);
  connect(*state, first_tag - 1);
  *part = add(state);
  return nccl_enqueued(*state);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const auto state = find_nccl(comm, "ncclCommFinalize");
  if (state == nullptr) return ncclInvalidArgument;
  before_wait("ncclCommFinalize");
  run_until(nullptr, "ncclCommFinalize", [&] { return all_ended(*state); });
  state->finalized = true;
  return nccl_enqueued(*state);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const auto state = find_nccl(comm, "ncclCommDestroy");
  if (state == nullptr) return ncclInvalidArgument;
  before_wait("ncclCommDestroy");
  run_until(nullptr, "ncclCommDestroy", [&] { return all_ended(*state); });
  if (!state->aborted && bootstrap_communicator() != MPI_COMM_NULL) {
    PMPI_Comm_free(&state->data);
    PMPI_Comm_free(&state->control);
  }
  remove(comm);
  return ncclSuccess;
}

// Other ranks may not come, so that nothing is freed that all of them would have to free.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const auto state = find_nccl(comm, "ncclCommAbort");
  if (state == nullptr) return ncclInvalidArgument;
  state->aborted = true;
  remove(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* status) {
  const auto state = find_nccl(comm, "ncclCommGetAsyncError");
  if (state == nullptr || status == nullptr) return ncclInvalidArgument;
  progress();
  *status = state->in_progress && state->async_error == ncclSuccess ? ncclInProgress : state->async_error;
  state->in_progress = false;
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  const auto state = find_nccl(comm, "ncclCommCount");
  if (state == nullptr) return ncclInvalidArgument;
  *count = state->size;
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  const auto state = find_nccl(comm, "ncclCommUserRank");
  if (state == nullptr) return ncclInvalidArgument;
  *rank = state->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int* device) {
  const auto state = find_nccl(comm, "ncclCommCuDevice");
  if (state == nullptr) return ncclInvalidArgument;
  *device = state->device;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t status) {
  switch (status) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  for (const auto& c : communicators()) {
    if (c.get() == comm) return c->state->last_error.c_str();
  }
  return "";
}

}  // extern "C"

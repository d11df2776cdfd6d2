#include "emulator/nccl_progress.h"

#include <sched.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "emulator/stream.h"

namespace emulator {
namespace {

MPI_Comm& bootstrap() {
  static MPI_Comm comm = MPI_COMM_NULL;
  return comm;
}

/// What a call reads or writes of the host's memory must not be the device's, nor that of an unfinished copy.
void look_at(const char* call, const void* data, int count, MPI_Datatype type, bool write) {
  if (data == nullptr || data == MPI_IN_PLACE || count <= 0) return;
  int width = 0;
  if (PMPI_Type_size(type, &width) != MPI_SUCCESS) return;
  const std::size_t bytes = static_cast<std::size_t>(count) * static_cast<std::size_t>(width);
  if (is_device(data)) {
    error("memcheck", "%s of %zu bytes: required host memory, found device memory", call, bytes);
    return;
  }
  host_uses(call, data, bytes, write);
}

int size_of(MPI_Comm comm) {
  int size = 1;
  PMPI_Comm_size(comm, &size);
  return size;
}

/// Ends a call that was started without blocking.
int finish(int started, MPI_Request& request, MPI_Status* status = MPI_STATUS_IGNORE) {
  return started == MPI_SUCCESS ? wait_and_progress(&request, status) : started;
}

int after_init(int code) {
  if (code != MPI_SUCCESS) return code;
  PMPI_Comm_dup(MPI_COMM_WORLD, &bootstrap());
  PMPI_Comm_set_errhandler(bootstrap(), MPI_ERRORS_ARE_FATAL);
  return code;
}

/// All ranks of a communicator have come, and streams went on meanwhile.
int meet(MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Ibarrier(comm, &request), request);
}

}  // namespace

MPI_Comm bootstrap_communicator() {
  return bootstrap();
}

void progress_until(const std::function<bool()>& done) {
  for (int num_looks = 0; !done(); ++num_looks) {
    progress();
    if (num_looks < 200) {
      sched_yield();
    } else {
      usleep(50);
    }
  }
}

int wait_and_progress(MPI_Request* request, MPI_Status* status) {
  int code = MPI_SUCCESS;
  progress_until([&] {
    int ended = 0;
    code = PMPI_Test(request, &ended, status);
    return code != MPI_SUCCESS || ended != 0;
  });
  return code;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

int MPI_Init(int* num_arguments, char*** arguments) {
  return after_init(PMPI_Init(num_arguments, arguments));
}

int MPI_Init_thread(int* num_arguments, char*** arguments, int required, int* provided) {
  return after_init(PMPI_Init_thread(num_arguments, arguments, required, provided));
}

int MPI_Finalize() {
  if (bootstrap() != MPI_COMM_NULL) {
    meet(bootstrap());
    PMPI_Comm_free(&bootstrap());
  }
  return PMPI_Finalize();
}

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
  return wait_and_progress(request, status);
}

int MPI_Waitall(int count, MPI_Request requests[], MPI_Status statuses[]) {
  int code = MPI_SUCCESS;
  progress_until([&] {
    int ended = 0;
    code = PMPI_Testall(count, requests, &ended, statuses);
    return code != MPI_SUCCESS || ended != 0;
  });
  return code;
}

int MPI_Waitany(int count, MPI_Request requests[], int* index, MPI_Status* status) {
  int code = MPI_SUCCESS;
  progress_until([&] {
    int ended = 0;
    code = PMPI_Testany(count, requests, index, &ended, status);
    return code != MPI_SUCCESS || ended != 0;
  });
  return code;
}

int MPI_Waitsome(int count, MPI_Request requests[], int* num_ended, int indices[], MPI_Status statuses[]) {
  int code = MPI_SUCCESS;
  progress_until([&] {
    code = PMPI_Testsome(count, requests, num_ended, indices, statuses);
    return code != MPI_SUCCESS || *num_ended != 0;
  });
  return code;
}

// A loop around one of these is a wait too.
int MPI_Test(MPI_Request* request, int* ended, MPI_Status* status) {
  progress();
  return PMPI_Test(request, ended, status);
}

int MPI_Testall(int count, MPI_Request requests[], int* ended, MPI_Status statuses[]) {
  progress();
  return PMPI_Testall(count, requests, ended, statuses);
}

int MPI_Testsome(int count, MPI_Request requests[], int* num_ended, int indices[], MPI_Status statuses[]) {
  progress();
  return PMPI_Testsome(count, requests, num_ended, indices, statuses);
}

int MPI_Iprobe(int source, int tag, MPI_Comm comm, int* found, MPI_Status* status) {
  progress();
  return PMPI_Iprobe(source, tag, comm, found, status);
}

int MPI_Probe(int source, int tag, MPI_Comm comm, MPI_Status* status) {
  int code = MPI_SUCCESS;
  progress_until([&] {
    int found = 0;
    code = PMPI_Iprobe(source, tag, comm, &found, status);
    return code != MPI_SUCCESS || found != 0;
  });
  return code;
}

int MPI_Isend(const void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request* request) {
  look_at("MPI_Isend", data, count, type, false);
  return PMPI_Isend(data, count, type, peer, tag, comm, request);
}

int MPI_Irecv(void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request* request) {
  look_at("MPI_Irecv", data, count, type, true);
  return PMPI_Irecv(data, count, type, peer, tag, comm, request);
}

int MPI_Send(const void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm) {
  look_at("MPI_Send", data, count, type, false);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Isend(data, count, type, peer, tag, comm, &request), request);
}

int MPI_Recv(void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Status* status) {
  look_at("MPI_Recv", data, count, type, true);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Irecv(data, count, type, peer, tag, comm, &request), request, status);
}

int MPI_Sendrecv(const void* sent, int num_sent, MPI_Datatype sent_type, int to, int sent_tag, void* received,
                 int num_received, MPI_Datatype received_type, int from, int received_tag, MPI_Comm comm,
                 MPI_Status* status) {
  look_at("MPI_Sendrecv", sent, num_sent, sent_type, false);
  look_at("MPI_Sendrecv", received, num_received, received_type, true);
  MPI_Request send = MPI_REQUEST_NULL;
  MPI_Request receive = MPI_REQUEST_NULL;
  int code = PMPI_Irecv(received, num_received, received_type, from, received_tag, comm, &receive);
  if (code == MPI_SUCCESS) code = PMPI_Isend(sent, num_sent, sent_type, to, sent_tag, comm, &send);
  code = finish(code, send);
  return finish(code, receive, status);
}

int MPI_Barrier(MPI_Comm comm) {
  return meet(comm);
}

int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  int rank = 0;
  PMPI_Comm_rank(comm, &rank);
  look_at("MPI_Bcast", data, count, type, rank != root);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Ibcast(data, count, type, root, comm, &request), request);
}

int MPI_Reduce(const void* sent, void* received, int count, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm) {
  look_at("MPI_Reduce", sent, count, type, false);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Ireduce(sent, received, count, type, op, root, comm, &request), request);
}

int MPI_Allreduce(const void* sent, void* received, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  look_at("MPI_Allreduce", sent, count, type, false);
  look_at("MPI_Allreduce", received, count, type, true);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Iallreduce(sent, received, count, type, op, comm, &request), request);
}

int MPI_Gather(const void* sent, int num_sent, MPI_Datatype sent_type, void* received, int num_received,
               MPI_Datatype received_type, int root, MPI_Comm comm) {
  look_at("MPI_Gather", sent, num_sent, sent_type, false);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Igather(sent, num_sent, sent_type, received, num_received, received_type, root, comm, &request),
                request);
}

int MPI_Allgather(const void* sent, int num_sent, MPI_Datatype sent_type, void* received, int num_received,
                  MPI_Datatype received_type, MPI_Comm comm) {
  look_at("MPI_Allgather", sent, num_sent, sent_type, false);
  look_at("MPI_Allgather", received, num_received * size_of(comm), received_type, true);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Iallgather(sent, num_sent, sent_type, received, num_received, received_type, comm, &request),
                request);
}

int MPI_Allgatherv(const void* sent, int num_sent, MPI_Datatype sent_type, void* received, const int num_received[],
                   const int offsets[], MPI_Datatype received_type, MPI_Comm comm) {
  look_at("MPI_Allgatherv", sent, num_sent, sent_type, false);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(
      PMPI_Iallgatherv(sent, num_sent, sent_type, received, num_received, offsets, received_type, comm, &request),
      request);
}

int MPI_Alltoall(const void* sent, int num_sent, MPI_Datatype sent_type, void* received, int num_received,
                 MPI_Datatype received_type, MPI_Comm comm) {
  look_at("MPI_Alltoall", sent, num_sent * size_of(comm), sent_type, false);
  look_at("MPI_Alltoall", received, num_received * size_of(comm), received_type, true);
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Ialltoall(sent, num_sent, sent_type, received, num_received, received_type, comm, &request),
                request);
}

int MPI_Alltoallv(const void* sent, const int num_sent[], const int sent_offsets[], MPI_Datatype sent_type,
                  void* received, const int num_received[], const int received_offsets[], MPI_Datatype received_type,
                  MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  return finish(PMPI_Ialltoallv(sent, num_sent, sent_offsets, sent_type, received, num_received, received_offsets,
                                received_type, comm, &request),
                request);
}

// These have no forms that do not block; once all ranks have come they wait for nothing else.
int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* copy) {
  const int code = meet(comm);
  return code == MPI_SUCCESS ? PMPI_Comm_dup(comm, copy) : code;
}

int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm* part) {
  const int code = meet(comm);
  return code == MPI_SUCCESS ? PMPI_Comm_split(comm, color, key, part) : code;
}

}  // extern "C"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>

#include "comm/nccl_handles.h"
#include "util/error.h"
#include "util/text.h"

namespace artel::nccl {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  throw TransportFailure(concat(call, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status)));
}

void check_nccl(ncclResult_t status, const char* call, ncclComm_t comm) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const std::string details = ncclGetLastError(comm);
  throw TransportFailure(concat(call, ": ", ncclGetErrorString(status), details.empty() ? "" : ", ", details));
}

void* CountingAllocator::allocate(std::size_t bytes) {
  void* const data = allocator_.allocate(bytes);
  stats_.active_bytes += static_cast<std::int64_t>(bytes);
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.active_bytes);
  return data;
}

void CountingAllocator::deallocate(void* data, std::size_t bytes) noexcept {
  allocator_.deallocate(data, bytes);
  stats_.active_bytes -= static_cast<std::int64_t>(bytes);
}

Transfers::Transfers(std::shared_ptr<Family> family, cudaStream_t compute, Allocator& allocator)
    : family_(std::move(family)), compute_(compute), buffers_(allocator) {
  family_->device = this;
}

Transfers::~Transfers() {
  family_->device = nullptr;
}

void Transfers::follow_compute() {
  compute_reached_.record(compute_);
  compute_reached_.hold_back(stream_.get());
}

std::shared_ptr<Transfer> Transfers::add(std::shared_ptr<Operation> announcement, std::vector<Tensor> kept) {
  auto transfer = std::make_shared<Transfer>();
  transfer->announcement = std::move(announcement);
  transfer->kept = std::move(kept);
  transfer->done.record(stream_.get());
  active_.push_back(transfer);
  return transfer;
}

void Transfers::order(Transfer& transfer) {
  if (transfer.is_ordered) return;
  transfer.done.hold_back(compute_);
  transfer.is_ordered = true;
  transfer.kept.clear();
}

void Transfers::poll() {
  if (active_.empty()) return;
  // Holds on to it: an error lets go of all.
  const auto ends = [this](std::shared_ptr<Transfer> transfer) {
    try {
      if (transfer->done.is_reached()) {
        order(*transfer);
        return true;
      }
      for (ncclComm_t comm : communicators_) {
        ncclResult_t state = ncclSuccess;
        check_nccl(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", comm);
        check_nccl(state, "a transfer", comm);
      }
    } catch (const TransportFailure& failure) {
      transfer->announcement->fail_in_transport(failure);
    }
    const double seconds = seconds_since(transfer->start);
    const double timeout = family_->options.timeout_seconds;
    if (seconds > timeout && transfer->announcement->is_done()) transfer->announcement->fail_late(timeout);
    return false;
  };
  // They run one after the other: those behind one that has not ended have not ended either.
  auto first = active_.begin();
  while (first != active_.end() && ends(*first)) ++first;
  active_.erase(active_.begin(), first);
}

void Transfers::abort() noexcept {
  for (ncclComm_t comm : communicators_) ncclCommAbort(comm);
  communicators_.clear();
  active_.clear();
}

bool Transfers::is_alive(ncclComm_t comm) const {
  return std::find(communicators_.begin(), communicators_.end(), comm) != communicators_.end();
}

void Transfers::end_communicator(ncclComm_t comm) noexcept {
  if (!is_alive(comm)) return;  // aborted
  const auto start = Clock::now();
  const auto wait_until = [this, start](const auto& done) {
    while (!done()) {
      if (seconds_since(start) > family_->options.timeout_seconds) throw TransportFailure("nothing moves");
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  };
  try {
    if (std::uncaught_exceptions() == 0 && family_->failure.empty()) {
      wait_until([this] {
        family_->poll();
        return is_idle();
      });
      check_nccl(ncclCommFinalize(comm), "ncclCommFinalize", comm);
      wait_until([comm] {
        ncclResult_t state = ncclSuccess;
        check_nccl(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError", comm);
        return state != ncclInProgress;
      });
      check_nccl(ncclCommDestroy(comm), "ncclCommDestroy", nullptr);
      std::erase(communicators_, comm);
      return;
    }
  } catch (const std::exception&) {
    // The group is gone already as far as its owner is concerned.
  }
  if (!is_alive(comm)) return;
  ncclCommAbort(comm);
  std::erase(communicators_, comm);
}

}  // namespace artel::nccl

#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <functional>

#include "comm/operation.h"

// Resources of CUDA and NCCL with owners. Failures are TransportFailure.

namespace artel::nccl {

/// `call`: the function that returned it. Throws unless it succeeded.
void check_cuda(cudaError_t status, const char* call);
/// Throws unless it succeeded or, for a communicator that does not block, goes on. `comm`: for NCCL's own words, or
/// null.
void check_nccl(ncclResult_t status, const char* call, ncclComm_t comm);

class NcclStream {
 public:
  NcclStream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~NcclStream() { cudaStreamDestroy(stream_); }
  NcclStream(const NcclStream&) = delete;
  NcclStream& operator=(const NcclStream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class NcclEvent {
 public:
  NcclEvent() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~NcclEvent() { cudaEventDestroy(event_); }
  NcclEvent(const NcclEvent&) = delete;
  NcclEvent& operator=(const NcclEvent&) = delete;

  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// What is put on the stream from now on comes after the last record().
  void hold_back(cudaStream_t stream) const {
    check_cuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  /// Whether the last record() has been reached.
  bool is_reached() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check_cuda(status, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Passes requests on to another allocator and counts them.
class CountingAllocator final : public Allocator {
 public:
  explicit CountingAllocator(Allocator& allocator) : allocator_(allocator) {}

  Device device() const override { return allocator_.device(); }
  void* allocate(std::size_t bytes) override;
  void deallocate(void* data, std::size_t bytes) noexcept override;
  AllocatorStats stats() const override { return stats_; }
  void reset_peak() override { stats_.peak_bytes = stats_.active_bytes; }
  void release_cache() override { allocator_.release_cache(); }

 private:
  Allocator& allocator_;
  AllocatorStats stats_;
};

/// A transfer between GPUs. The host's part: `announcement`, by which ranks agree on what they do.
struct Transfer {
  std::shared_ptr<Operation> announcement;
  std::vector<Tensor> kept;  ///< until the compute stream comes after the transfer
  NcclEvent done;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  bool is_ordered = false;  ///< the compute stream comes after it
};

/// What the groups split from one world share.
class Transfers final : public DeviceTransfers {
 public:
  Transfers(std::shared_ptr<Family> family, cudaStream_t compute, Allocator& allocator);
  ~Transfers() override;

  void poll() override;
  void abort() noexcept override;

  cudaStream_t stream() const { return stream_.get(); }
  Allocator& buffers() { return buffers_; }
  AllocatorStats buffer_stats() const { return buffers_.stats(); }
  Family& family() const { return *family_; }
  bool is_idle() const { return active_.empty(); }
  /// What is put on stream() from now on comes after what is on the compute stream.
  void follow_compute();
  /// All that it does has been put on stream().
  std::shared_ptr<Transfer> add(std::shared_ptr<Operation> announcement, std::vector<Tensor> kept);
  /// The compute stream waits for it; its tensors are free.
  void order(Transfer& transfer);

  void add_communicator(ncclComm_t comm) { communicators_.push_back(comm); }
  /// Ends one normally, as soon as nothing is under way, or by force after an error.
  void end_communicator(ncclComm_t comm) noexcept;

 private:
  bool is_alive(ncclComm_t comm) const;

  std::shared_ptr<Family> family_;
  cudaStream_t compute_;
  CountingAllocator buffers_;
  NcclStream stream_;
  NcclEvent compute_reached_;
  std::vector<std::shared_ptr<Transfer>> active_;
  std::vector<ncclComm_t> communicators_;
};

}  // namespace artel::nccl

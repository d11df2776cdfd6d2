#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "config/schema.h"
#include "core/context.h"
#include "kernels/backend.h"
#include "kernels/cuda_device.h"
#include "util/log.h"

namespace artel {

/// Everything that a job holds of the machine: device memory, threads, kernels, communicators. Built once by a command
/// and passed down by reference; nothing below it is global. device: auto takes a GPU if there is one; of several ranks
/// on one host each takes its own.
class Runtime {
 public:
  /// Resolves device, precision and threads. Errors: a device that this build or machine does not have; more ranks on a
  /// host than it has GPUs; several ranks with GPUs in a build without NCCL.
  Runtime(const TrainConfig& config, Log& log);
  /// As one rank of `world`, which must outlive it. threads: auto shares the processors out among the ranks that may
  /// run on the same ones.
  Runtime(const TrainConfig& config, Log& log, Communicator& world);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Context& context() { return *context_; }
  /// For tensors of context().
  Communicator& world() { return *world_; }
  /// The activation type of the run.
  DType dtype() const { return dtype_; }
  const char* precision() const { return dtype_ == DType::bf16 ? "bf16" : "fp32"; }
  const char* device() const { return device_name(context_->backend.device()); }
  /// For the log: "cpu", or "cuda (NVIDIA H100 80GB HBM3)".
  std::string device_text() const;
  int num_threads() const { return pool_->num_threads(); }

 private:
  Runtime(const TrainConfig& config, Log& log, std::unique_ptr<Communicator> self);

  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<CudaDevice> gpu_;  ///< or none, and then the two below
  std::unique_ptr<HostAllocator> allocator_;
  std::unique_ptr<Backend> backend_;

  std::unique_ptr<Communicator> self_;  ///< the world of a process alone
  std::unique_ptr<Communicator> gpus_;  ///< the world of ranks with GPUs
  Communicator* world_;
  std::unique_ptr<Context> context_;
  DType dtype_ = DType::f32;
};

/// What can be said of a run on this machine before anything is written for it. Errors: train.device: cuda without a
/// GPU or in a build without CUDA; a model.head_dim that the device's attention does not take.
void check_device(const Config& config);

/// What `precision: auto` is in a run of this `device` (train.device) on this machine: whether bf16, without starting a
/// run. A device: cuda that this machine lacks counts as there.
bool auto_precision_is_bf16(const std::string& device);

}  // namespace artel

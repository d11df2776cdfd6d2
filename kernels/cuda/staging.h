#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/handles.h"

namespace artel::cuda {

/// Copies from host memory to the GPU in the order of one stream. Bytes are first copied to page-locked memory, so that
/// the caller's are free at once; that memory is used round and round, and only when all of it is full of copies that
/// the stream has not come to does an upload wait for the oldest.
class UploadRing {
 public:
  /// `wait` must outlive it.
  UploadRing(cudaStream_t stream, const HostWait& wait) : stream_(stream), wait_(wait) {}

  /// device = `bytes` bytes at host.
  void upload(const void* host, void* device, std::size_t bytes);

  static constexpr std::size_t segment_bytes = std::size_t{4} << 20;

 private:
  static constexpr std::size_t num_segments = 4;
  struct Segment {
    PinnedMemory memory{segment_bytes};
    Event done;
    bool in_use = false;
  };
  /// At least one free byte behind used_ of the current segment.
  Segment& segment_with_room();

  cudaStream_t stream_;
  const HostWait& wait_;
  std::array<std::unique_ptr<Segment>, num_segments> segments_;  // made when first needed
  std::size_t current_ = 0;
  std::size_t used_ = 0;
};

/// Copies from the GPU to the host in the order of one stream, through page-locked memory that is kept.
class Downloads {
 public:
  /// `wait` must outlive it.
  Downloads(cudaStream_t stream, const HostWait& wait) : stream_(stream), wait_(wait) {}

  /// One copy under way; Downloads must outlive it. The host memory is filled by wait().
  class Copy final : public HostCopy {
   public:
    Copy(Downloads& owner, const void* device, void* host, std::size_t bytes);
    ~Copy() override;

    void wait() override;

   private:
    friend class Downloads;
    struct Block {
      explicit Block(std::size_t bytes) : memory(bytes) {}
      PinnedMemory memory;
      Event done;
    };

    Downloads& owner_;
    std::unique_ptr<Block> block_;
    void* host_;
    std::size_t bytes_;
  };

  /// `bytes` bytes at host = those of the device. Returns when they are there.
  void download(const void* device, void* host, std::size_t bytes);

 private:
  std::unique_ptr<Copy::Block> take(std::size_t bytes);

  cudaStream_t stream_;
  const HostWait& wait_;
  std::vector<std::unique_ptr<Copy::Block>> free_blocks_;
};

}  // namespace artel::cuda

#include "kernels/cuda/staging.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

namespace artel::cuda {

UploadRing::Segment& UploadRing::segment_with_room() {
  if (used_ == segment_bytes) {
    segments_[current_]->done.record(stream_);
    segments_[current_]->in_use = true;
    current_ = (current_ + 1) % num_segments;
    used_ = 0;
  }
  std::unique_ptr<Segment>& segment = segments_[current_];
  if (segment == nullptr) segment = std::make_unique<Segment>();
  if (segment->in_use) {
    wait_.wait(segment->done);
    segment->in_use = false;
  }
  return *segment;
}

void UploadRing::upload(const void* host, void* device, std::size_t bytes) {
  constexpr std::size_t alignment = 64;  // so that no two copies share a line of the cache
  for (std::size_t done = 0; done < bytes;) {
    Segment& segment = segment_with_room();
    const std::size_t length = std::min(bytes - done, segment_bytes - used_);
    char* const staged = segment.memory.data() + used_;
    std::memcpy(staged, static_cast<const char*>(host) + done, length);
    check("upload", "cudaMemcpyAsync",
          cudaMemcpyAsync(static_cast<char*>(device) + done, staged, length, cudaMemcpyHostToDevice, stream_));
    used_ = std::min(segment_bytes, used_ + (length + alignment - 1) / alignment * alignment);
    done += length;
  }
}

Downloads::Copy::Copy(Downloads& owner, const void* device, void* host, std::size_t bytes)
    : owner_(owner), block_(owner.take(bytes)), host_(host), bytes_(bytes) {
  check("download", "cudaMemcpyAsync",
        cudaMemcpyAsync(block_->memory.data(), device, bytes, cudaMemcpyDeviceToHost, owner_.stream_));
  block_->done.record(owner_.stream_);
}

Downloads::Copy::~Copy() {
  // Without a wait the stream may still write to the block; the next copy to it comes later in the same stream.
  if (block_ != nullptr) owner_.free_blocks_.push_back(std::move(block_));
}

void Downloads::Copy::wait() {
  if (block_ == nullptr) return;
  owner_.wait_.wait(block_->done);
  std::memcpy(host_, block_->memory.data(), bytes_);
  owner_.free_blocks_.push_back(std::move(block_));
}

std::unique_ptr<Downloads::Copy::Block> Downloads::take(std::size_t bytes) {
  constexpr std::size_t least_bytes = 4096;
  const std::size_t size = std::bit_ceil(std::max(bytes, least_bytes));
  // From the back, where the next one mostly fits: a step of many passes has thousands.
  const auto found = std::find_if(free_blocks_.rbegin(), free_blocks_.rend(),
                                  [size](const auto& block) { return block->memory.bytes() == size; });
  if (found == free_blocks_.rend()) return std::make_unique<Copy::Block>(size);
  std::unique_ptr<Copy::Block> block = std::move(*found);
  free_blocks_.erase(std::next(found).base());
  return block;
}

void Downloads::download(const void* device, void* host, std::size_t bytes) {
  constexpr std::size_t most = std::size_t{4} << 20;  // in pieces, so that one is copied on while the next arrives
  std::optional<Copy> copies[2];
  int index = 0;
  for (std::size_t done = 0; done < bytes; index ^= 1) {
    const std::size_t length = std::min(most, bytes - done);
    copies[index].emplace(*this, static_cast<const char*>(device) + done, static_cast<char*>(host) + done, length);
    if (copies[index ^ 1].has_value()) copies[index ^ 1]->wait();
    done += length;
  }
  for (std::optional<Copy>& copy : copies) {
    if (copy.has_value()) copy->wait();
  }
}

}  // namespace artel::cuda

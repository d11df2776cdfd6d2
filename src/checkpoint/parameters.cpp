#include "checkpoint/parameters.h"

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "util/error.h"
#include "util/text.h"

namespace artel {

void append_pieces(Context& context, const ParameterStore& store, const Tensor& arena, const std::string& prefix,
                   std::vector<TensorPiece>& pieces) {
  std::vector<std::uint8_t> host;
  for (const Parameter& parameter : store.parameters()) {
    const Tensor values = ParameterStore::view_of(parameter, arena);
    host.resize(values.nbytes());
    context.backend.download(values, host.data());
    const std::uint8_t* position = host.data();
    for (const StoredSlice& slice : parameter.slices) {
      TensorPiece piece{prefix + slice.name, slice.stored_shape, arena.dtype(), slice.begin, slice.end, {}};
      const std::size_t bytes = static_cast<std::size_t>(slice.numel()) * dtype_size(arena.dtype());
      piece.bytes.assign(position, position + bytes);
      position += bytes;
      pieces.push_back(std::move(piece));
    }
  }
}

namespace {

// bf16 <-> f32 on the host, for a checkpoint whose precision differs from the arena's.
void convert(const std::uint8_t* from, DType from_type, std::uint8_t* to, DType to_type, std::int64_t count) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * dtype_size(to_type));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    if (from_type == DType::bf16) {
      bf16 x;
      std::memcpy(&x, from + i * 2, sizeof x);
      const float value = to_float(x);
      std::memcpy(to + i * 4, &value, sizeof value);
    } else {
      float x = 0.0F;
      std::memcpy(&x, from + i * 4, sizeof x);
      const bf16 value = to_bf16(x);
      std::memcpy(to + i * 2, &value, sizeof value);
    }
  }
}

void check_stored(const Checkpoint& checkpoint, const std::string& name, const StoredSlice& slice) {
  const auto found = checkpoint.tensors().find(name);
  if (found == checkpoint.tensors().end()) {
    fail("checkpoint",
         concat("required tensor ", name, " for this model, found none of that name in ", checkpoint.path()));
  }
  const Checkpoint::TensorInfo& info = found->second;
  if (!(info.shape == slice.stored_shape) || (info.dtype != DType::f32 && info.dtype != DType::bf16)) {
    fail("checkpoint",
         concat("required tensor ", name, " of shape ", slice.stored_shape.to_string(), " in f32 or bf16, found ",
                info.shape.to_string(), " ", dtype_name(info.dtype), " in ", checkpoint.path()));
  }
}

}  // namespace

void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& arena) {
  std::vector<std::uint8_t> stored;
  std::vector<std::uint8_t> host;
  for (const Parameter& parameter : store.parameters()) {
    const Tensor values = ParameterStore::view_of(parameter, arena);
    host.resize(values.nbytes());
    std::uint8_t* position = host.data();
    for (const StoredSlice& slice : parameter.slices) {
      const std::string name = prefix + slice.name;
      check_stored(checkpoint, name, slice);
      const DType stored_type = checkpoint.tensors().at(name).dtype;
      stored.resize(static_cast<std::size_t>(slice.numel()) * dtype_size(stored_type));
      checkpoint.read(name, slice.begin, slice.end, stored.data());
      convert(stored.data(), stored_type, position, arena.dtype(), slice.numel());
      position += static_cast<std::size_t>(slice.numel()) * dtype_size(arena.dtype());
    }
    context.backend.upload(host.data(), values);
  }
}

struct BackgroundWriter::Impl {
  FileLayer& files;
  std::string directory;
  std::int64_t keep;

  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Snapshot> pending;
  bool writing = false;
  bool ending = false;
  std::string error;
  std::thread thread;

  Impl(FileLayer& layer, std::string path, std::int64_t kept) : files(layer), directory(std::move(path)), keep(kept) {}

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return pending.has_value() || ending; });
      if (!pending) return;
      const Snapshot snapshot = std::move(*pending);
      pending.reset();
      writing = true;
      lock.unlock();
      std::string failure;
      try {
        save_checkpoint(files, directory, snapshot, keep);
      } catch (const std::exception& exception) {
        failure = exception.what();
      }
      lock.lock();
      writing = false;
      if (!failure.empty()) error = failure;
      changed.notify_all();
    }
  }
};

BackgroundWriter::BackgroundWriter(FileLayer& files, std::string directory, std::int64_t keep)
    : impl_(std::make_unique<Impl>(files, std::move(directory), keep)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->work(); });
}

BackgroundWriter::~BackgroundWriter() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ending = true;
    impl_->changed.notify_all();
  }
  impl_->thread.join();
}

void BackgroundWriter::start(Snapshot snapshot) {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return !impl_->pending && !impl_->writing; });
  impl_->pending = std::move(snapshot);
  impl_->changed.notify_all();
}

std::string BackgroundWriter::wait() {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return !impl_->pending && !impl_->writing; });
  return std::exchange(impl_->error, {});
}

std::string BackgroundWriter::poll_error() {
  const std::lock_guard lock(impl_->mutex);
  return impl_->pending || impl_->writing ? std::string{} : std::exchange(impl_->error, {});
}

}  // namespace artel

#include "checkpoint/background_writer.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace artel {

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

  // The snapshot is gone on return, before anyone who waits goes on and takes the next one. Returns the error, if any.
  std::string write(Snapshot&& snapshot) {
    const Snapshot owned = std::move(snapshot);
    try {
      save_checkpoint(files, directory, owned, keep);
    } catch (const std::exception& exception) {
      return exception.what();
    }
    return {};
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return pending.has_value() || ending; });
      if (!pending) return;
      Snapshot snapshot = std::move(*pending);
      pending.reset();
      writing = true;
      lock.unlock();
      const std::string failure = write(std::move(snapshot));
      lock.lock();
      writing = false;
      if (!failure.empty()) error += (error.empty() ? "" : "; ") + failure;
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

#include "checkpoint/background_writer.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace artel {

struct BackgroundWriter::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::function<void()> pending;
  bool working = false;
  bool ending = false;
  std::string error;
  std::thread thread;

  bool busy() const { return pending || working; }

  // The work and what it holds are gone on return. Returns the error, if any.
  static std::string run(std::function<void()>&& work) {
    const std::function<void()> owned = std::move(work);
    try {
      owned();
    } catch (const std::exception& exception) {
      return exception.what();
    }
    return {};
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return pending || ending; });
      if (!pending) return;
      std::function<void()> next = std::exchange(pending, nullptr);
      working = true;
      lock.unlock();
      const std::string failure = run(std::move(next));
      lock.lock();
      working = false;
      if (!failure.empty()) error += (error.empty() ? "" : "; ") + failure;
      changed.notify_all();
    }
  }
};

BackgroundWriter::BackgroundWriter() : impl_(std::make_unique<Impl>()) {
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

void BackgroundWriter::start(std::function<void()> work) {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return !impl_->busy(); });
  impl_->pending = std::move(work);
  impl_->changed.notify_all();
}

bool BackgroundWriter::busy() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->busy();
}

std::string BackgroundWriter::wait() {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return !impl_->busy(); });
  return std::exchange(impl_->error, {});
}

}  // namespace artel

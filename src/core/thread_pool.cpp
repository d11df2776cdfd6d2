#include "core/thread_pool.h"

#include <chrono>
#include <string>
#include <system_error>

#include "util/error.h"

namespace artel {
namespace {

// Kernels follow each other within microseconds: a short spin saves the wake-up, a long one would burn shared cores.
constexpr int num_spins = 2000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Holds a pool for one parallel_for.
class Claim {
 public:
  explicit Claim(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire)) {
      fail("thread_pool", "required one parallel_for at a time, found one inside a task or on another thread");
    }
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() { busy_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool>& busy_;
};

}  // namespace

ThreadPool::ThreadPool(int num_threads, const std::function<void()>& on_start) {
  if (num_threads < 1) fail("thread_pool", "required at least 1 thread, found " + std::to_string(num_threads));
  if (on_start) on_start();
  try {
    for (int worker = 1; worker < num_threads; ++worker) {
      threads_.emplace_back([this, worker, on_start] {
        try {
          if (on_start) on_start();
        } catch (...) {
          keep_error();
        }
        work(worker);
      });
    }
  } catch (const std::system_error& error) {
    const int num_started = static_cast<int>(threads_.size()) + 1;
    stop();
    fail("thread_pool", "required " + std::to_string(num_threads) + " threads, found that the system allows " +
                            std::to_string(num_started) + " (" + error.what() + ")");
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stop_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadPool::keep_error() {
  const std::lock_guard lock(error_mutex_);
  if (!error_) error_ = std::current_exception();
}

void ThreadPool::run_tasks(int worker) {
  for (;;) {
    const std::int64_t index = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (index >= num_tasks_) return;
    try {
      (*task_)(index, worker);
      if (worker == 0 && poll_) poll_();
    } catch (...) {
      keep_error();  // the others still use the task: nothing may leave parallel_for before they are done
    }
  }
}

void ThreadPool::work(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < num_spins && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
    generation_.wait(seen, std::memory_order_acquire);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    run_tasks(worker);
    if (num_running_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_running_.notify_one();
  }
}

void ThreadPool::run_alone(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task) {
  for (std::int64_t index = 0; index < num_tasks; ++index) {
    task(index, 0);
    if (poll_) poll_();
  }
}

void ThreadPool::parallel_for(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task) {
  if (num_tasks <= 0) return;
  const Claim claim(busy_);
  if (num_tasks == 1) {
    run_alone(num_tasks, task);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  if (threads_.empty()) {
    run_alone(num_tasks, task);
  } else {
    run_shared(num_tasks, task);
  }
  shared_ns_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
}

void ThreadPool::run_shared(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task) {
  task_ = &task;
  num_tasks_ = num_tasks;
  next_task_.store(0, std::memory_order_relaxed);
  num_running_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  run_tasks(0);
  for (int spin = 0; spin < num_spins && num_running_.load(std::memory_order_acquire) != 0; ++spin) relax();
  for (int running = num_running_.load(std::memory_order_acquire); running != 0;
       running = num_running_.load(std::memory_order_acquire)) {
    num_running_.wait(running, std::memory_order_acquire);
  }
  if (error_) {
    std::exception_ptr error;
    std::swap(error, error_);
    std::rethrow_exception(error);
  }
}

}  // namespace artel

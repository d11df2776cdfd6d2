#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace artel {

/// A fixed set of threads that share out the tasks of one parallel_for at a time. The caller works too, so a pool of
/// size 1 has no thread of its own. What a task computes must depend on its index alone, never on the worker: then
/// results are the same for any number of threads.
class ThreadPool {
 public:
  /// `on_start` runs once on every worker before its first task, the caller included (thread-local settings of
  /// libraries). Errors: fewer than 1 thread; threads that the system refuses.
  explicit ThreadPool(int num_threads, const std::function<void()>& on_start = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  /// Runs task(index, worker) for index 0..num_tasks-1, worker 0..num_threads()-1; returns when all are done. The first
  /// exception of a task, of the poll, or of on_start on another thread is rethrown here. Errors: called while another
  /// parallel_for of this pool runs, by one of its tasks or another thread.
  void parallel_for(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task);

  /// Time spent so far in loops of two tasks or more: what more threads could shorten.
  std::int64_t shared_ns() const { return shared_ns_; }

  /// Called by worker 0 between its tasks; lets communication progress during long kernels.
  void set_poll(std::function<void()> poll) { poll_ = std::move(poll); }

 private:
  void work(int worker);
  void run_tasks(int worker);
  void run_shared(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task);
  void run_alone(std::int64_t num_tasks, const std::function<void(std::int64_t, int)>& task);
  void keep_error();
  void stop();

  std::vector<std::thread> threads_;
  std::function<void()> poll_;
  const std::function<void(std::int64_t, int)>* task_ = nullptr;
  std::int64_t num_tasks_ = 0;
  std::int64_t shared_ns_ = 0;
  std::atomic<std::int64_t> next_task_{0};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<int> num_running_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace artel

#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace artel {

/// Reads tasks one after the other, works on several at a time, and hands them on in their order:
///   bool produce(Task&)          fills the task; false: there are no more. On the calling thread.
///   void work(int worker, Task&) on any of `num_threads` threads, worker 0 .. num_threads - 1.
///   void consume(Task&)          in the order of production. On the calling thread.
/// A few tasks for each thread are in memory at a time; their memory is used again. The first exception in the order of
/// the tasks is rethrown, after all before it were consumed.
template <typename Task>
class OrderedPipeline {
 public:
  explicit OrderedPipeline(int num_threads) : num_threads_(num_threads) {}

  template <typename Produce, typename Work, typename Consume>
  void run(Produce produce, Work work, Consume consume);

 private:
  struct Slot {
    Task task;
    bool done = false;
    std::exception_ptr error;
  };

  template <typename Work>
  void work_until_stopped(int worker, Work& work);
  Slot& slot(int64_t index) { return slots_[static_cast<size_t>(index) % slots_.size()]; }

  int num_threads_;
  std::vector<Slot> slots_;
  std::mutex mutex_;  // guards everything below, and `done` of the slots
  std::condition_variable more_work_, more_done_;
  int64_t num_produced_ = 0, num_taken_ = 0;
  bool stop_ = false;
};

template <typename Task>
template <typename Work>
void OrderedPipeline<Task>::work_until_stopped(int worker, Work& work) {
  std::unique_lock lock(mutex_);
  while (true) {
    more_work_.wait(lock, [this] { return stop_ || num_taken_ < num_produced_; });
    if (stop_) return;
    Slot& mine = slot(num_taken_++);
    lock.unlock();
    try {
      work(worker, mine.task);
    } catch (...) {
      mine.error = std::current_exception();
    }
    lock.lock();
    mine.done = true;
    more_done_.notify_one();
  }
}

template <typename Task>
template <typename Produce, typename Work, typename Consume>
void OrderedPipeline<Task>::run(Produce produce, Work work, Consume consume) {
  if (num_threads_ <= 1) {
    Task task;
    while (produce(task)) {
      work(0, task);
      consume(task);
    }
    return;
  }
  struct Workers {
    OrderedPipeline& pipeline;
    std::vector<std::thread> threads;
    ~Workers() {
      {
        const std::lock_guard lock(pipeline.mutex_);
        pipeline.stop_ = true;
      }
      pipeline.more_work_.notify_all();
      for (std::thread& thread : threads) thread.join();
    }
  };
  slots_ = std::vector<Slot>(static_cast<size_t>(2 * num_threads_ + 2));
  num_produced_ = num_taken_ = 0;
  stop_ = false;
  Workers workers{*this, {}};
  for (int worker = 0; worker < num_threads_; ++worker) {
    workers.threads.emplace_back([this, worker, &work] { work_until_stopped(worker, work); });
  }
  const auto capacity = static_cast<int64_t>(slots_.size());
  std::exception_ptr produce_error;
  bool ended = false;
  int64_t produced = 0;
  for (int64_t consumed = 0; !ended || consumed < produced;) {
    bool is_done = false;
    {
      std::unique_lock lock(mutex_);
      const bool full = ended || produced - consumed == capacity;
      if (full) more_done_.wait(lock, [&] { return slot(consumed).done; });
      is_done = consumed < produced && slot(consumed).done;
    }
    if (is_done) {
      Slot& next = slot(consumed++);
      if (next.error) std::rethrow_exception(next.error);
      consume(next.task);
      continue;
    }
    Slot& next = slot(produced);
    next.done = false;
    try {
      ended = !produce(next.task);
    } catch (...) {  // what was read before comes first
      produce_error = std::current_exception();
      ended = true;
    }
    if (ended) continue;
    ++produced;
    {
      const std::lock_guard lock(mutex_);
      num_produced_ = produced;
    }
    more_work_.notify_one();
  }
  if (produce_error) std::rethrow_exception(produce_error);
}

}  // namespace artel

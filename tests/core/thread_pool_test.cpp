#include "core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

TEST_CASE("Every index is worked on exactly once, by a worker that exists") {
  for (const int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    CHECK(pool.num_threads() == num_threads);
    for (const std::int64_t num_tasks : {0, 1, 2, 7, 1000}) {
      CAPTURE(num_threads, num_tasks);
      std::vector<int> visits(static_cast<std::size_t>(num_tasks));  // not atomic: each index has one owner
      std::atomic<bool> worker_exists{true};
      pool.parallel_for(num_tasks, [&](std::int64_t index, int worker) {
        ++visits[static_cast<std::size_t>(index)];
        if (worker < 0 || worker >= num_threads) worker_exists = false;
      });
      CHECK(visits == std::vector<int>(static_cast<std::size_t>(num_tasks), 1));
      CHECK(worker_exists);
    }
  }
}

TEST_CASE("A negative number of tasks is none") {
  ThreadPool pool(2);
  bool called = false;
  pool.parallel_for(-1, [&](std::int64_t, int) { called = true; });
  CHECK_FALSE(called);
}

TEST_CASE("What tasks wrote is seen by the caller and by the next loop, through many short loops") {
  for (const int num_threads : {2, 4}) {
    ThreadPool pool(num_threads);
    constexpr std::int64_t num_tasks = 5;
    std::vector<std::int64_t> sums(num_tasks);
    constexpr int num_loops = 3000;
    for (int loop = 0; loop < num_loops; ++loop) {
      pool.parallel_for(num_tasks,
                        [&](std::int64_t index, int) { sums[static_cast<std::size_t>(index)] += index + 1; });
    }
    for (std::int64_t i = 0; i < num_tasks; ++i) {
      CHECK(sums[static_cast<std::size_t>(i)] == num_loops * (i + 1));
    }
  }
}

TEST_CASE("Workers that fell asleep wake up for the next loop") {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than any worker spins
    std::atomic<int> num_started{0};
    // Every task waits for the others, so that the loop ends only if three threads take part.
    pool.parallel_for(3, [&](std::int64_t, int) {
      ++num_started;
      while (num_started.load() < 3) std::this_thread::yield();
    });
    CHECK(num_started == 3);
  }
}

TEST_CASE("The exception of a task reaches the caller after all tasks ended, and the pool goes on") {
  for (const int num_threads : {1, 2, 4}) {
    CAPTURE(num_threads);
    ThreadPool pool(num_threads);
    std::atomic<int> num_running{0};
    const auto run = [&] {
      pool.parallel_for(50, [&](std::int64_t index, int) {
        ++num_running;
        const bool bad = index == 13;
        --num_running;
        if (bad) fail("task", "index " + std::to_string(index));
      });
    };
    CHECK(error_text(run) == "[task] index 13");
    CHECK(num_running == 0);
    CHECK_THROWS_AS(pool.parallel_for(1, [](std::int64_t, int) { throw std::runtime_error("other"); }),
                    std::runtime_error);
    std::atomic<int> count{0};
    pool.parallel_for(20, [&](std::int64_t, int) { ++count; });
    CHECK(count == 20);
  }
}

TEST_CASE("Of many exceptions one is rethrown and the next loop has none") {
  ThreadPool pool(4);
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_AS(pool.parallel_for(100, [](std::int64_t, int) { throw std::runtime_error("all"); }),
                    std::runtime_error);
    pool.parallel_for(100, [](std::int64_t, int) {});
  }
}

TEST_CASE("The poll is called on the caller's thread after each of its tasks") {
  for (const int num_threads : {1, 2}) {
    CAPTURE(num_threads);
    ThreadPool pool(num_threads);
    const std::thread::id caller = std::this_thread::get_id();
    int num_polls = 0;
    bool on_caller = true;
    pool.set_poll([&] {
      ++num_polls;
      on_caller = on_caller && std::this_thread::get_id() == caller;
    });
    std::atomic<int> num_own_tasks{0};
    pool.parallel_for(500, [&](std::int64_t, int worker) { num_own_tasks += worker == 0 ? 1 : 0; });
    CHECK(num_polls == num_own_tasks);
    CHECK(on_caller);
    pool.parallel_for(1, [](std::int64_t, int) {});
    CHECK(num_polls == num_own_tasks + 1);
    pool.set_poll({});
    pool.parallel_for(10, [](std::int64_t, int) {});
    CHECK(num_polls == num_own_tasks + 1);
  }
}

TEST_CASE("An exception of the poll leaves the loop only when every task has ended") {
  ThreadPool alone(1);
  alone.set_poll([] { fail("poll", "peer lost"); });
  CHECK(error_text([&] { alone.parallel_for(5, [](std::int64_t, int) {}); }) == "[poll] peer lost");

  ThreadPool pool(2);
  pool.set_poll([] { fail("poll", "peer lost"); });
  std::string text = "(no error)";
  int num_ended_at_return = 0;
  // Without a task on the caller there is no poll: repeat until the other thread leaves it one.
  for (int attempt = 0; attempt < 100 && text == "(no error)"; ++attempt) {
    std::atomic<bool> other_started{false};
    std::atomic<int> num_ended{0};
    text = error_text([&] {
      pool.parallel_for(2, [&](std::int64_t, int worker) {
        if (worker == 0) {
          while (!other_started) std::this_thread::yield();
        } else {
          other_started = true;
          std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long after the caller's poll
        }
        ++num_ended;
      });
    });
    num_ended_at_return = num_ended;
  }
  CHECK(text == "[poll] peer lost");
  CHECK(num_ended_at_return == 2);
}

TEST_CASE("on_start runs once on every worker before its first task") {
  for (const int num_threads : {1, 4}) {
    std::atomic<int> num_starts{0};
    thread_local bool started = false;
    started = false;
    ThreadPool pool(num_threads, [&] {
      ++num_starts;
      started = true;
    });
    std::atomic<bool> all_started{true};
    pool.parallel_for(200, [&](std::int64_t, int) {
      if (!started) all_started = false;
    });
    CHECK(all_started);
    CHECK(num_starts == num_threads);
  }
}

TEST_CASE("An exception of on_start reaches the caller, from whichever thread") {
  CHECK(error_text([] { ThreadPool(1, [] { fail("start", "no"); }); }) == "[start] no");
  const std::thread::id caller = std::this_thread::get_id();
  ThreadPool pool(2, [caller] {
    if (std::this_thread::get_id() != caller) fail("start", "other thread");
  });
  CHECK(error_text([&] { pool.parallel_for(2, [](std::int64_t, int) {}); }) == "[start] other thread");
  CHECK(error_text([&] { pool.parallel_for(2, [](std::int64_t, int) {}); }) == "(no error)");
}

TEST_CASE("A loop inside a task is refused for any number of threads") {
  for (const int num_threads : {1, 2}) {
    ThreadPool pool(num_threads);
    for (const std::int64_t num_tasks : {1, 4}) {
      CAPTURE(num_threads, num_tasks);
      const std::string text = error_text([&] {
        pool.parallel_for(num_tasks, [&](std::int64_t, int) { pool.parallel_for(2, [](std::int64_t, int) {}); });
      });
      CHECK(contains(text, "[thread_pool] required one parallel_for at a time"));
    }
    pool.parallel_for(4, [](std::int64_t, int) {});
  }
}

TEST_CASE("A pool without threads is refused") {
  CHECK(error_text([] { ThreadPool(0); }) == "[thread_pool] required at least 1 thread, found 0");
  CHECK(error_text([] { ThreadPool(-3); }) == "[thread_pool] required at least 1 thread, found -3");
}

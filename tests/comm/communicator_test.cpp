#include "comm/communicator.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "comm/case_tensors.h"
#include "comm/communicator_cases.h"
#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/error_text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// The error of two ranks that run different bodies.
std::string two_ranks(const std::function<void(Communicator&)>& first, const std::function<void(Communicator&)>& second,
                      double timeout_seconds = 20.0) {
  return error_text([&] {
    run_thread_ranks(2, {.timeout_seconds = timeout_seconds},
                     [&](Communicator& world) { (world.rank() == 0 ? first : second)(world); });
  });
}

}  // namespace

TEST_CASE("A group of one passes every case") {
  const auto world = make_self_communicator();
  run_communicator_cases(*world);
  CHECK(world->size() == 1);
  CHECK(world->counters().bytes_sent == std::array<std::int64_t, num_purposes>{});
}

TEST_CASE("Ranks that are threads pass every case") {
  const int num_ranks = GENERATE(1, 2, 3, 4, 5);
  CAPTURE(num_ranks);
  std::atomic<int> num_ended = 0;
  run_thread_ranks(num_ranks, {}, [&](Communicator& world) {
    run_communicator_cases(world);
    ++num_ended;
  });
  CHECK(num_ended == num_ranks);
}

TEST_CASE("Ranks that are threads pass every case when messages take time", "[slow]") {
  run_thread_ranks(3, {.delay_seconds = 0.001, .bytes_per_second = 5.0e8},
                   [&](Communicator& world) { run_communicator_cases(world); });
}

TEST_CASE("A rank that never comes is named within the timeout") {
  const auto start = Clock::now();
  const std::string text = error_text([] {
    run_thread_ranks(3, {.timeout_seconds = 0.2}, [](Communicator& world) {
      const auto group = world.split(0, -world.rank(), "reversed");
      world.set_step(12);
      if (world.rank() == 1) return sleep(0.6);
      HostAllocator allocator;
      Tensor x = case_tensor<float>(allocator, 12, 1, "x", 0);
      group->all_reduce(x, Purpose::gradients);
    });
  });
  CHECK(seconds_since(start) < 5.0);
  for (const char* part : {"group 'reversed'", "all_reduce of 12 f32", "gradients", "within 0.2 s",
                           "nothing from rank 1;", "at step 12"}) {
    CAPTURE(text, part);
    CHECK(contains(text, part));
  }
  // By its number in the world, where the group would say otherwise.
  CHECK((contains(text, "this is rank 0 ") || contains(text, "this is rank 2 ")));
}

TEST_CASE("Ranks that call different operations are told so") {
  HostAllocator allocator;
  const auto reduce = [&](std::int64_t count, Reduction reduction, Purpose purpose) {
    return [=, &allocator](Communicator& world) {
      Tensor x = case_tensor<float>(allocator, count, 1, "x", 0);
      world.all_reduce(x, purpose, reduction);
    };
  };
  const auto barrier = [](Communicator& world) { world.barrier(); };
  const auto same = reduce(8, Reduction::sum, Purpose::gradients);
  CHECK(two_ranks(same, same) == "(no error)");
  const std::string text = two_ranks(same, barrier);
  CHECK(contains(text, "all_reduce of 8 f32 (sum, gradients)"));
  CHECK(contains(text, "barrier (control)"));
  CHECK(contains(two_ranks(same, reduce(9, Reduction::sum, Purpose::gradients)), "all_reduce of 9 f32"));
  CHECK(contains(two_ranks(same, reduce(8, Reduction::max, Purpose::gradients)), "(max, gradients)"));
  CHECK(contains(two_ranks(same, reduce(8, Reduction::sum, Purpose::statistics)), "(sum, statistics)"));
  CHECK(contains(two_ranks(
                     [&](Communicator& world) {
                       world.broadcast(case_tensor<float>(allocator, 8, 1, "x", 0), 0, Purpose::parameters);
                     },
                     [&](Communicator& world) {
                       world.broadcast(case_tensor<float>(allocator, 8, 1, "x", 0), 1, Purpose::parameters);
                     }),
                 "root 1"));
}

TEST_CASE("Ranks that expect other numbers of rows are told so") {
  HostAllocator allocator;
  const auto exchange = [&](std::int64_t sends, std::int64_t expects) {
    return [=, &allocator](Communicator& world) {
      const bool first = world.rank() == 0;
      Tensor send = case_tensor<float>(allocator, 10, 2, "x", 0);
      Tensor receive = case_tensor<float>(allocator, 10, 2, "x", 0);
      const RowPieces to{first ? std::vector<std::int64_t>{0, sends} : std::vector<std::int64_t>{sends, 0}, {0, 0}};
      const RowPieces from{first ? std::vector<std::int64_t>{0, expects} : std::vector<std::int64_t>{expects, 0},
                           {0, 0}};
      world.all_to_all_v(send, to, receive, from, Purpose::dispatch);
    };
  };
  CHECK(two_ranks(exchange(3, 4), exchange(4, 3)) == "(no error)");
  CHECK(contains(two_ranks(exchange(3, 4), exchange(5, 3)),
                 "required 32 bytes from rank 1 in all_to_all_v (dispatch), found 40"));
  CHECK(contains(two_ranks(exchange(3, 0), exchange(5, 3)), "required 0 bytes from rank 1"));
  CHECK(contains(two_ranks(exchange(3, 4), exchange(0, 3)), "found 0"));
}

TEST_CASE("An error of one rank ends the others and names it") {
  std::atomic<int> num_told = 0;
  const std::string text = error_text([&] {
    run_thread_ranks(4, {}, [&](Communicator& world) {
      if (world.rank() == 2) fail("disk", "required room, found none");
      const std::string other = error_text([&] { world.barrier(); });
      if (contains(other, "rank 2 ended with an error: [disk] required room, found none")) ++num_told;
    });
  });
  CHECK(text == "[rank 2] [disk] required room, found none");
  CHECK(num_told == 3);
}

TEST_CASE("A wait that lasts is reported while it lasts, and the observer can end it") {
  std::vector<std::string> reports;
  const std::string text = two_ranks(
      [&](Communicator& world) {
        const auto group = world.split(0, 0, "pair");
        world.set_step(3);
        world.set_wait_observer([&](double seconds, const std::string& what) {
          reports.push_back(what);
          if (seconds > 0.25) fail("stop", "required no signal, found one");
        });
        group->barrier();
      },
      [](Communicator& world) {
        const auto group = world.split(0, 0, "pair");
        sleep(0.6);
      });
  CHECK(text == "[rank 0] [stop] required no signal, found one");
  REQUIRE(reports.size() >= 2);
  CHECK(
      reports[0] ==
      "barrier (control) has nothing from rank 1; this is rank 0 in group 'pair', operation 0 of the group, at step 3");
}

TEST_CASE("No operation works after an error") {
  run_thread_ranks(1, {}, [](Communicator& world) { world.barrier(); });
  std::atomic<int> num_refused = 0;
  two_ranks(
      [&](Communicator& world) {
        HostAllocator allocator;
        Tensor x = case_tensor<float>(allocator, 8, 1, "x", 0);
        Pending pending = world.start_all_reduce(x, Purpose::gradients);
        if (!contains(error_text([&] { world.barrier(); }), "within 0.1 s")) return;
        if (contains(error_text([&] { world.barrier(); }), "required no error before it")) ++num_refused;
        if (contains(error_text([&] { pending->wait(); }), "had ended it first") && !x.is_shared()) ++num_refused;
      },
      [](Communicator&) { sleep(0.5); }, 0.1);
  CHECK(num_refused == 2);
}

TEST_CASE("Communication hides behind computation when it is started early") {
  // Each message takes 0.1 s; what is computed in between takes as long.
  constexpr auto purpose = Purpose::dispatch;
  std::atomic<int> num_good = 0;
  run_thread_ranks(2, {.delay_seconds = 0.1}, [&](Communicator& world) {
    HostAllocator allocator;
    const RowPieces pieces = consecutive_pieces(std::vector<std::int64_t>{4, 4});
    Tensor x = case_tensor<float>(allocator, 8, 2, "x", world.rank());
    Tensor y = case_tensor<float>(allocator, 8, 2, "y", world.rank());
    const auto waited = [&] { return world.counters().seconds_waited[static_cast<std::size_t>(purpose)]; };
    world.all_to_all_v(x, pieces, y, pieces, purpose);
    const double blocking = waited();
    world.barrier();
    Pending pending = world.start_all_to_all_v(x, pieces, y, pieces, purpose);
    sleep(0.2);
    pending->wait();
    if (blocking >= 0.09 && waited() - blocking < 0.05) ++num_good;
  });
  CHECK(num_good == 2);
}

TEST_CASE("Tensors of the wrong shape or type are refused before anything is sent") {
  const auto world = make_self_communicator();
  HostAllocator allocator;
  const Tensor x = Tensor::empty(allocator, {4, 6}, DType::f32);
  const std::vector<std::int64_t> four{4};
  const auto refusal = [&](const auto& action) { return error_text(action); };
  CHECK(contains(refusal([&] { world->all_reduce(x.columns(1, 3), Purpose::gradients); }), "required a contiguous"));
  CHECK(contains(refusal([&] { world->all_reduce(Tensor(), Purpose::gradients); }), "an undefined one"));
  CHECK(contains(refusal([&] { world->reduce_scatter(x, four, x.rows(0, 3), Purpose::gradients); }),
                 "required a piece of 4 of 4 rows"));
  CHECK(contains(refusal([&] {
                   world->all_gather(x, std::vector<std::int64_t>{2, 2}, x, Purpose::gradients);
                 }),
                 "required one count of at least 0 per rank, 1, found 2"));
  CHECK(contains(refusal([&] {
                   world->all_gather(Tensor::empty(allocator, {4, 6}, DType::i32), four, x, Purpose::gradients);
                 }),
                 "of one type, found i32"));
  CHECK(contains(refusal([&] { world->broadcast(x, 1, Purpose::gradients); }), "required a root from 0 to 0, found 1"));
  CHECK(contains(refusal([&] {
                   world->all_to_all_v(x, {{5}, {0}}, x, {{5}, {0}}, Purpose::dispatch);
                 }),
                 "required pieces within 4 rows, found 5 rows from row 0 for rank 0"));
  CHECK(contains(refusal([&] {
                   world->all_to_all_v(x, {{2}, {3}}, x, {{2}, {0}}, Purpose::dispatch);
                 }),
                 "found 2 rows from row 3"));
  CHECK(contains(refusal([&] {
                   world->all_to_all_v(x, {{2}, {0}}, x.view({6, 4}), {{2}, {0}}, Purpose::dispatch);
                 }),
                 "required rows of one type and size"));
  CHECK(contains(refusal([&] { make_self_communicator({.timeout_seconds = 0.0}); }), "required a timeout"));
  world->all_reduce(x, Purpose::gradients);  // a refusal breaks nothing
}

}  // namespace artel

#include "comm/mesh.h"

#include <atomic>

#include "comm/case_tensors.h"
#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "util/text.h"

namespace artel {
namespace {

std::string refusal(const MeshSizes& sizes) {
  return error_text([&] { MeshLayout layout(sizes); });
}

}  // namespace

TEST_CASE("A layout shares out experts and sequences without gaps") {
  for (const int world : {1, 2, 3, 4, 6, 8, 12}) {
    for (const int expert : {1, 2, 3, 4, 6, 8}) {
      for (const std::int64_t micro : {1, 2}) {
        if (world % expert != 0) continue;
        const MeshLayout layout({world, expert, 24, 4 * world * micro, micro});
        CHECK(layout.num_replicas() * layout.expert_size() == world);
        CHECK(layout.accumulation() == 4);
        std::vector<int> holders(24);
        std::int64_t next = 0;
        for (int rank = 0; rank < world; ++rank) {
          CHECK(layout.expert_group_of(rank) * expert + layout.expert_position_of(rank) == rank);
          const IndexRange experts = layout.experts_of(rank);
          for (std::int64_t e = experts.begin; e < experts.end; ++e) {
            ++holders[static_cast<std::size_t>(e)];
            CHECK(layout.position_of_expert(e) == layout.expert_position_of(rank));
          }
          CHECK(layout.sequences_of(rank).begin == next);
          for (std::int64_t pass = 0; pass < layout.accumulation(); ++pass) {
            CHECK(layout.micro_batch_of(rank, pass) == IndexRange{next, next + micro});
            next += micro;
          }
          CHECK(layout.sequences_of(rank).end == next);
        }
        CHECK(next == 4 * world * micro);
        CHECK(holders == std::vector<int>(24, layout.num_replicas()));
      }
    }
  }
}

TEST_CASE("Impossible layouts are refused with the nearest possible values") {
  // world, expert, num_experts, global batch, micro batch
  CHECK(refusal({4, 3, 12, 16, 1}) ==
        "[parallel.expert] required a divisor of the number of ranks, 4, found 3; use 2 or 4, or start 3 or 6 ranks");
  CHECK(refusal({6, 6, 8, 12, 1}) ==
        "[parallel.expert] required a divisor of model.num_experts 8 and of the number of ranks 6, found 6; use 2");
  CHECK(refusal({2, 4, 16, 16, 1}) ==
        "[parallel.expert] required at most the number of ranks, 2, found 4; use 2, or start at least 4 ranks");
  CHECK(contains(refusal({2, 2, 0, 16, 1}), "required 1, since the model has no experts"));
  CHECK(refusal({8, 1, 16, 4, 1}) ==
        "[train.global_batch_size] required at least one sequence per rank, 8 in all, found 4; start at most 4 ranks, "
        "or use 8");
  CHECK(refusal({3, 1, 16, 16, 2}) ==
        "[train.global_batch_size] required a multiple of the number of ranks, 3, found 16; use 12 or 18, or start 2 "
        "or 4 ranks");
  CHECK(refusal({2, 1, 16, 16, 3}) ==
        "[train.micro_batch_size] required a divisor of a rank's share of the global batch, 16 / 2 = 8 sequences, "
        "found 3; use 2 or 4, or train.global_batch_size 12 or 18");
  CHECK(contains(refusal({2, 1, 16, 16, 16}), "found 16; use 8, or train.global_batch_size 32"));
  CHECK(contains(refusal({0, 1, 16, 16, 1}), "[ranks] required at least 1, found 0"));
  CHECK(contains(refusal({1, 0, 16, 16, 1}), "[parallel.expert] required at least 1"));
  CHECK(contains(refusal({1, 1, 16, 0, 1}), "[train.global_batch_size] required at least 1"));
  CHECK(contains(refusal({1, 1, 16, 1, -1}), "[train.micro_batch_size] required at least 1, found -1"));
  CHECK(refusal({4, 4, 16, 4, 1}) == "(no error)");
  CHECK(refusal({4, 1, 0, 4, 1}) == "(no error)");
}

TEST_CASE("The values that a refusal suggests are possible") {
  for (int world = 1; world <= 9; ++world) {
    for (std::int64_t expert = 1; expert <= 9; ++expert) {
      const std::string text = refusal({world, expert, 12, 2520, 1});
      if (text == "(no error)") continue;
      const std::size_t use = text.find("; use ") + 6;
      REQUIRE(use > 6);
      const std::int64_t suggested = std::stoll(text.substr(use));
      CHECK_FALSE(contains(refusal({world, suggested, 12, 2520, 1}), "parallel.expert"));
    }
  }
}

TEST_CASE("Expert groups stay on one host") {
  const MeshLayout layout({4, 2, 8, 4, 1});
  check_hosts(layout, {"a", "a", "b", "b"});
  check_hosts(layout, {"a", "a", "a", "a"});
  const std::string text = error_text([&] { check_hosts(layout, {"a", "a", "a", "b"}); });
  CHECK(contains(text, "found rank 2 on a and rank 3 on b"));
  CHECK(contains(error_text([&] { check_hosts(layout, {"a", "b", "a", "b"}); }), "rank 0 on a and rank 1 on b"));
}

TEST_CASE("The groups of a mesh hold the ranks that the layout says") {
  std::atomic<int> num_ended = 0;
  run_thread_ranks(6, {}, [&](Communicator& world) {
    const MeshLayout layout({6, 2, 8, 12, 1});
    const Mesh mesh(world, layout);
    const auto ranks_of = [&](Communicator& group) {
      return join(group.all_gather_text(std::to_string(world.rank()), Purpose::control), " ");
    };
    const int first = world.rank() / 2 * 2;
    COMM_REQUIRE(ranks_of(mesh.expert()) == concat(first, " ", first + 1));
    const int position = world.rank() % 2;
    COMM_REQUIRE(ranks_of(mesh.expert_replicas()) == concat(position, " ", position + 2, " ", position + 4));
    COMM_REQUIRE(mesh.expert().name() == concat("expert ", world.rank() / 2));
    COMM_REQUIRE(mesh.local_experts() == (IndexRange{position * 4, position * 4 + 4}));
    COMM_REQUIRE(mesh.local_sequences() == (IndexRange{world.rank() * 2, world.rank() * 2 + 2}));
    COMM_REQUIRE(mesh.micro_batch(1).begin == world.rank() * 2 + 1);
    ++num_ended;
  });
  CHECK(num_ended == 6);
  const auto alone = make_self_communicator();
  CHECK(contains(error_text([&] { Mesh(*alone, MeshLayout({2, 1, 8, 2, 1})); }), "found one for 2"));
}

}  // namespace artel

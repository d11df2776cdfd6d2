#include "emulator/fiber.h"

#include <memory>
#include <vector>

#include "support/catch.h"

namespace {

using emulator::Fiber;

constexpr std::size_t stack_bytes = 256 * 1024;

struct Scene {
  Fiber main;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<int> visits;
  std::size_t current = 0;
  double sum = 0;
};
Scene* scene = nullptr;

/// Calls itself, so that its locals lie in several frames while other fibers run.
double visit(int depth) {
  const double local = static_cast<double>(scene->current) + depth * 0.5;
  const std::size_t me = scene->current;
  if (depth > 0) {
    const double below = visit(depth - 1);
    return local + below;
  }
  scene->visits.push_back(static_cast<int>(me));
  scene->main.switch_from(*scene->fibers[me]);
  return local;
}

void entry() {
  for (;;) scene->sum += visit(3);
}

void resume(std::size_t i) {
  scene->current = i;
  scene->fibers[i]->switch_from(scene->main);
}

}  // namespace

TEST_CASE("fibers keep their stacks while others run") {
  Scene mine;
  scene = &mine;
  for (std::size_t i = 0; i < 5; ++i) {
    mine.fibers.push_back(std::make_unique<Fiber>(stack_bytes, i * 256));
    mine.fibers.back()->start(&entry);
    CHECK(mine.fibers.back()->stack_end() - mine.fibers.back()->stack_begin() ==
          static_cast<std::ptrdiff_t>(stack_bytes));
  }
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < 5; ++i) resume(i);
  }
  CHECK(mine.visits == std::vector<int>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
  // Two visits of each have ended: 4 i + 3, as every fiber saw its own number throughout.
  CHECK(mine.sum == 2 * (4 * 10 + 5 * 3));
}

TEST_CASE("a fiber that is started again drops what ran on it") {
  Scene mine;
  scene = &mine;
  mine.fibers.push_back(std::make_unique<Fiber>(stack_bytes, 0));
  for (int round = 0; round < 100; ++round) {
    mine.fibers[0]->start(&entry);
    resume(0);
    resume(0);
  }
  CHECK(mine.visits.size() == 200);
  CHECK(mine.sum == 100 * 3);
}

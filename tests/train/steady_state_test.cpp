#include <sys/resource.h>

#include "support/catch.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"

using namespace artel;

namespace {

std::int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

}  // namespace

TEST_CASE("A run in its steady state takes no more memory and few page faults", "[slow]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const auto precision = GENERATE(as<std::string>{}, "fp32", "bf16");
  INFO(routing << " " << precision);
  const TemporaryDirectory directory;
  prepare(directory);
  constexpr std::int64_t first_step = 5;
  constexpr std::int64_t last_step = 505;
  // One thread: with more, a worker for whom the first steps had no task takes its scratch memory later.
  const Config config = config_of(directory, routing, precision,
                                  {"train.steps=505", "train.threads=1", "validation.every=0", "checkpoint.every=0"});
  TinyTrainer tiny(config);
  const auto stats = [&] { return tiny.runtime.context().allocator.stats(); };
  const auto reserved = [&] { return stats().active_bytes + stats().cached_bytes; };
  std::int64_t reserved_before = 0;
  std::int64_t active_before = 0;
  std::int64_t allocations_before = 0;
  std::int64_t faults = 0;
  tiny.trainer.run([&] {
    if (tiny.trainer.step() == first_step) {
      reserved_before = reserved();
      active_before = stats().active_bytes;
      allocations_before = stats().num_system_allocations;
      faults = minor_faults();
    } else if (tiny.trainer.step() == last_step - 1) {
      faults = minor_faults() - faults;
      CHECK(reserved() == reserved_before);
      CHECK(stats().active_bytes == active_before);
      CHECK(stats().num_system_allocations == allocations_before);
    }
    return false;
  });
  REQUIRE(reserved_before > 0);
  CHECK(faults / (last_step - 1 - first_step) < 200);
}

#include <limits>

#include "emulator/execution.h"
#include "emulator/kernel_support.h"
#include "emulator/planted/planted.h"

// Epochs have 32 bits and the clocks of lanes 16: when they begin anew, nothing false is reported and races still are.
namespace {

using namespace emulator_tests;

constexpr std::uint32_t half = std::numeric_limits<std::uint32_t>::max() / 2;

bool has_race() {
  return num_reported("racecheck", {}) > 0;
}

}  // namespace

TEST_CASE("epochs begin anew between launches") {
  const Session session;
  const Stream stream;
  const DeviceArray<int> y(128);
  const DeviceArray<float> z(numbers<float>(128));
  emulator::running.epoch = half - 500;
  std::uint32_t before = emulator::running.epoch;
  bool was_reset = false;
  for (int round = 0; round < 6; ++round) {
    planted::many_barriers(y.data(), 50, stream);
    stream.wait();
    INFO(reports());
    CHECK(emulator::errors().empty());
    was_reset = was_reset || emulator::running.epoch < before;
    before = emulator::running.epoch;
  }
  CHECK(was_reset);
  emulator::running.epoch = half + 1;
  planted::blocks_write_same_element(z.data(), stream);
  stream.wait();
  CHECK(has_race() == emulator::checks_memory());
}

TEST_CASE("accesses of launches before the epochs began anew are not taken for later ones") {
  const Session session;
  const Stream stream;
  const DeviceArray<int> y(128);
  emulator::running.epoch = half - 10;
  planted::many_barriers(y.data(), 50, stream);
  stream.wait();
  CHECK(emulator::running.epoch > half);
  // Reads and writes what the last launch wrote at epochs that are far ahead of the new ones.
  planted::many_barriers(y.data(), 50, stream);
  stream.wait();
  CHECK(emulator::running.epoch < half);
  INFO(reports());
  CHECK(emulator::errors().empty());
}

TEST_CASE("clocks of lanes begin anew within a block") {
  constexpr int num_rounds = 40000;  // of two __syncwarp
  for (const bool barrier_missing : {false, true}) {
    const Session session;
    const Stream stream;
    const DeviceArray<int> y(64);
    planted::many_sync_warps(y.data(), num_rounds, barrier_missing, stream);
    stream.wait();
    INFO(reports());
    CHECK(has_race() == (barrier_missing && emulator::checks_memory()));
    if (!barrier_missing) {
      const std::vector<int> result = y.values();
      for (int i = 0; i < 64; ++i) {
        const int other = 63 - i;
        REQUIRE(result[static_cast<std::size_t>(i)] == other / 32 * 32 + (other + num_rounds) % 32);
      }
    }
  }
}

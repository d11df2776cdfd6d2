#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <set>

#include "emulator/internal.h"
#include "emulator/kernel_support.h"
#include "emulator/planted/planted.h"

using namespace emulator_tests;

TEST_CASE("without Config::collect the first bug is printed and ends the process") {
  const Session session;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGABRT, SIG_DFL);  // not a failure of the test
    dup2(ends[1], STDERR_FILENO);
    emulator::config().collect = false;
    const Stream stream;
    const DeviceArray<float> y(128);
    planted::exit_before_barrier(y.data(), stream);
    stream.wait();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[256];
  for (ssize_t n = read(ends[0], part, sizeof part); n > 0; n = read(ends[0], part, sizeof part)) {
    text.append(part, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  INFO(text);
  CHECK(text.find("emulator: synccheck: __syncthreads reached by 96 of 128 threads") == 0);
  CHECK(text.find("in kernel exit_before_barrier_kernel, block (0, 0, 0)") != std::string::npos);
  CHECK(text.find("planted/divergence.cu:") != std::string::npos);
}

TEST_CASE("the same bug at the same place is reported once, until errors are cleared") {
  const Session session;
  const Stream stream;
  const DeviceArray<float> y(128);
  for (int i = 0; i < 3; ++i) planted::exit_before_barrier(y.data(), stream);
  stream.wait();
  CHECK(emulator::errors().size() == 1);
  emulator::clear_errors();
  CHECK(emulator::errors().empty());
  planted::exit_before_barrier(y.data(), stream);
  stream.wait();
  CHECK(emulator::errors().size() == 1);
}

TEST_CASE("a seed gives the same random bits again, and another one others") {
  const Session session;
  const auto draw = [](std::uint64_t seed) {
    emulator::config().seed = seed + 1;
    emulator::random_bits();
    emulator::config().seed = seed;
    std::vector<std::uint64_t> bits(1000);
    for (std::uint64_t& value : bits) value = emulator::random_bits();
    return bits;
  };
  const std::vector<std::uint64_t> first = draw(7);
  CHECK(first == draw(7));
  CHECK(first != draw(8));
  CHECK(std::set<std::uint64_t>(first.begin(), first.end()).size() == first.size());
  double mean = 0;
  for (const std::uint64_t bits : first) mean += static_cast<double>(bits) * 0x1p-53 / 1000;
  CHECK(std::fabs(mean - 0.5) < 0.05);  // 5 standard deviations
}

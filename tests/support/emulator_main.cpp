#include "support/catch_session.h"

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_test_case_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#endif

#include <cstdio>
#include <functional>
#include <string>

#include "emulator/emulator.h"
#include "support/emulator_options.h"

// main() of tests that run on the emulated GPU: Catch2's options and those of emulator_options.h. A test case fails if
// the emulator has reported anything by the time its devices are gone (support/test_device.h).

namespace {

#if __has_include(<catch2/catch_session.hpp>)
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

/// Every test case has its own seed, made of that of the run and its name: it does the same whether it runs alone or
/// not.
class SeedListener final : public ListenerBase {
 public:
  using ListenerBase::ListenerBase;
  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    emulator::config().seed = seed_of_run_ ^ std::hash<std::string>()(info.name);
  }

 private:
  const std::uint64_t seed_of_run_ = emulator::config().seed;
};
CATCH_REGISTER_LISTENER(SeedListener)

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments = artel::take_emulator_options(argc, argv);
  emulator::config().collect = true;
  Catch::Session session;
  const int usage_error = session.applyCommandLine(static_cast<int>(arguments.size()), arguments.data());
  if (usage_error != 0) return usage_error;
  const int result = artel::run_session(session);
  for (const emulator::Error& error : emulator::errors()) {
    std::fprintf(stderr, "after the tests: %s\n", emulator::to_string(error).c_str());
  }
  return emulator::errors().empty() ? result : 1;
}

#pragma once

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

// For the files with a main() of tests.
namespace artel {

/// Runs what the command line asked for; the exit code. Filters that match no test case are a failure: Catch2 3 says so
/// by itself, version 2 where it is told to.
inline int run_session(Catch::Session& session) {
#if !__has_include(<catch2/catch_session.hpp>)
  auto& warnings = session.configData().warnings;
  warnings = static_cast<Catch::WarnAbout::What>(warnings | Catch::WarnAbout::NoTests);
#endif
  return session.run();
}

}  // namespace artel

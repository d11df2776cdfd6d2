#include "comm/blocking_call.h"

#include <chrono>
#include <future>

#include "support/catch.h"

namespace artel {
namespace {

TEST_CASE("A blocking call that takes too long is given up with its name", "[communication]") {
  std::promise<std::string> told;
  {
    const BlockingCall call("MPI_Init", 0.02, [&told](const std::string& message) { told.set_value(message); });
    std::future<std::string> message = told.get_future();
    REQUIRE(message.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
    CHECK(message.get() ==
          "[communication] required every rank to take part in MPI_Init within 0.02 s, found that it did not end; look "
          "for a rank that stands still, or allow more time");
  }
}

TEST_CASE("A blocking call that ends in time is not spoken of, and its watch ends with it", "[communication]") {
  bool is_late = false;
  const auto start = std::chrono::steady_clock::now();
  {
    const BlockingCall call("MPI_Init", 3600.0, [&is_late](const std::string&) { is_late = true; });
  }
  CHECK_FALSE(is_late);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
}

}  // namespace
}  // namespace artel

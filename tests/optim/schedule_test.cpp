#include "optim/schedule.h"

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

ScheduleConfig schedule_of(const std::string& type) {
  ScheduleConfig schedule;
  schedule.type = type;
  schedule.warmup_steps = 10;
  schedule.min_lr_ratio = 0.1;
  schedule.decay_ratio = 0.25;
  return schedule;
}

}  // namespace

TEST_CASE("Every schedule warms up linearly and reaches the full rate at the end of the warm-up") {
  const auto type = GENERATE(as<std::string>{}, "cosine", "linear", "wsd", "constant");
  CHECK(learning_rate(schedule_of(type), 2.0, 1, 100) == Approx(0.2));
  CHECK(learning_rate(schedule_of(type), 2.0, 5, 100) == Approx(1.0));
  CHECK(learning_rate(schedule_of(type), 2.0, 10, 100) == Approx(2.0));
}

TEST_CASE("Schedules fall as they say and end at the minimum") {
  CHECK(learning_rate(schedule_of("cosine"), 2.0, 55, 100) == Approx(0.2 + 1.8 * 0.5));
  CHECK(learning_rate(schedule_of("cosine"), 2.0, 100, 100) == Approx(0.2));
  CHECK(learning_rate(schedule_of("linear"), 2.0, 55, 100) == Approx(1.1));
  CHECK(learning_rate(schedule_of("linear"), 2.0, 100, 100) == Approx(0.2));
  CHECK(learning_rate(schedule_of("wsd"), 2.0, 75, 100) == Approx(2.0));
  CHECK(learning_rate(schedule_of("wsd"), 2.0, 88, 100) == Approx(2.0 - 1.8 * 13.0 / 25.0));
  CHECK(learning_rate(schedule_of("wsd"), 2.0, 100, 100) == Approx(0.2));
  CHECK(learning_rate(schedule_of("constant"), 2.0, 100, 100) == 2.0);
}

TEST_CASE("Without warm-up the first step has nearly the full rate, and a run of one step works") {
  ScheduleConfig schedule = schedule_of("cosine");
  schedule.warmup_steps = 0;
  CHECK(learning_rate(schedule, 1.0, 1, 1000) == Approx(1.0).epsilon(1e-4));
  CHECK(learning_rate(schedule, 1.0, 1, 1) == Approx(0.1));
}

TEST_CASE("An unknown schedule is an error that names it") {
  CHECK(error_text([] { learning_rate(schedule_of("step"), 1.0, 50, 100); }).find("step") != std::string::npos);
}

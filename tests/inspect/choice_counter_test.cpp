#include "inspect/choice_counter.h"

#include <cmath>

#include "support/catch.h"
#include "support/error_text.h"

namespace artel {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Tokens 0..3 choose {0, 1}, {1, 2}, {0, 1}, {3}.
const HostChoices choices{{0, 1, 1, 2, 1, 0, 3}, {0, 2, 4, 6, 7}, std::vector<float>(7, 0.5F)};
// The same tokens choose {1, 0}, {0, 3}, {2, 3}, {3}.
const HostChoices others{{1, 0, 0, 3, 2, 3, 3}, {0, 2, 4, 6, 7}, std::vector<float>(7, 0.5F)};

TEST_CASE("loads, pairs and specialisation are counted by set") {
  ChoiceCounter counter(4);
  counter.begin_set();
  counter.add(choices);
  counter.add_statistics(2.0 * std::log(4.0), 0.4, 4);
  counter.begin_set();
  counter.add(others);
  counter.add_statistics(1.0 * std::log(4.0), 1.2, 4);
  LayerInspection layer;
  counter.finish(layer);
  CHECK(layer.load_by_set == Matrix{{2, 3, 1, 1}, {2, 1, 1, 3}});
  CHECK(layer.load == std::vector<double>{4, 4, 2, 4});
  CHECK(layer.coactivation == Matrix{{4, 3, 0, 1}, {3, 4, 1, 0}, {0, 1, 2, 1}, {1, 0, 1, 4}});
  CHECK(layer.choice_entropy == Approx(3.0 / 8.0));
  CHECK(layer.margin == Approx(0.2));
  CHECK(layer.max_violation == Approx(4.0 / 3.5 - 1.0));
  CHECK(layer.dead_experts == 0);
  // Both sets agree but on experts 1 and 3: (2/7) · (3 ln 1.5 + ln 0.5) / 2, over ln 2.
  CHECK(layer.specialisation == Approx((3.0 * std::log(1.5) + std::log(0.5)) / 7.0 / std::log(2.0)));
  CHECK(std::isnan(layer.kept));
}

TEST_CASE("the share of assignments kept is counted token by token, whatever the order of the slots") {
  ChoiceCounter counter(4);
  counter.begin_set();
  counter.add(choices);
  counter.add_statistics(0.0, 0.0, 4);
  counter.compare(choices, others);
  LayerInspection layer;
  counter.finish(layer);
  CHECK(layer.kept == Approx(3.0 / 7.0));  // 0 and 1 of the first token, 3 of the last
  // Load 2, 3, 1, 1 of 7 meets the other's experts at 2, 1, 1, 3 of 4 tokens.
  CHECK(layer.kept_by_chance == Approx((2.0 * 2.0 + 3.0 + 1.0 + 3.0) / 28.0));
}

TEST_CASE("choices of other tokens are refused") {
  ChoiceCounter counter(4);
  counter.begin_set();
  const HostChoices fewer{{0, 1}, {0, 2}, {0.5F, 0.5F}};
  CHECK(error_text([&] { counter.compare(choices, fewer); }) ==
        "[inspect] required choices of the same tokens, found 4 and 1");
}

}  // namespace
}  // namespace artel

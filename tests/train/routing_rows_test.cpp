#include <cmath>

#include "support/catch.h"
#include "train/metrics.h"

namespace artel {
namespace {

TEST_CASE("A layer's row holds the balance of its load and how decided its choices were") {
  LayerStatistics statistics;
  statistics.expert_counts = {6, 2, 0, 8};
  statistics.choice.entropy = 8.0 * 0.5 * std::log(4.0);
  statistics.choice.margin = 2.0;
  statistics.choice.num_tokens = 8;
  const Json row = moe_row(3, statistics, true);
  CHECK(row["layer"] == 3);
  CHECK(row["max_violation"] == 1.0);
  CHECK(row["dead_experts"] == 1);
  const double entropy = -(6.0 / 16 * std::log(6.0 / 16) + 2.0 / 16 * std::log(2.0 / 16) + 0.5 * std::log(0.5));
  CHECK(row["entropy"].get<double>() == Approx(entropy / std::log(4.0)));
  CHECK(row["choice_entropy"].get<double>() == Approx(0.5));
  CHECK(row["margin"] == 0.25);
  CHECK(row["load"] == Json::array({6, 2, 0, 8}));
  CHECK_FALSE(moe_row(3, statistics, false).contains("load"));
}

TEST_CASE("A layer without tokens or with a single expert has finite figures") {
  LayerStatistics statistics;
  statistics.expert_counts = {0};
  const Json row = moe_row(0, statistics, false);
  for (const auto& item : row.items()) {
    CAPTURE(item.key());
    CHECK(std::isfinite(item.value().get<double>()));
  }
}

}  // namespace
}  // namespace artel

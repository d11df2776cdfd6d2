#include <array>
#include <random>

#include "report/comparison.h"
#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

// How often verdicts are wrong when the truth is known: 1,000 comparisons of made-up losses each, fixed seeds.

constexpr int kNumTrials = 1000;

/// P(at least `count` of kNumTrials) when each happens with `probability`.
double tail_from(int count, double probability) {
  if (count <= 0 || count > kNumTrials) return count <= 0 ? 1.0 : 0.0;
  return incomplete_beta(count, kNumTrials - count + 1.0, probability);
}

/// The count is not too high for events of this probability: less likely than 1 in 10,000 by chance.
bool at_most(int count, double probability) {
  return tail_from(count, probability) > 1e-4;
}

/// Nor too low.
bool at_least(int count, double probability) {
  return 1.0 - tail_from(count + 1, probability) > 1e-4;
}

struct Side {
  const char* name;
  std::vector<int64_t> seeds;
  double loss;
  double noise;  ///< standard deviation over seeds
};

std::vector<Run> runs_of(const Side& side) {
  SyntheticSpec spec;
  spec.name = spec.routing = side.name;
  spec.steps = 2;
  spec.validation_every = 2;
  spec.num_layers = 0;
  std::vector<Run> runs;
  for (const int64_t seed : side.seeds) {
    spec.seed = seed;
    runs.push_back(synthetic_run(spec));
  }
  return runs;
}

struct Counts {
  int significant = 0;
  int equivalent = 0;
  int family_errors = 0;  ///< any difference whose p (Holm) is below 0.05
  int covered = 0;        ///< the 95 % interval of the first difference holds the true one
};

/// Compares the sides kNumTrials times. `seed_effect` is what a seed adds to the losses of all sides.
Counts count_verdicts(const std::vector<Side>& sides, double seed_effect, double margin, unsigned generator_seed) {
  std::vector<Run> runs;
  std::vector<const Side*> side_of;
  for (const Side& side : sides) {
    for (Run& run : runs_of(side)) {
      runs.push_back(std::move(run));
      side_of.push_back(&side);
    }
  }
  std::mt19937_64 generator(generator_seed);
  std::normal_distribution<double> normal(0.0, 1.0);
  Counts counts;
  for (int trial = 0; trial < kNumTrials; ++trial) {
    std::array<double, 100> effects{};
    for (double& effect : effects) effect = seed_effect * normal(generator);
    for (size_t i = 0; i < runs.size(); ++i) {
      const double effect = effects.at(static_cast<size_t>(runs[i].seed));
      runs[i].validation.back().val_loss = side_of[i]->loss + side_of[i]->noise * normal(generator) + effect;
    }
    const Comparison comparison = compare_runs(runs, CompareOptions{.equivalence_margin = margin});
    const Difference& first = comparison.differences.front();
    const double truth = sides[0].loss - sides[1].loss;
    counts.significant += *first.loss.significant ? 1 : 0;
    counts.equivalent += first.equivalence->equivalent ? 1 : 0;
    counts.covered += first.loss.ci95->low <= truth && truth <= first.loss.ci95->high ? 1 : 0;
    bool any = false;
    for (const Difference& difference : comparison.differences) any = any || *difference.p_holm < 0.05;
    counts.family_errors += any ? 1 : 0;
  }
  return counts;
}

TEST_CASE("five paired seeds of pure noise are significant in 5 % of comparisons, whatever a seed does to both sides") {
  for (const double seed_effect : {0.0, 0.05}) {
    const Counts counts = count_verdicts({{"uoe", {1, 2, 3, 4, 5}, 1.8, 0.004}, {"moe", {1, 2, 3, 4, 5}, 1.8, 0.002}},
                                         seed_effect, 0.01, 21);
    CAPTURE(seed_effect, counts.significant);
    CHECK(at_most(counts.significant, 0.05));
    CHECK(at_least(counts.significant, 0.05));
    CHECK(at_most(kNumTrials - counts.covered, 0.05));
  }
}

TEST_CASE("unpaired noise of different size and number of seeds is significant in at most 5 % of comparisons") {
  // Welch's test is approximate: with unequal spread and few seeds it strays from 5 % by a percent or two.
  const Counts counts =
      count_verdicts({{"uoe", {1, 2, 3, 4, 5}, 1.8, 0.008}, {"moe", {6, 7, 8, 9}, 1.8, 0.002}}, 0.0, 0.01, 22);
  CAPTURE(counts.significant);
  CHECK(at_most(counts.significant, 0.06));
  CHECK(at_least(counts.significant, 0.03));
}

TEST_CASE("of three groups of noise any difference survives Holm's correction in at most 5 % of comparisons") {
  const std::vector<int64_t> seeds = {1, 2, 3, 4, 5};
  const Counts counts = count_verdicts(
      {{"uoe", seeds, 1.8, 0.004}, {"moe", seeds, 1.8, 0.004}, {"aoe", seeds, 1.8, 0.004}}, 0.01, 0.01, 23);
  CAPTURE(counts.family_errors);
  CHECK(at_most(counts.family_errors, 0.05));
  CHECK(counts.family_errors > 0);
}

TEST_CASE("a difference as large as the margin is called equivalent in at most 5 % of comparisons", "[slow]") {
  struct Case {
    double noise;
    bool paired;
    bool exact;  ///< the noise is small against the margin, so that the rate is 5 % and not below it
  };
  const Case cases[] = {{0.001, true, true}, {0.001, false, true}, {0.02, true, false}, {0.02, false, false}};
  for (const Case& c : cases) {
    for (const double truth : {-0.01, 0.01}) {
      const std::vector<int64_t> others =
          c.paired ? std::vector<int64_t>{1, 2, 3, 4, 5} : std::vector<int64_t>{6, 7, 8, 9, 10};
      const Counts counts = count_verdicts(
          {{"uoe", {1, 2, 3, 4, 5}, 1.8 + truth, c.noise}, {"moe", others, 1.8, c.noise}}, 0.0, 0.01, 24);
      CAPTURE(c.noise, c.paired, truth, counts.equivalent);
      CHECK(at_most(counts.equivalent, 0.05));
      if (c.exact) CHECK(at_least(counts.equivalent, 0.04));
    }
  }
}

TEST_CASE("what is equal is found equivalent once the noise is small against the margin, and not before") {
  const std::vector<int64_t> seeds = {1, 2, 3, 4, 5};
  const Counts small = count_verdicts({{"uoe", seeds, 1.8, 0.001}, {"moe", seeds, 1.8, 0.001}}, 0.02, 0.01, 25);
  CHECK(at_least(small.equivalent, 0.99));
  const Counts large = count_verdicts({{"uoe", seeds, 1.8, 0.05}, {"moe", seeds, 1.8, 0.05}}, 0.0, 0.01, 26);
  CHECK(at_most(large.equivalent, 0.01));
}

TEST_CASE("a difference of many standard errors is found nearly always, with the sign that it has") {
  for (const double truth : {-0.03, 0.03}) {
    const std::vector<int64_t> seeds = {1, 2, 3, 4, 5};
    const Counts counts =
        count_verdicts({{"uoe", seeds, 1.8 + truth, 0.003}, {"moe", seeds, 1.8, 0.003}}, 0.02, 0.01, 27);
    CHECK(at_least(counts.significant, 0.99));
    CHECK(counts.equivalent == 0);
    CHECK(at_most(kNumTrials - counts.covered, 0.05));
  }
}

TEST_CASE("the verdict says what the numbers say") {
  struct Case {
    std::vector<double> a;
    std::vector<double> b;
    const char* verdict;
  };
  const Case cases[] = {
      {{1.80, 1.81, 1.80}, {1.90, 1.91, 1.91}, "significantly lower"},
      {{1.90, 1.91, 1.91}, {1.80, 1.81, 1.80}, "significantly higher"},
      {{1.80, 1.90, 1.85}, {1.85, 1.80, 1.90}, "not significant"},
      {{1.800, 1.801, 1.802}, {1.801, 1.800, 1.802}, "equivalent within 0.01"},
      {{1.800, 1.810, 1.820}, {1.802, 1.812, 1.8221}, "significantly lower, within 0.01"},
      {{1.80}, {1.70}, "no verdict: one seed"},
      {{1.80, 1.80}, {1.80, 1.80}, "equivalent within 0.01"},
  };
  for (const Case& c : cases) {
    std::vector<Run> runs;
    for (const auto& [name, losses] : {std::pair{"uoe", c.a}, std::pair{"moe", c.b}}) {
      std::vector<int64_t> seeds(losses.size());
      for (size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<int64_t>(i + 1);
      for (Run& run : runs_of({name, seeds, 0.0, 0.0})) {
        run.validation.back().val_loss = losses[static_cast<size_t>(run.seed - 1)];
        runs.push_back(std::move(run));
      }
    }
    CAPTURE(c.verdict);
    CHECK(compare_runs(runs, CompareOptions{.equivalence_margin = 0.01}).differences.at(0).verdict == c.verdict);
  }
}

}  // namespace
}  // namespace artel

#include "report/comparison.h"

#include <algorithm>
#include <tuple>

#include "report/format.h"
#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

std::vector<Run> seeds_of(SyntheticSpec spec, std::vector<int64_t> seeds) {
  std::vector<Run> runs;
  for (const int64_t seed : seeds) {
    spec.seed = seed;
    runs.push_back(synthetic_run(spec));
  }
  return runs;
}

std::vector<Run> joined(std::vector<Run> a, const std::vector<Run>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

SyntheticSpec uoe_spec() {
  SyntheticSpec spec;
  spec.steps = 20;
  spec.loss_noise = 0.003;
  return spec;
}

SyntheticSpec moe_spec(double final_loss) {
  SyntheticSpec spec = uoe_spec();
  spec.name = "moe";
  spec.routing = "softmax";
  spec.final_loss = final_loss;
  return spec;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t widest_line(const std::string& text) {
  size_t width = 0;
  size_t widest = 0;
  for (const char byte : text) {
    width = byte == '\n' ? 0 : width + ((static_cast<unsigned char>(byte) & 0xC0U) != 0x80U ? 1 : 0);
    widest = std::max(widest, width);
  }
  return widest;
}

bool any_note(const Comparison& comparison, const std::string& part) {
  return std::any_of(comparison.notes.begin(), comparison.notes.end(),
                     [&](const std::string& note) { return contains(note, part); });
}

TEST_CASE("a known difference over paired seeds is found, with its interval and sign") {
  const Comparison result =
      compare_runs(joined(seeds_of(uoe_spec(), {1, 2, 3, 4, 5}), seeds_of(moe_spec(1.85), {1, 2, 3, 4, 5})));
  REQUIRE(result.groups.size() == 2);
  REQUIRE(result.differences.size() == 1);
  const Difference& difference = result.differences[0];
  CHECK(*difference.loss.delta == Approx(-0.05).margin(0.006));
  CHECK(difference.loss.ci95->low < *difference.loss.delta);
  CHECK(difference.loss.ci95->high > *difference.loss.delta);
  CHECK(*difference.loss.significant);
  CHECK(*difference.loss.p_value < 0.01);
  CHECK(difference.verdict == "significantly lower");
  CHECK(difference.method == "paired t over 5 seeds");
  CHECK(difference.paired_seeds == std::vector<int64_t>{1, 2, 3, 4, 5});
  const Comparison swapped =
      compare_runs(joined(seeds_of(moe_spec(1.85), {1, 2, 3, 4, 5}), seeds_of(uoe_spec(), {1, 2, 3, 4, 5})));
  CHECK(*swapped.differences[0].loss.delta == Approx(-*difference.loss.delta));
  CHECK(swapped.differences[0].verdict == "significantly higher");
}

TEST_CASE("one seed on a side gives a difference without interval or verdict") {
  for (const auto& seeds : {std::vector<int64_t>{1}, std::vector<int64_t>{1, 2, 3}}) {
    const Comparison result = compare_runs(joined(seeds_of(uoe_spec(), seeds), seeds_of(moe_spec(1.9), {1})),
                                           CompareOptions{.equivalence_margin = 0.01});
    const Difference& difference = result.differences.at(0);
    CHECK(difference.loss.delta.has_value());
    CHECK_FALSE(difference.loss.ci95.has_value());
    CHECK_FALSE(difference.loss.significant.has_value());
    CHECK_FALSE(difference.equivalence.has_value());
    CHECK(difference.verdict == "no verdict: one seed");
    const Json json = comparison_json(result)["differences"][0];
    CHECK(json["delta_val_loss"].is_number());
    CHECK(json["ci95"].is_null());
    CHECK(json["significant"].is_null());
  }
}

TEST_CASE("seeds that do not pair are compared by Welch's test") {
  const Comparison result = compare_runs(joined(seeds_of(uoe_spec(), {1, 2, 3}), seeds_of(moe_spec(1.85), {3, 4})));
  const Difference& difference = result.differences.at(0);
  CHECK(difference.method == "Welch t, 3 and 2 seeds");
  CHECK(difference.paired_seeds.empty());
  const MeanDifference expected =
      welch_difference(result.groups[0].final_losses.values(), result.groups[1].final_losses.values());
  CHECK(*difference.loss.delta == expected.delta);
  CHECK(difference.loss.ci95->high == confidence_interval(expected, 0.95).high);
}

TEST_CASE("only the seeds of both sides are paired") {
  const Comparison result = compare_runs(joined(seeds_of(uoe_spec(), {1, 2, 5}), seeds_of(moe_spec(1.85), {9, 2, 1})));
  const Difference& difference = result.differences.at(0);
  CHECK(difference.paired_seeds == std::vector<int64_t>{1, 2});
  const auto& a = result.groups[0].final_losses.seeds;
  const auto& b = result.groups[1].final_losses.seeds;
  REQUIRE(b[0].seed == 1);
  CHECK(*difference.loss.delta == Approx(0.5 * (a[0].loss - b[0].loss + a[1].loss - b[1].loss)));
}

TEST_CASE("equivalence needs a margin and a small difference") {
  SyntheticSpec close = moe_spec(1.8005);
  close.loss_noise = 0.0003;
  SyntheticSpec reference = uoe_spec();
  reference.loss_noise = 0.0003;
  const std::vector<Run> runs = joined(seeds_of(reference, {1, 2, 3, 4}), seeds_of(close, {1, 2, 3, 4}));
  CHECK_FALSE(compare_runs(runs).differences[0].equivalence.has_value());
  const Comparison wide = compare_runs(runs, CompareOptions{.equivalence_margin = 0.01});
  CHECK(wide.differences[0].equivalence->equivalent);
  CHECK(contains(wide.differences[0].verdict, "within 0.01"));
  const Comparison narrow = compare_runs(runs, CompareOptions{.equivalence_margin = 0.0001});
  CHECK_FALSE(narrow.differences[0].equivalence->equivalent);
  CHECK_THROWS_AS(compare_runs(runs, CompareOptions{.equivalence_margin = 0.0}), Error);
}

TEST_CASE("of 1,000 comparisons of pure noise about 5 % come out significant", "[slow]") {
  std::mt19937_64 generator(11);
  std::normal_distribution<double> noise(0.0, 0.004);
  SyntheticSpec spec = uoe_spec();
  spec.steps = 2;
  spec.validation_every = 2;
  spec.num_layers = 0;
  const std::vector<Run> a = seeds_of(spec, {1, 2, 3});
  SyntheticSpec other = moe_spec(1.8);
  other.steps = spec.steps;
  other.validation_every = spec.validation_every;
  other.num_layers = 0;
  for (const bool paired : {true, false}) {
    const std::vector<Run> b = seeds_of(other, paired ? std::vector<int64_t>{1, 2, 3} : std::vector<int64_t>{4, 5, 6});
    int num_significant = 0;
    for (int trial = 0; trial < 1000; ++trial) {
      std::vector<Run> runs = joined(a, b);
      for (Run& run : runs) run.validation.back().val_loss = 1.8 + noise(generator);
      num_significant += *compare_runs(std::move(runs)).differences.at(0).loss.significant ? 1 : 0;
    }
    CAPTURE(paired, num_significant);
    // Four standard deviations of a binomial count around 50; Welch's test errs on the careful side at three seeds.
    CHECK(num_significant <= 77);
    CHECK(num_significant >= (paired ? 23 : 8));
  }
}

TEST_CASE("tokens and FLOPs to the other's loss are interpolated on the mean curve") {
  SyntheticSpec slow = moe_spec(1.8);
  slow.flops_per_token = 5e6;
  std::vector<Run> runs = joined(seeds_of(uoe_spec(), {1}), seeds_of(slow, {1}));
  const auto set_curve = [](Run& run, std::vector<double> losses) {
    run.validation.resize(losses.size());
    for (size_t i = 0; i < losses.size(); ++i) {
      run.validation[i] = {static_cast<int64_t>(i + 1),
                           static_cast<int64_t>(100 * (i + 1)),
                           1,
                           losses[i],
                           10.0 * static_cast<double>(i + 1),
                           {}};
    }
  };
  set_curve(runs[0], {4.0, 3.0, 2.0});
  set_curve(runs[1], {4.0, 3.5, 2.5});
  const Difference difference = compare_runs(runs).differences.at(0);
  CHECK(difference.a_reaches_b.target == 2.5);
  CHECK(*difference.a_reaches_b.tokens == Approx(250.0));
  CHECK(*difference.a_reaches_b.flops == Approx(250.0 * 6e6));
  CHECK(*difference.a_reaches_b.seconds == Approx(25.0));
  CHECK(difference.b_reaches_a.target == 2.0);
  CHECK_FALSE(difference.b_reaches_a.tokens.has_value());
  set_curve(runs[1], {2.0, 1.5, 1.25});
  CHECK(*compare_runs(runs).differences.at(0).b_reaches_a.tokens == 100.0);
}

TEST_CASE("runs of a group that end early are compared where the shortest ends, with a note") {
  std::vector<Run> runs = seeds_of(uoe_spec(), {1, 2});
  const double loss_at_ten = runs[0].validation[0].val_loss;
  runs[1].validation.resize(1);
  runs[1].training.resize(12);
  const Comparison result = compare_runs(runs);
  CHECK(result.groups[0].final_losses.seeds[0].loss == loss_at_ten);
  CHECK(result.groups[0].tokens == 10 * 4096.0);
  CHECK(any_note(result, "compared at 40960 tokens"));
  CHECK(any_note(result, "unfinished, step 12 of 20"));
  CHECK(comparison_json(result)["runs"][0]["final_val_loss"] == runs[0].validation[1].val_loss);
}

TEST_CASE("what makes groups hard to compare is noted") {
  SyntheticSpec other = moe_spec(1.8);
  other.flops_per_token = 7e6;
  other.steps = 40;
  other.num_experts = 16;
  std::vector<Run> runs = joined(seeds_of(uoe_spec(), {1}), seeds_of(other, {1}));
  runs[1].config["data"]["tokenizer"] = "tokenizer.json";
  const Comparison result = compare_runs(runs);
  CHECK(any_note(result, "tokens seen differ from uoe by more than 2 %: moe"));
  CHECK(any_note(result, "FLOPs per token differ"));
  CHECK(any_note(result, "validation data differ"));
  CHECK(any_note(result, "max violation does not compare"));
  CHECK(compare_runs(joined(seeds_of(uoe_spec(), {1}), seeds_of(moe_spec(1.8), {1}))).notes.empty());
}

TEST_CASE("a run resumed with another learning rate stands alone, with a note") {
  std::vector<Run> runs = seeds_of(uoe_spec(), {1, 2, 3});
  runs[2].changes = {{7, "optimizer.lr", "0.001", "0.002"}, {7, "checkpoint.every", "10", "20"}};
  const Comparison result = compare_runs(runs);
  REQUIRE(result.groups.size() == 2);
  CHECK(result.groups[0].runs == std::vector<size_t>{0, 1});
  CHECK(result.notes ==
        std::vector<std::string>{"runs/uoe-seed3: resumed with other values, so no seed of runs that kept theirs: "
                                 "optimizer.lr (was 0.001, now 0.002) after step 7"});
  CHECK(
      contains(comparison_table(result), "changed on resuming: - | optimizer.lr (was 0.001, now 0.002) after step 7"));
}

TEST_CASE("losses on other windows of the validation text are noted, other batches of as many windows are not") {
  // batches, sequences per batch and ids per sequence of two groups
  for (const auto& [a, b, differs] :
       std::vector<std::tuple<std::vector<int64_t>, std::vector<int64_t>, bool>>{{{16, 32, 512}, {16, 32, 512}, false},
                                                                                 {{16, 32, 512}, {16, 32, 1024}, true},
                                                                                 {{0, 32, 512}, {0, 32, 1024}, true},
                                                                                 {{16, 32, 512}, {16, 64, 512}, true},
                                                                                 {{16, 32, 512}, {8, 64, 512}, false},
                                                                                 {{16, 32, 512}, {8, 32, 512}, true},
                                                                                 {{16, 32, 512}, {0, 32, 512}, true},
                                                                                 {{0, 32, 512}, {0, 64, 512}, false}}) {
    CAPTURE(a, b);
    std::vector<Run> runs = joined(seeds_of(uoe_spec(), {1}), seeds_of(moe_spec(1.8), {1}));
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<int64_t>& values = i == 0 ? a : b;
      runs[i].config["validation"]["batches"] = values[0];
      runs[i].config["train"]["global_batch_size"] = values[1];
      runs[i].config["model"]["max_position_embeddings"] = values[2];
    }
    CHECK(any_note(compare_runs(runs), "validation data differ") == differs);
  }
}

TEST_CASE("a group without validation rows has no loss and no verdict") {
  std::vector<Run> runs = joined(seeds_of(uoe_spec(), {1}), seeds_of(moe_spec(1.8), {1}));
  runs[1].validation.clear();
  const Comparison result = compare_runs(runs);
  CHECK(result.differences.at(0).verdict == "no verdict: no validation loss");
  CHECK(comparison_json(result)["runs"][1]["final_val_loss"].is_null());
  CHECK(comparison_json(result)["differences"][0]["delta_val_loss"].is_null());
  CHECK(contains(comparison_table(result), "no verdict: no validation loss"));
}

TEST_CASE("groups that end at different tokens have a difference and no verdict, in table, page and JSON") {
  SyntheticSpec a = uoe_spec();
  a.sets = {"bible", "web"};
  SyntheticSpec b = moe_spec(1.85);
  b.sets = a.sets;
  std::vector<Run> runs = joined(seeds_of(a, {1, 2, 3}), seeds_of(b, {1, 2, 3}));
  CHECK(*compare_runs(runs).differences.at(0).loss.significant);
  CHECK(*compare_runs(runs).differences.at(0).tokens == 20 * 4096.0);
  runs[2].validation.resize(1);  // one seed stopped half-way
  runs[2].training.resize(12);
  const Comparison result = compare_runs(runs, CompareOptions{.equivalence_margin = 0.5});
  const Difference& difference = result.differences.at(0);
  CHECK(*difference.loss.delta > 0.0);  // the lower loss at equal tokens looks higher
  CHECK_FALSE(difference.tokens.has_value());
  CHECK_FALSE(difference.loss.significant.has_value());
  CHECK_FALSE(difference.loss.ci95.has_value());
  CHECK_FALSE(difference.equivalence.has_value());
  CHECK_FALSE(difference.p_holm.has_value());
  CHECK(difference.method == "");
  CHECK(difference.verdict == "no verdict: different tokens");
  REQUIRE(difference.sets.size() == 2);
  CHECK_FALSE(difference.sets[1].second.significant.has_value());
  const Json json = comparison_json(result)["differences"][0];
  CHECK(json["tokens"].is_null());
  CHECK(json["significant"].is_null());
  CHECK(json["ci95"].is_null());
  CHECK(json["by_set"]["web"]["significant"].is_null());
  CHECK(json["delta_val_loss"].get<double>() == *difference.loss.delta);
  CHECK(json["b_reaches_a"]["tokens"].is_number());  // the way to a loss is known all the same
  for (const std::string& text : {comparison_table(result), comparison_html(result)}) {
    CHECK(contains(text, "no verdict: different tokens"));
    CHECK_FALSE(contains(text, "significantly"));
    CHECK_FALSE(contains(text, "no verdict: one seed"));
  }
  CHECK(any_note(result, "so no verdict: uoe - moe"));
  // With every run at the same end there is a verdict again.
  for (Run& run : runs) run.validation.resize(1);
  CHECK(compare_runs(runs).differences.at(0).verdict == "significantly lower");
}

TEST_CASE("groups are compared at their last common validation within 2 % of both ends") {
  SyntheticSpec a = uoe_spec();
  a.steps = 200;
  a.validation_every = 1;
  SyntheticSpec b = moe_spec(1.85);
  b.steps = a.steps;
  b.validation_every = 1;
  for (const auto& [end_of_b, compared] : std::vector<std::pair<size_t, bool>>{{196, true}, {195, false}}) {
    CAPTURE(end_of_b);
    std::vector<Run> runs = joined(seeds_of(a, {1, 2, 3}), seeds_of(b, {1, 2, 3}));
    runs[4].validation.resize(end_of_b);
    const Comparison result = compare_runs(runs);
    const Difference& difference = result.differences.at(0);
    CHECK(difference.tokens.has_value() == compared);
    CHECK(difference.loss.significant.has_value() == compared);
    CHECK(any_note(result, "uoe - moe: compared at 802816 tokens") == compared);
    if (!compared) continue;
    CHECK(*difference.tokens == 196 * 4096.0);
    double delta = 0.0;
    for (size_t i = 0; i < 3; ++i) delta += runs[i].validation[195].val_loss - runs[i + 3].validation[195].val_loss;
    CHECK(*difference.loss.delta == Approx(delta / 3.0));
    CHECK(comparison_json(result)["differences"][0]["tokens"] == 802816);
  }
  // Ends at nearly equal tokens of which none is common.
  std::vector<Run> runs = joined(seeds_of(a, {1, 2}), seeds_of(b, {1, 2}));
  for (size_t i = 2; i < 4; ++i) {
    for (ValidationRow& row : runs[i].validation) ++row.tokens;
  }
  CHECK(compare_runs(runs).differences.at(0).verdict == "no verdict: different tokens");
}

TEST_CASE("bits per byte and accuracies are means over the seeds, in table, page and JSON") {
  std::vector<Run> runs = seeds_of(uoe_spec(), {1, 2});
  runs[0].validation.back().scores = {{"bits per byte, web", 1.25}, {"swag, accuracy", 0.5}};
  runs[1].validation.back().scores = {{"bits per byte, web", 1.75}, {"swag, accuracy", 0.25}};
  const Comparison result = compare_runs(runs);
  REQUIRE(result.groups[0].scores.size() == 2);
  CHECK(result.groups[0].scores[1].losses.mean() == 0.375);
  const Json json = comparison_json(result);
  CHECK(json["groups"][0]["final_scores"]["bits per byte, web"]["mean"] == 1.5);
  CHECK(json["runs"][0]["final_scores"]["swag, accuracy"] == 0.5);
  CHECK(comparison_table(result).find("swag, accuracy") != std::string::npos);
  CHECK(comparison_html(result).find("<section id=\"scores\">") != std::string::npos);
  CHECK(comparison_html(compare_runs(seeds_of(uoe_spec(), {3}))).find("id=\"scores\"") == std::string::npos);
}

TEST_CASE("validation sets are compared one by one") {
  SyntheticSpec a = uoe_spec();
  a.sets = {"bible", "code", "web"};
  SyntheticSpec b = moe_spec(1.85);
  b.sets = {"bible", "web"};
  const Comparison result = compare_runs(joined(seeds_of(a, {1, 2, 3}), seeds_of(b, {1, 2, 3})));
  REQUIRE(result.groups[0].sets.size() == 3);
  const Difference& difference = result.differences.at(0);
  REQUIRE(difference.sets.size() == 2);
  CHECK(difference.sets[1].first == "web");
  CHECK(difference.sets[0].second.ci95.has_value());
  CHECK(comparison_json(result)["differences"][0]["by_set"]["bible"]["significant"].is_boolean());
}

TEST_CASE("a run given twice or none at all is an error") {
  const std::vector<Run> runs = seeds_of(uoe_spec(), {1});
  CHECK_THROWS_AS(compare_runs(joined(runs, runs)), Error);
  CHECK_THROWS_AS(compare_runs({}), Error);
}

TEST_CASE("the JSON has the published fields") {
  const Json json =
      comparison_json(compare_runs(joined(seeds_of(uoe_spec(), {1, 2}), seeds_of(moe_spec(1.85), {1, 2}))));
  REQUIRE(json["runs"].size() == 4);
  const Json& run = json["runs"][0];
  CHECK(run["name"] == "uoe");
  CHECK(run["parameters"]["total"] == 12345678);
  CHECK(run["parameters"]["active"] == 3456789);
  CHECK(run["tokens"] == 20 * 4096);
  CHECK(run["flops"] == 20 * 4096 * int64_t{6000000});
  CHECK(run["seconds"].get<double>() == Approx(4.096));
  CHECK(run["final_val_loss"].get<double>() == Approx(1.8).margin(0.02));
  const Json& difference = json["differences"][0];
  CHECK(difference["a"] == "uoe");
  CHECK(difference["b"] == "moe");
  CHECK(difference["ci95"].size() == 2);
  CHECK(difference["significant"].is_boolean());
}

TEST_CASE("the table fits 100 columns and holds sizes, losses, differences and verdicts") {
  SyntheticSpec long_name = uoe_spec();
  long_name.name = "a-very-long-name-für-a-union-of-experts-run-with-everything-in-its-name";
  long_name.sets = {"bible", "code"};
  const Comparison result = compare_runs(joined(seeds_of(long_name, {1, 2, 3}), seeds_of(moe_spec(1.85), {1, 2, 3})),
                                         CompareOptions{.equivalence_margin = 0.2});
  const std::string table = comparison_table(result);
  for (const char* part : {"3.46 M", "6.00 M", "81.9 K", "12.3 M", "significantly lower, within 0.2",
                           "paired t over 3 seeds", "model.routing.type: uoe | softmax", "not reached", "bible"}) {
    CAPTURE(part, table);
    CHECK(contains(table, part));
  }
  const FinalLosses& losses = result.groups[1].final_losses;
  CHECK(contains(table, format_mean(losses.mean(), losses.standard_deviation())));
  CHECK(widest_line(table) <= 100);
  CHECK_FALSE(contains(table, "Holm"));  // a single pair has nothing to allow for
}

TEST_CASE("the table of several pairs has p values for all of them together, and the numbers of the equivalence test") {
  SyntheticSpec aoe = moe_spec(1.8);
  aoe.name = "aoe-with-a-name-that-takes-more-room-than-there-is";
  aoe.routing = "aoe";
  const auto runs =
      joined(joined(seeds_of(uoe_spec(), {1, 2, 3}), seeds_of(moe_spec(1.85), {1, 2, 3})), seeds_of(aoe, {1, 2, 3}));
  CHECK_FALSE(contains(comparison_table(compare_runs(runs)), "Equivalence"));
  const Comparison result = compare_runs(runs, CompareOptions{.equivalence_margin = 0.02});
  const std::string table = comparison_table(result);
  CAPTURE(table);
  CHECK(contains(table, "p Holm"));
  CHECK(contains(table, "Equivalence: difference smaller than 0.02 nats"));
  for (const Difference& difference : result.differences) {
    CHECK(contains(table, format_p(difference.p_holm)));
    CHECK(contains(table, concat(format_interval(difference.equivalence->ci90), "  ")));
    CHECK(contains(table, format_p(difference.equivalence->p_value)));
  }
  CHECK(contains(table, "not shown"));
  CHECK(widest_line(table) <= 100);
}

}  // namespace
}  // namespace artel

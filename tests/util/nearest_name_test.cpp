#include "util/nearest_name.h"

#include "support/catch.h"

using namespace artel;

TEST_CASE("nearest_name finds the name that was meant") {
  const std::vector<std::string> names = {"num_experts", "num_experts_per_tok", "hidden_size", "lr",
                                          "steps",       "rope_theta"};
  CHECK(nearest_name("num_expert", names) == "num_experts");
  CHECK(nearest_name("num_experts_per_token", names) == "num_experts_per_tok");
  CHECK(nearest_name("hiden_size", names) == "hidden_size");
  CHECK(nearest_name("Hidden-Size", names) == "hidden_size");
  CHECK(nearest_name("setps", names) == "steps");
  CHECK(nearest_name("rl", names) == "lr");
  CHECK(nearest_name("steps", names) == "steps");
}

TEST_CASE("nearest_name stays silent when nothing is near") {
  const std::vector<std::string> names = {"num_experts", "lr", "beta"};
  CHECK(nearest_name("checkpoint", names).empty());
  CHECK(nearest_name("x", names).empty());
  CHECK(nearest_name("", names).empty());
  CHECK(nearest_name("abc", {}).empty());
  CHECK(nearest_name("a", {"b"}).empty());
}

TEST_CASE("nearest_name counts a transposition as one edit and takes the first among equals") {
  CHECK(nearest_name("abdc", {"abcd"}) == "abcd");
  CHECK(nearest_name("abdc", {"xbxc", "abcd"}) == "abcd");
  CHECK(nearest_name("bats", {"cats", "rats"}) == "cats");
}

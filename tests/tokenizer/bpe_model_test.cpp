#include "tokenizer/bpe_model.h"

#include "support/catch.h"
#include "tokenizer/golden_lines.h"

using namespace artel;

namespace {

// Letters a to d are ids 0 to 3; random merges make longer tokens.
BpeParts random_parts(GoldenRandom& random) {
  BpeParts parts;
  parts.byte_ids.fill(-1);
  std::vector<std::string> tokens = {"a", "b", "c", "d"};
  for (int32_t id = 0; id < 4; ++id) parts.byte_ids[static_cast<size_t>('a' + id)] = id;
  while (tokens.size() < 40) {
    const auto left = random.below(tokens.size()), right = random.below(tokens.size());
    tokens.push_back(tokens[left] + tokens[right]);
    parts.merges.emplace_back(left, right);
    parts.merged_ids.push_back(static_cast<int32_t>(tokens.size() - 1));
  }
  for (size_t id = 0; id < tokens.size(); ++id) parts.ids.emplace(tokens[id], static_cast<int32_t>(id));
  return parts;
}

std::vector<int32_t> encode(const BpeModel& model, std::string_view piece) {
  BpeModel::Workspace workspace;
  std::vector<int32_t> ids;
  model.encode(piece, workspace, ids);
  return ids;
}

}  // namespace

TEST_CASE("Short and long pieces are merged alike") {
  GoldenRandom random(5);
  BpeModel::Workspace workspace;
  for (int round = 0; round < 100; ++round) {
    const BpeModel model(random_parts(random));
    for (int i = 0; i < 50; ++i) {
      std::string piece;
      for (uint64_t size = 1 + random.below(80); size > 0; --size) piece += static_cast<char>('a' + random.below(4));
      std::vector<int32_t> by_short, by_long;
      model.encode_short(piece, workspace, by_short);
      model.encode_long(piece, workspace, by_long);
      REQUIRE(by_short == by_long);
    }
  }
}

TEST_CASE("The lowest rank is merged first, the leftmost of equals first") {
  BpeParts parts;
  parts.byte_ids.fill(-1);
  parts.byte_ids['a'] = 0;
  parts.byte_ids['b'] = 1;
  parts.merges = {{0, 1}, {0, 0}};
  parts.merged_ids = {2, 3};
  const BpeModel model(parts);
  CHECK(encode(model, "aaa") == std::vector<int32_t>{3, 0});
  CHECK(encode(model, "aab") == std::vector<int32_t>{0, 2});
  CHECK(encode(model, "ba") == std::vector<int32_t>{1, 0});
}

TEST_CASE("Bytes without a token become the unknown token, one for a run if fused, or nothing") {
  BpeParts parts;
  parts.byte_ids.fill(-1);
  parts.byte_ids['a'] = 0;
  CHECK(encode(BpeModel(parts), "xa??a") == std::vector<int32_t>{0, 0});
  parts.unknown_id = 9;
  CHECK(encode(BpeModel(parts), "xa??a") == std::vector<int32_t>{9, 0, 9, 9, 0});
  parts.fuse_unknown = true;
  CHECK(encode(BpeModel(parts), "xa??a") == std::vector<int32_t>{9, 0, 9, 0});
}

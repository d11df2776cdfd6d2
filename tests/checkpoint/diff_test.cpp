#include "checkpoint/diff.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "checkpoint/snapshots.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

TensorPiece floats(const std::string& name, const std::vector<float>& values) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  TensorPiece piece{name, shape, DType::f32, {0}, shape, {}};
  piece.bytes.resize(values.size() * sizeof(float));
  std::memcpy(piece.bytes.data(), values.data(), piece.bytes.size());
  return piece;
}

TensorPiece bf16s(const std::string& name, const std::vector<float>& values) {
  TensorPiece piece = floats(name, values);
  piece.dtype = DType::bf16;
  piece.bytes.clear();
  for (const float value : values) {
    const bf16 x = to_bf16(value);
    piece.bytes.push_back(static_cast<std::uint8_t>(x.bits & 0xffU));
    piece.bytes.push_back(static_cast<std::uint8_t>(x.bits >> 8));
  }
  return piece;
}

Snapshot snapshot_of(std::vector<TensorPiece> pieces) {
  Snapshot snapshot = make_snapshot(5);
  snapshot.pieces = std::move(pieces);
  return snapshot;
}

CheckpointDifference compare(const Snapshot& a, const Snapshot& b) {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Checkpoint first(files, save_checkpoint(files, directory.file("a"), a, 0));
  const Checkpoint second(files, save_checkpoint(files, directory.file("b"), b, 0));
  return compare_checkpoints(first, second);
}

}  // namespace

TEST_CASE("a checkpoint equals itself however it is cut into slices, and another run's name does not matter") {
  Snapshot whole = make_snapshot(5);
  whole.pieces = {make_whole("w", {6, 4}, DType::f32), make_whole("n", {4}, DType::bf16),
                  make_whole("s", {}, DType::i32)};
  Snapshot cut = whole;
  cut.pieces = {make_piece("w", {6, 4}, DType::f32, {0, 0}, {6, 3}),
                make_piece("w", {6, 4}, DType::f32, {0, 3}, {6, 4}), make_whole("n", {4}, DType::bf16),
                make_whole("s", {}, DType::i32)};
  cut.config["run"]["name"] = "other";
  const CheckpointDifference difference = compare(whole, cut);
  CHECK(difference.equal());
  CHECK(difference.tensors.size() == 3);
  REQUIRE(difference.config.size() == 1);
  CHECK(difference.config[0].key == "run.name");
  CHECK(difference_summary(difference) == "equal: step 5 and every bit of 3 tensors");
}

TEST_CASE("differences in value are counted and measured") {
  const CheckpointDifference difference =
      compare(snapshot_of({floats("w", {3.0F, 4.0F, 0.0F}), floats("same", {1.0F})}),
              snapshot_of({floats("w", {3.0F, 5.0F, -2.0F}), floats("same", {1.0F})}));
  CHECK_FALSE(difference.equal());
  CHECK(difference.num_tensors_that_differ() == 1);
  REQUIRE(difference.tensors.size() == 2);
  CHECK(difference.tensors[0].num_different == 0);
  const TensorDifference& w = difference.tensors[1];
  CHECK(w.name == "w");
  CHECK(w.num_elements == 3);
  CHECK(w.num_different == 2);
  CHECK(w.max_abs == 2.0);
  CHECK(w.relative_l2 == Approx(std::sqrt(5.0) / 5.0));
  CHECK(contains(difference_summary(difference), "different: 1 of 2 shared tensors differ in value"));
}

TEST_CASE("differences that no measure shows count all the same: the sign of zero, NaN, a tensor of zeros") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const CheckpointDifference difference = compare(
      snapshot_of({floats("nan", {nan}), floats("same nan", {nan}), floats("sign", {0.0F}), floats("zeros", {0.0F})}),
      snapshot_of(
          {floats("nan", {1.0F}), floats("same nan", {nan}), floats("sign", {-0.0F}), floats("zeros", {1.0F})}));
  REQUIRE(difference.tensors.size() == 4);
  CHECK(difference.tensors[0].num_different == 1);
  CHECK(std::isnan(difference.tensors[0].max_abs));
  CHECK(difference.tensors[1].num_different == 0);
  CHECK(difference.tensors[2].num_different == 1);
  CHECK(difference.tensors[2].max_abs == 0.0);
  CHECK(difference.tensors[3].relative_l2 == std::numeric_limits<double>::infinity());
  CHECK(parse_json(dump_json(difference_json(difference)), "json")["tensors"][0]["max_abs"].is_null());
}

TEST_CASE("tensors that are missing, of another shape or of another type are told apart") {
  const CheckpointDifference difference =
      compare(snapshot_of({floats("a", {1.0F}), floats("shape", {1.0F, 2.0F}), floats("type", {1.0F, 0.5F})}),
              snapshot_of({floats("b", {1.0F}), floats("shape", {1.0F}), bf16s("type", {1.0F, 0.25F})}));
  CHECK(difference.only_in_a == std::vector<std::string>{"a"});
  CHECK(difference.only_in_b == std::vector<std::string>{"b"});
  REQUIRE(difference.mismatches.size() == 2);
  CHECK(difference.mismatches[0].name == "shape");
  CHECK(difference.mismatches[0].a == "f32 [2]");
  CHECK(difference.mismatches[1].b == "bf16 [2]");
  REQUIRE(difference.tensors.size() == 1);  // values are compared across types
  CHECK(difference.tensors[0].num_different == 1);
  CHECK(difference.tensors[0].max_abs == 0.25);
  // A type alone makes a difference, even when every value is the same.
  CHECK_FALSE(compare(snapshot_of({floats("t", {1.0F})}), snapshot_of({bf16s("t", {1.0F})})).equal());
}

TEST_CASE("another step and another config key are differences; a key that one lacks is absent") {
  Snapshot a = make_snapshot(5);
  Snapshot b = make_snapshot(6);
  b.pieces = a.pieces;
  CHECK_FALSE(compare(a, b).equal());
  b.step = 5;
  CHECK(compare(a, b).equal());
  b.config["run"]["seed"] = 8;
  b.config["model"]["qk_norm"] = true;
  const CheckpointDifference difference = compare(a, b);
  CHECK_FALSE(difference.equal());
  const Json json = difference_json(difference);
  CHECK(json["equal"] == false);
  REQUIRE(json["config"].size() == 2);
  CHECK(json["config"][0] == Json({{"key", "model.qk_norm"}, {"a", nullptr}, {"b", true}}));
  CHECK(json["config"][1] == Json({{"key", "run.seed"}, {"a", 7}, {"b", 8}}));
  CHECK(contains(difference_summary(difference), "config keys that differ: 2"));
}

TEST_CASE("a tensor of more elements than are compared at once differs in its last one") {
  const std::int64_t count = (std::int64_t{1} << 22) + 3;
  std::vector<float> values(static_cast<std::size_t>(count), 1.0F);
  const Snapshot a = snapshot_of({floats("w", values)});
  values.back() = 2.0F;
  const CheckpointDifference difference = compare(a, snapshot_of({floats("w", values)}));
  CHECK(difference.tensors.at(0).num_different == 1);
  CHECK(difference.tensors.at(0).max_abs == 1.0);
}

#include "checkpoint/store.h"

#include <algorithm>
#include <ctime>

#include "checkpoint/snapshots.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/failing_file_layer.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

using Pieces = std::vector<TensorPiece>;

Snapshot snapshot_of(Pieces pieces) {
  Snapshot snapshot = make_snapshot(1);
  snapshot.pieces = std::move(pieces);
  return snapshot;
}

Checkpoint save_and_open(UnsyncedFileLayer& files, const TemporaryDirectory& directory, const Snapshot& snapshot) {
  return Checkpoint(files, save_checkpoint(files, directory.file("checkpoints"), snapshot, 0));
}

SortedJson sorted(const Json& json) {
  return json;
}

std::string save_error(Pieces pieces) {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const std::string text =
      error_text([&] { save_checkpoint(files, directory.file("checkpoints"), snapshot_of(std::move(pieces)), 0); });
  CHECK(files.list(directory.file("checkpoints")).empty());
  return text;
}

// Reads every rectangle of a tensor of at most three dimensions. Returns how many are wrong.
int count_wrong_rectangles(const Checkpoint& checkpoint, const std::string& name, const Shape& shape, DType dtype) {
  int num_wrong = 0;
  std::vector<Rectangle> rectangles = {{}};
  for (int dim = 0; dim < shape.rank(); ++dim) {
    std::vector<Rectangle> longer;
    for (const Rectangle& rectangle : rectangles) {
      for (std::int64_t begin = 0; begin <= shape[dim]; ++begin) {
        for (std::int64_t end = begin; end <= shape[dim]; ++end) {
          longer.push_back(rectangle);
          longer.back().begin.push_back(begin);
          longer.back().end.push_back(end);
        }
      }
    }
    rectangles = longer;
  }
  for (const Rectangle& rectangle : rectangles) {
    const std::vector<std::uint8_t> expected = element_bytes(name, shape, dtype, rectangle, 0);
    std::vector<std::uint8_t> found(expected.size() + 1, 0xee);  // one more, which must stay as it is
    checkpoint.read(name, rectangle.begin, rectangle.end, found.data());
    const bool guard_stands = found.back() == 0xee;
    found.pop_back();
    if (found != expected || !guard_stands) ++num_wrong;
  }
  return num_wrong;
}

}  // namespace

TEST_CASE("a checkpoint gives back what was saved") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Snapshot snapshot = make_snapshot(200);
  const std::string path = save_checkpoint(files, directory.file("run/checkpoints"), snapshot, 3);
  CHECK(path == directory.file("run/checkpoints/step-00000200"));
  const Checkpoint checkpoint(files, path);
  CHECK(checkpoint.path() == path);
  CHECK(checkpoint.step() == 200);
  CHECK(checkpoint.tokens() == 819200);
  CHECK(sorted(checkpoint.manifest()["config"]) == sorted(snapshot.config));
  CHECK(sorted(checkpoint.manifest()["data"]) == sorted(snapshot.data));
  CHECK(sorted(checkpoint.manifest()["world"]) == sorted(snapshot.world));
  CHECK(sorted(checkpoint.manifest()["trainer"]) == sorted(snapshot.trainer));
  CHECK(checkpoint.manifest()["rng"]["seed"] == 7);
  CHECK(checkpoint.tensors().size() == 3);
  CHECK(checkpoint.contains("model.norm.weight"));
  CHECK_FALSE(checkpoint.contains("model.norm"));
  const Checkpoint::TensorInfo& info = checkpoint.tensors().at("model.layers.0.mlp.experts.0.down_proj.weight");
  CHECK(info.shape == Shape{3, 5});
  CHECK(info.dtype == DType::bf16);
  CHECK(info.num_slices == 4);
  CHECK(holds(checkpoint, snapshot));
  CHECK_FALSE(holds(checkpoint, make_snapshot(200, 1)));
  checkpoint.verify();
  CHECK(files.list(path) ==
        std::vector<std::string>{"manifest.json", "model-00000.safetensors", "optimizer-00000.safetensors"});
  CHECK(files.read(directory.file("run/checkpoints/latest")) == "step-00000200\n");
}

TEST_CASE("any rectangle is read, however the tensor was cut") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const std::vector<DType> types = {DType::f32, DType::bf16, DType::f64, DType::i32};
  for (const DType dtype : types) {
    const std::string suffix = dtype_name(dtype);
    Pieces pieces = {make_whole("whole" + suffix, {3, 4}, dtype),
                     make_piece("rows" + suffix, {3, 4}, dtype, {0, 0}, {1, 4}),
                     make_piece("rows" + suffix, {3, 4}, dtype, {1, 0}, {3, 4}),
                     make_piece("columns" + suffix, {3, 4}, dtype, {0, 3}, {3, 4}),
                     make_piece("columns" + suffix, {3, 4}, dtype, {0, 0}, {3, 1}),
                     make_piece("columns" + suffix, {3, 4}, dtype, {0, 1}, {3, 3}),
                     make_piece("wheel" + suffix, {3, 4}, dtype, {0, 0}, {1, 3}),
                     make_piece("wheel" + suffix, {3, 4}, dtype, {0, 3}, {2, 4}),
                     make_piece("wheel" + suffix, {3, 4}, dtype, {2, 1}, {3, 4}),
                     make_piece("wheel" + suffix, {3, 4}, dtype, {1, 0}, {3, 1}),
                     make_piece("wheel" + suffix, {3, 4}, dtype, {1, 1}, {2, 3}),
                     make_piece("vector" + suffix, {5}, dtype, {2}, {5}),
                     make_piece("vector" + suffix, {5}, dtype, {0}, {2}),
                     make_piece("cube" + suffix, {2, 3, 2}, dtype, {0, 0, 0}, {2, 2, 1}),
                     make_piece("cube" + suffix, {2, 3, 2}, dtype, {0, 0, 1}, {1, 3, 2}),
                     make_piece("cube" + suffix, {2, 3, 2}, dtype, {0, 2, 0}, {2, 3, 1}),
                     make_piece("cube" + suffix, {2, 3, 2}, dtype, {1, 0, 1}, {2, 3, 2}),
                     make_whole("scalar" + suffix, {}, dtype)};
    const Checkpoint checkpoint = save_and_open(files, directory, snapshot_of(pieces));
    CHECK(checkpoint.tensors().at("wheel" + suffix).num_slices == 5);
    for (const char* name : {"whole", "rows", "columns", "wheel"}) {
      INFO(name << suffix);
      CHECK(count_wrong_rectangles(checkpoint, name + suffix, {3, 4}, dtype) == 0);
    }
    CHECK(count_wrong_rectangles(checkpoint, "vector" + suffix, {5}, dtype) == 0);
    CHECK(count_wrong_rectangles(checkpoint, "cube" + suffix, {2, 3, 2}, dtype) == 0);
    CHECK(count_wrong_rectangles(checkpoint, "scalar" + suffix, {}, dtype) == 0);
  }
}

TEST_CASE("a rectangle outside the tensor and an unknown tensor are errors") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Checkpoint checkpoint = save_and_open(files, directory, make_snapshot(1));
  std::vector<char> out(1000);
  const auto read = [&](const std::string& name, const Shape& begin, const Shape& end) {
    return error_text([&] { checkpoint.read(name, begin, end, out.data()); });
  };
  CHECK(read("model.norm.weight", {0}, {4}) ==
        "[checkpoint] required a rectangle within [3], found [0] to [4] in tensor model.norm.weight of " +
            checkpoint.path());
  CHECK(contains(read("model.norm.weight", {2}, {1}), "found [2] to [1]"));
  CHECK(contains(read("model.norm.weight", {0, 0}, {1, 1}), "found [0, 0] to [1, 1]"));
  CHECK(contains(read("model.norm.weight", {0}, {1, 1}), "found [0] to [1, 1]"));
  CHECK(contains(read("model.norm", {0}, {1}), "required tensor model.norm, found none of that name in "));
}

TEST_CASE("pieces that could not be read back are not written") {
  const std::string name = "model.w";
  const auto piece = [&](const Shape& begin, const Shape& end) {
    return make_piece(name, {2, 4}, DType::f32, begin, end);
  };
  CHECK(save_error({piece({0, 0}, {2, 3})}) ==
        "[checkpoint] required slices that cover [2, 4], 8 elements, found 6 in tensor model.w");
  CHECK(contains(save_error({piece({0, 0}, {2, 3}), piece({0, 2}, {2, 4})}),
                 "required slices that do not overlap, found [0, 0] to [2, 3] and [0, 2] to [2, 4] in tensor model.w"));
  CHECK(contains(save_error({piece({0, 0}, {2, 4}), piece({0, 0}, {2, 4})}), "do not overlap"));
  // As many elements as the whole, but not the whole.
  CHECK(contains(save_error({piece({0, 0}, {2, 2}), piece({0, 1}, {2, 3})}), "do not overlap"));
  CHECK(contains(save_error({piece({0, 0}, {2, 4}), make_whole(name, {2, 4}, DType::bf16)}),
                 "required pieces of one shape and type, found [2, 4] f32 and [2, 4] bf16 in piece of tensor model.w"));
  CHECK(contains(save_error({piece({0, 0}, {2, 4}), make_whole(name, {8}, DType::f32)}), "pieces of one shape"));
  TensorPiece outside = piece({0, 0}, {2, 4});
  outside.end = {2, 5};
  CHECK(contains(save_error({outside}), "required a rectangle within [2, 4], found [0, 0] to [2, 5]"));
  TensorPiece lacking = piece({0, 0}, {2, 4});
  lacking.bytes.pop_back();
  CHECK(save_error({lacking}) == "[checkpoint] required 32 bytes, found 31 in piece of tensor model.w");
  TensorPiece nothing = lacking;
  nothing.bytes.clear();
  CHECK(contains(save_error({nothing}), "required 32 bytes, found 0"));
}

TEST_CASE("a negative step is an error") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  CHECK(error_text([&] { save_checkpoint(files, directory.path(), make_snapshot(-1), 0); }) ==
        "[checkpoint] required a step of at least 0, found -1");
}

TEST_CASE("empty tensors and empty pieces are kept as what they are") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Checkpoint checkpoint = save_and_open(
      files, directory,
      snapshot_of({make_whole("none", {0, 4}, DType::f32), make_piece("w", {2, 2}, DType::f32, {0, 0}, {0, 2}),
                   make_piece("w", {2, 2}, DType::f32, {0, 0}, {2, 2}),
                   make_piece("w", {2, 2}, DType::f32, {2, 0}, {2, 2})}));
  CHECK(checkpoint.tensors().at("none").shape == Shape{0, 4});
  CHECK(checkpoint.tensors().at("w").num_slices == 1);
  CHECK(count_wrong_rectangles(checkpoint, "none", {0, 4}, DType::f32) == 0);
  CHECK(count_wrong_rectangles(checkpoint, "w", {2, 2}, DType::f32) == 0);
}

TEST_CASE("a checkpoint without tensors is possible") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Checkpoint checkpoint = save_and_open(files, directory, snapshot_of({}));
  CHECK(checkpoint.tensors().empty());
  CHECK(files.list(checkpoint.path()) == std::vector<std::string>{"manifest.json"});
}

TEST_CASE("tensors lie on multiples of their element size in the file") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const Checkpoint checkpoint =
      save_and_open(files, directory,
                    snapshot_of({make_whole("a", {3}, DType::bf16), make_whole("b", {1}, DType::f32),
                                 make_whole("c", {1}, DType::bf16), make_whole("d", {1}, DType::f64)}));
  const std::string file = files.read(join_path(checkpoint.path(), "model-00000.safetensors"));
  CHECK(contains(file, R"("d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],)"
                       R"("data_offsets":[8,12]},"a":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]},"c":)"));
  checkpoint.verify();
}

TEST_CASE("the manifest has the shape that independent readers depend on") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  Snapshot snapshot = make_snapshot(200);
  const std::string path = save_checkpoint(files, directory.path(), snapshot, 0);
  const auto crc = [&](std::size_t piece) {
    return crc32c_hex(crc32c(snapshot.pieces[piece].bytes.data(), snapshot.pieces[piece].bytes.size()));
  };
  const std::string down = "model.layers.0.mlp.experts.0.down_proj.weight";
  const auto slice = [&](const std::string& key, const std::string& begin, const std::string& end, std::size_t piece,
                         const std::string& file = "model") {
    return R"({"file":")" + file + R"(-00000.safetensors","key":")" + key + R"(","begin":)" + begin + R"(,"end":)" +
           end + R"(,"crc32c":")" + crc(piece) + R"("})";
  };
  std::string expected = R"({
 "format": "artel-checkpoint",
 "version": 1,
 "step": 200,
 "tokens": 819200,
 "config": {"run":{"name":"tiny","seed":7}},
 "data": {"next_sample":3200},
 "rng": {"algorithm":"philox4x32-10","seed":7},
 "world": {"size":1,"expert":1},
 "trainer": {"attempt":1},
 "tensors": {
  ")" + down + R"(": {"dtype":"BF16","shape":[3,5],"slices":[)" +
                         slice(down + "@[0, 0]", "[0,0]", "[2,2]", 1) + "," +
                         slice(down + "@[0, 2]", "[0,2]", "[2,5]", 2) + "," +
                         slice(down + "@[2, 0]", "[2,0]", "[3,4]", 3) + "," +
                         slice(down + "@[2, 4]", "[2,4]", "[3,5]", 4) + R"(]},
  "model.norm.weight": {"dtype":"BF16","shape":[3],"slices":[)" +
                         slice("model.norm.weight", "[0]", "[3]", 0) + R"(]},
  "optimizer.exp_avg.model.norm.weight": {"dtype":"F32","shape":[3],"slices":[)" +
                         slice("optimizer.exp_avg.model.norm.weight", "[0]", "[3]", 5, "optimizer") + R"(]}
 })";
  const std::string checksum = crc32c_hex(crc32c(expected.data(), expected.size()));
  expected += ",\n \"manifest_crc32c\": \"" + checksum + "\"\n}\n";
  const std::string text = files.read(join_path(path, "manifest.json"));
  CHECK(text == expected);
  const Json json = parse_json(text, "manifest");
  CHECK(json["tensors"][down]["slices"][3]["begin"] == Json{2, 4});
}

TEST_CASE("only committed checkpoints are listed, newest first, and foreign files are let alone") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const std::string checkpoints = directory.file("checkpoints");
  CHECK(list_checkpoints(files, checkpoints).empty());
  for (const std::int64_t step : {5, 900, 123456789}) save_checkpoint(files, checkpoints, make_snapshot(step), 0);
  const std::vector<std::string> foreign = {
      "step-",          "step-1",           "step-000000005",           "step-00000x07", "step-00000",
      "step-0000001",   "step--0000001",    "step-00000005.bak",        "best",          ".tmp-mine",
      "xstep-00000005", ".superseded-best", "step-99999999999999999999"};
  for (const std::string& name : foreign) files.make_directory(join_path(checkpoints, name));
  files.make_directory(join_path(checkpoints, ".tmp-step-00000077"));
  write_plain(join_path(checkpoints, "step-00000042"), "a file");
  write_plain(join_path(checkpoints, "notes.txt"), "a file");
  CHECK(list_checkpoints(files, checkpoints) == std::vector<std::string>{join_path(checkpoints, "step-123456789"),
                                                                         join_path(checkpoints, "step-00000900"),
                                                                         join_path(checkpoints, "step-00000005")});
  save_checkpoint(files, checkpoints, make_snapshot(123456790), 1);
  CHECK(list_checkpoints(files, checkpoints) == std::vector<std::string>{join_path(checkpoints, "step-123456790")});
  for (const std::string& name : foreign) CHECK(files.exists(join_path(checkpoints, name)));
  CHECK(files.exists(join_path(checkpoints, "step-00000042")));
  CHECK(files.exists(join_path(checkpoints, "notes.txt")));
  CHECK_FALSE(files.exists(join_path(checkpoints, ".tmp-step-00000077")));
  CHECK(list_checkpoints(files, join_path(checkpoints, "notes.txt")).empty());
}

TEST_CASE("keep leaves the newest checkpoints, 0 all of them") {
  for (const std::int64_t keep : {0, 1, 2, 3}) {
    const TemporaryDirectory directory;
    UnsyncedFileLayer files;
    for (std::int64_t step = 1; step <= 5; ++step) {
      save_checkpoint(files, directory.path(), make_snapshot(step), keep);
      const std::vector<std::string> found = list_checkpoints(files, directory.path());
      CHECK(static_cast<std::int64_t>(found.size()) == (keep == 0 ? step : std::min(step, keep)));
      CHECK(Checkpoint(files, found.front()).step() == step);
      CHECK(files.read(directory.file("latest")) == "step-0000000" + std::to_string(step) + "\n");
    }
  }
}

TEST_CASE("a run that went back behind its checkpoints goes on from its own") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  const std::string root = directory.path();
  const auto report = [](const std::string& text) { FAIL_CHECK(text); };
  for (const std::int64_t step : {100, 200, 300}) save_checkpoint(files, root, make_snapshot(step), 4);
  save_checkpoint(files, root, make_snapshot(200, 1), 4);
  CHECK(list_checkpoints(files, root) == std::vector<std::string>{directory.file("step-00000200"),
                                                                  directory.file("step-00000100"),
                                                                  directory.file(".superseded-step-00000300"),
                                                                  directory.file(".superseded-step-00000200")});
  CHECK(holds(*open_newest(files, root, report), make_snapshot(200, 1)));
  CHECK(files.read(directory.file("latest")) == "step-00000200\n");
  // Set aside a second time: the older one of that name goes.
  save_checkpoint(files, root, make_snapshot(150, 2), 0);
  CHECK(holds(Checkpoint(files, directory.file(".superseded-step-00000200")), make_snapshot(200, 1)));
  CHECK(holds(Checkpoint(files, directory.file(".superseded-step-00000300")), make_snapshot(300)));
  CHECK(holds(*open_newest(files, root, report), make_snapshot(150, 2)));
  // Those set aside are the first to go.
  save_checkpoint(files, root, make_snapshot(160, 2), 4);
  CHECK(list_checkpoints(files, root) ==
        std::vector<std::string>{directory.file("step-00000160"), directory.file("step-00000150"),
                                 directory.file("step-00000100"), directory.file(".superseded-step-00000300")});
  save_checkpoint(files, root, make_snapshot(170, 2), 2);
  CHECK(list_checkpoints(files, root) ==
        std::vector<std::string>{directory.file("step-00000170"), directory.file("step-00000160")});
}

TEST_CASE("files, names and the parent directory are synced before what depends on them") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer disk;
  save_checkpoint(disk, directory.file("c"), make_snapshot(100), 1);
  FailingFileLayer files(disk);
  save_checkpoint(files, directory.file("c"), make_snapshot(200), 1);
  std::vector<std::string> calls;
  for (std::string call : files.calls()) {
    for (std::size_t at = call.find(directory.path()); at != std::string::npos; at = call.find(directory.path())) {
      call.erase(at, directory.path().size() + 1);
    }
    if (calls.empty() || calls.back() != call) calls.push_back(call);
  }
  const std::string tmp = "c/.tmp-step-00000200";
  std::vector<std::string> expected = {"make_directory c", "fsync_directory ", "make_directory " + tmp};
  for (const char* name : {"/model-00000.safetensors", "/optimizer-00000.safetensors", "/manifest.json"}) {
    for (const char* call : {"open_write ", "write ", "fsync ", "close "}) expected.push_back(call + tmp + name);
  }
  for (const char* call :
       {"fsync_directory c/.tmp-step-00000200", "rename c/.tmp-step-00000200 to c/step-00000200", "fsync_directory c",
        "open_write c/latest.tmp", "write c/latest.tmp", "fsync c/latest.tmp", "close c/latest.tmp",
        "rename c/latest.tmp to c/latest", "fsync_directory c", "remove c/.tmp-removed",
        "rename c/step-00000100 to c/.tmp-removed", "remove c/.tmp-removed"}) {
    expected.emplace_back(call);
  }
  // The parent's own path has no name left after its prefix was cut away.
  CHECK(calls[1].rfind("fsync_directory", 0) == 0);
  calls[1] = "fsync_directory ";
  CHECK(calls == expected);
}

TEST_CASE("the time to save and open a checkpoint grows as the number of its tensors") {
  const auto seconds_for = [](int num_tensors) {
    const TemporaryDirectory directory;
    UnsyncedFileLayer files;
    Pieces pieces;
    for (int i = 0; i < num_tensors; ++i) {
      const std::string name = "model.layers.0.mlp.experts." + std::to_string(i) + ".gate_proj.weight";
      pieces.push_back(make_piece(name, {2}, DType::bf16, {0}, {1}));
      pieces.push_back(make_piece(name, {2}, DType::bf16, {1}, {2}));
    }
    const Snapshot snapshot = snapshot_of(std::move(pieces));
    const std::clock_t start = std::clock();  // of the processor, which other processes do not stretch
    save_and_open(files, directory, snapshot).verify();
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  seconds_for(500);
  CHECK(seconds_for(4000) < 24.0 * seconds_for(500));
}

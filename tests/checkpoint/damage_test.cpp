#include <functional>

#include "checkpoint/manifest.h"
#include "checkpoint/snapshots.h"
#include "checkpoint/store.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "util/text.h"

using namespace artel;

namespace {

constexpr const char* down = "model.layers.0.mlp.experts.0.down_proj.weight";

// A checkpoint whose files a test damages and mends again.
class Damaged {
 public:
  Damaged() : path_(save_checkpoint(files_, directory_.path(), make_snapshot(1), 0)) {}

  std::string file(const std::string& name) const { return join_path(path_, name); }
  std::string text(const std::string& name) { return files_.read(file(name)); }
  void write(const std::string& name, const std::string& bytes) { write_plain(file(name), bytes); }
  void remove(const std::string& name) { files_.remove(file(name)); }
  /// Of opening and verifying.
  std::string error() {
    return error_text([&] { Checkpoint(files_, path_).verify(); });
  }
  /// The same after this change to the manifest, its checksum put right.
  std::string error_after(const std::function<void(Json&)>& change) {
    const std::string before = text("manifest.json");
    Json manifest = parse_json(before, "manifest");
    change(manifest);
    manifest.erase("manifest_crc32c");
    std::string changed = dump_json(manifest, 1);
    changed.resize(changed.size() - 2);  // the closing line
    const std::string checksum = crc32c_hex(crc32c(changed.data(), changed.size()));
    write("manifest.json", changed + ",\n \"manifest_crc32c\": \"" + checksum + "\"\n}\n");
    const std::string found = error();
    write("manifest.json", before);
    return found;
  }
  const std::string& path() const { return path_; }

 private:
  TemporaryDirectory directory_;
  UnsyncedFileLayer files_;
  std::string path_;
};

bool is_one_line(const std::string& text) {
  return text.find('\n') == std::string::npos && text.size() < 700;
}

}  // namespace

TEST_CASE("every changed byte of the tensor data is found") {
  Damaged checkpoint;
  for (const std::string name : {"model-00000.safetensors", "optimizer-00000.safetensors"}) {
    const std::string before = checkpoint.text(name);
    const std::size_t data = 8 + static_cast<unsigned char>(before[0]) + 256U * static_cast<unsigned char>(before[1]);
    REQUIRE(data < before.size());
    for (std::size_t i = data; i < before.size(); ++i) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string after = before;
        after[i] = static_cast<char>(after[i] ^ flip);
        checkpoint.write(name, after);
        const std::string text = checkpoint.error();
        INFO("byte " << i << ": " << text);
        CHECK(contains(text, "[checkpoint] required CRC-32C "));
        CHECK(contains(text, checkpoint.file(name) + "; the file is damaged"));
        CHECK(contains(text, name[0] == 'o' ? "tensor optimizer.exp_avg.model.norm.weight, " : "tensor model."));
      }
    }
    checkpoint.write(name, before);
    CHECK(checkpoint.error() == "(no error)");
  }
}

TEST_CASE("every changed byte of a file's header is found or harmless") {
  Damaged checkpoint;
  const std::string name = "model-00000.safetensors";
  const std::string before = checkpoint.text(name);
  const std::size_t data = 8 + static_cast<unsigned char>(before[0]) + 256U * static_cast<unsigned char>(before[1]);
  const std::size_t metadata = before.find("\"__metadata__\"");
  const std::size_t metadata_end = before.find('}', metadata);
  for (std::size_t i = 0; i < data; ++i) {
    std::string after = before;
    after[i] = static_cast<char>(after[i] ^ (1 << (i % 8)));
    checkpoint.write(name, after);
    const std::string text = checkpoint.error();
    INFO("byte " << i << ": " << text);
    // What the metadata say is not used, and a space may become another white space.
    const bool harmless = (i > metadata && i < metadata_end) || before[i] == ' ';
    CHECK((harmless || contains(text, checkpoint.path())));
    CHECK(is_one_line(text));
  }
}

TEST_CASE("every changed byte of the manifest is found") {
  Damaged checkpoint;
  const std::string before = checkpoint.text("manifest.json");
  std::string after = before;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool in_checksum = i + 40 > before.size();  // which the error quotes
    for (int flip = 1; flip < 256; flip += in_checksum ? 1 : flip) {
      after[i] = static_cast<char>(before[i] ^ flip);
      const std::string text = error_text([&] { parse_manifest(after, "dir/manifest.json"); });
      if (contains(text, "dir/manifest.json") && is_one_line(text)) continue;
      FAIL_CHECK("byte " << i << " changed by " << flip << ": " << text);
    }
    after[i] = before[i];
  }
  CHECK(parse_manifest(after, "dir/manifest.json").tensors.size() == 3);
  after[after.find("\"step\": 1") + 8] = '2';
  checkpoint.write("manifest.json", after);
  CHECK(contains(checkpoint.error(), checkpoint.file("manifest.json") + "; the manifest is damaged"));
}

TEST_CASE("every file cut short or grown is found") {
  Damaged checkpoint;
  for (const std::string name : {"manifest.json", "model-00000.safetensors", "optimizer-00000.safetensors"}) {
    const std::string before = checkpoint.text(name);
    for (std::size_t size = 0; size<before.size(); size += before.size() - size> 50 ? 7 : 1) {
      checkpoint.write(name, before.substr(0, size));
      const std::string text = checkpoint.error();
      INFO(size << " bytes: " << text);
      CHECK(contains(text, checkpoint.file(name)));
      CHECK(is_one_line(text));
    }
    checkpoint.write(name, before + "\n");
    CHECK(contains(checkpoint.error(), checkpoint.file(name)));
    checkpoint.remove(name);
    CHECK(contains(checkpoint.error(), name == "manifest.json" ? checkpoint.path() : checkpoint.file(name)));
    checkpoint.write(name, before);
  }
  CHECK(checkpoint.error() == "(no error)");
}

TEST_CASE("a manifest of another format or version is refused as such") {
  Damaged checkpoint;
  CHECK(contains(checkpoint.error_after([](Json& m) { m["version"] = 2; }),
                 "required format artel-checkpoint version 1, found \"artel-checkpoint\" version 2 in " +
                     checkpoint.file("manifest.json") + "; read it with the Artel that wrote it"));
  CHECK(contains(checkpoint.error_after([](Json& m) { m["format"] = "other"; }), "found \"other\" version 1"));
  CHECK(contains(checkpoint.error_after([](Json& m) { m.erase("version"); }), "required member \"version\""));
  checkpoint.write("manifest.json", R"({"format": "artel-checkpoint", "version": 2})");
  CHECK(contains(checkpoint.error(), "version 2"));
  checkpoint.write("manifest.json", R"({"format": "artel-checkpoint", "version": 1, "tensors": {}})");
  CHECK(contains(checkpoint.error(), "required a checksum at the end of the manifest, found none in "));
  checkpoint.write("manifest.json", "[]");
  CHECK(contains(checkpoint.error(), concat("[", checkpoint.file("manifest.json"), "] required")));
  checkpoint.write("manifest.json", "");
  CHECK(contains(checkpoint.error(), "found the empty file " + checkpoint.file("manifest.json")));
  checkpoint.write("manifest.json", "{");
  CHECK(contains(checkpoint.error(), "found 1 bytes that are none: [" + checkpoint.file("manifest.json")));
}

TEST_CASE("a wrong member of a manifest is one line that names file and tensor") {
  Damaged checkpoint;
  using Change = std::function<void(Json&)>;
  const auto in_tensor = [](const std::function<void(Json&)>& change) -> Change {
    return [change](Json& m) { change(m["tensors"][down]); };
  };
  const auto in_slice = [](const std::string& key, const Json& value) -> Change {
    return [=](Json& m) { m["tensors"][down]["slices"][1][key] = value; };
  };
  const std::vector<std::pair<Change, std::string>> cases = {
      {in_tensor([](Json& t) { t = 7; }), "required an object"},
      {in_tensor([](Json& t) { t.erase("shape"); }), "\"shape\""},
      {in_tensor([](Json& t) {
         t["shape"] = {3, -5};
       }),
       "found [3,-5]"},
      {in_tensor([](Json& t) {
         t["shape"] = {3, 5, 1, 1, 1};
       }),
       "at most 4 integers"},
      {in_tensor([](Json& t) {
         t["shape"] = {1 << 30, 1 << 30};
       }),
       "product of at most 2^56"},
      {in_tensor([](Json& t) {
         t["shape"] = {3, 6};
       }),
       "cover [3, 6], 18 elements, found 15"},
      {in_tensor([](Json& t) {
         t["shape"] = {3, 4};
       }),
       "required a rectangle within [3, 4]"},
      {in_tensor([](Json& t) { t["shape"] = {15}; }), "required a rectangle within [15]"},
      {in_tensor([](Json& t) { t["dtype"] = "F8"; }), "required dtype"},
      {in_tensor([](Json& t) { t["dtype"] = 16; }), "\"dtype\" required a string"},
      {in_tensor([](Json& t) { t["dtype"] = "F32"; }), "required [2, 2] of F32"},
      {in_tensor([](Json& t) { t.erase("slices"); }), "\"slices\""},
      {in_tensor([](Json& t) { t["slices"] = 7; }), "required a list of slices, found 7"},
      {in_tensor([](Json& t) { t["slices"] = {7}; }), "required an object"},
      {in_tensor([](Json& t) { t["slices"] = nullptr; }), "required a list of slices, found null"},
      {in_tensor([](Json& t) { t["slices"] = Json::array(); }), "cover [3, 5], 15 elements, found 0"},
      {in_tensor([](Json& t) { t["slices"].erase(2); }), "cover [3, 5], 15 elements, found 11"},
      {in_tensor([](Json& t) { t["slices"].push_back(t["slices"][2]); }), "do not overlap"},
      {in_slice("file", "../model-00000.safetensors"), "required the name of a file beside the manifest"},
      {in_slice("file", ""), "required the name of a file beside the manifest"},
      {in_slice("file", 7), "\"file\" required a string"},
      {in_slice("key", "nothing"), "required entry nothing of tensor"},
      {in_slice("key", "model.norm.weight"), "found [3] of BF16"},
      {in_slice("begin", {0, 1}), "do not overlap"},
      {in_slice("begin", {0, 3}), "elements, found 13"},
      {in_slice("begin", {0}), "required a rectangle within [3, 5]"},
      {in_slice("begin", 0), "required a list of at most 4 integers"},
      {in_slice("begin", {0, -1}), "found [0,-1]"},
      {in_slice("end", {2, 6}), "required a rectangle within [3, 5], found [0, 2] to [2, 6]"},
      {in_slice("end", {2, 1}), "required a rectangle within [3, 5], found [0, 2] to [2, 1]"},
      {in_slice("crc32c", "00000000"), "required CRC-32C 00000000 for [0, 2] to [2, 5]"},
      {in_slice("crc32c", "0000000"), "required a CRC-32C of 8 hexadecimal digits"},
      {in_slice("crc32c", "0000000X"), "required a CRC-32C of 8 hexadecimal digits"},
      {in_slice("crc32c", 7), "\"crc32c\" required a string"},
  };
  for (const auto& [change, part] : cases) {
    const std::string text = checkpoint.error_after(change);
    INFO(text);
    CHECK(contains(text, part));
    CHECK(contains(text, checkpoint.path()));
    CHECK(contains(text, std::string("tensor ") + down));
    CHECK(is_one_line(text));
  }
  CHECK(contains(checkpoint.error_after([](Json& m) { m["tensors"] = 7; }), "required an object \"tensors\""));
  CHECK(contains(checkpoint.error_after([](Json& m) { m.erase("tensors"); }), "required an object \"tensors\""));
  CHECK(contains(checkpoint.error_after([](Json& m) { m["step"] = "1"; }), "\"step\" required an integer"));
  CHECK(contains(checkpoint.error_after([](Json& m) { m.erase("tokens"); }), "\"tokens\""));
  CHECK(contains(checkpoint.error_after(in_slice("file", "gone.safetensors")), "gone.safetensors: No such file"));
  CHECK(checkpoint.error_after([](Json& m) { m["extra"] = 7; }) == "(no error)");
}

TEST_CASE("a directory that is no checkpoint is refused") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  CHECK(error_text([&] { Checkpoint(files, directory.path()); }) ==
        "[checkpoint] required a checkpoint directory with manifest.json, found none at " + directory.path() +
            "; mend the path");
  CHECK(contains(error_text([&] { Checkpoint(files, directory.file("none")); }), "found none at "));
}

TEST_CASE("a damaged slice is refused when it is read, the others are not looked at") {
  Damaged checkpoint;
  std::string bytes = checkpoint.text("model-00000.safetensors");
  bytes.back() ^= 1;  // of the last slice, rows 2..3, column 4
  checkpoint.write("model-00000.safetensors", bytes);
  UnsyncedFileLayer files;
  const Checkpoint opened(files, checkpoint.path());
  std::vector<std::uint8_t> out(30);
  opened.read(down, {0, 0}, {2, 5}, out.data());
  opened.read(down, {0, 0}, {3, 4}, out.data());
  CHECK(contains(error_text([&] {
                   opened.read(down, {2, 3}, {3, 5}, out.data());
                 }),
                 "for [2, 4] to [3, 5] of tensor " + std::string(down)));
}

TEST_CASE("a damaged newest checkpoint is reported and the one before it used") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  std::vector<std::string> reports;
  const auto report = [&](const std::string& text) { reports.push_back(text); };
  CHECK(open_newest(files, directory.file("none"), report) == nullptr);
  CHECK(open_newest(files, directory.path(), report) == nullptr);
  for (const std::int64_t step : {100, 200, 300}) save_checkpoint(files, directory.path(), make_snapshot(step), 0);
  CHECK(open_newest(files, directory.path(), report)->step() == 300);
  CHECK(reports.empty());

  const std::string newest = directory.file("step-00000300/optimizer-00000.safetensors");
  std::string bytes = files.read(newest);
  bytes.back() ^= 0x10;
  write_plain(newest, bytes);
  CHECK(holds(*open_newest(files, directory.path(), report), make_snapshot(200)));
  REQUIRE(reports.size() == 1);
  CHECK(contains(reports[0], "checkpoint " + directory.file("step-00000300") + " is damaged and passed over: "));
  CHECK(contains(reports[0], "of tensor optimizer.exp_avg.model.norm.weight"));
  CHECK(is_one_line(reports[0]));

  files.remove(directory.file("step-00000200/manifest.json"));
  CHECK(holds(*open_newest(files, directory.path(), report), make_snapshot(100)));
  CHECK(reports.size() == 3);
  files.remove(directory.file("step-00000100/model-00000.safetensors"));
  CHECK(open_newest(files, directory.path(), report) == nullptr);
  CHECK(reports.size() == 6);
}

TEST_CASE("saving on behind a damaged newest checkpoint leaves one that verifies") {
  for (const std::int64_t keep : {1, 2}) {
    const TemporaryDirectory directory;
    UnsyncedFileLayer files;
    for (const std::int64_t step : {200, 300}) save_checkpoint(files, directory.path(), make_snapshot(step), 0);
    files.remove(directory.file("step-00000300/model-00000.safetensors"));
    save_checkpoint(files, directory.path(), make_snapshot(250), keep);
    const auto newest = open_newest(files, directory.path(), [](const std::string& text) { FAIL_CHECK(text); });
    REQUIRE(newest != nullptr);
    CHECK(holds(*newest, make_snapshot(250)));
  }
}

TEST_CASE("a checkpoint that was set aside is used when no other verifies, and that is said") {
  const TemporaryDirectory directory;
  UnsyncedFileLayer files;
  for (const std::int64_t step : {300, 200}) save_checkpoint(files, directory.path(), make_snapshot(step), 0);
  files.remove(directory.file("step-00000200/manifest.json"));
  std::vector<std::string> reports;
  const auto newest = open_newest(files, directory.path(), [&](const std::string& text) { reports.push_back(text); });
  REQUIRE(newest != nullptr);
  CHECK(holds(*newest, make_snapshot(300)));
  REQUIRE(reports.size() == 2);
  CHECK(contains(reports[1], ".superseded-step-00000300, set aside when the run went back"));
}

#include <unistd.h>

#include "support/catch.h"
#include "support/error_text.h"
#include "train/tiny_run.h"
#include "util/text.h"

using namespace artel;

namespace {

// A run whose file breaks in its sixth step and is put right: it says so in one line, keeps what it has and goes on.
void check_broken_file(const std::string& broken, const std::vector<std::string>& overrides,
                       const std::function<void(const std::string& path)>& break_file) {
  const TemporaryDirectory whole, parts;
  prepare(whole);
  prepare(parts);
  const auto expected = train(config_of(whole, "uoe", "fp32", overrides));
  const Config config = config_of(parts, "uoe", "fp32", overrides);
  const std::string path = parts.file(broken);
  const std::string bytes = read_file(path);
  std::int64_t last_step = 0;
  const std::string text = error_text([&] {
    TinyTrainer tiny(config);
    try {
      tiny.trainer.run([&] {
        if (tiny.trainer.step() == 5) break_file(path);
        return false;
      });
    } catch (...) {
      last_step = tiny.trainer.step();
      throw;
    }
  });
  INFO(text);
  CHECK(contains(text, path));
  CHECK_FALSE(contains(text, "\n"));
  CHECK(last_step >= 5);
  CHECK(last_step < 12);
  PosixFileLayer files;
  CHECK(files.read(run_file(config, "checkpoints/latest")) == concat("step-0000000", last_step, "\n"));
  write_file_atomic(files, path, bytes);
  CHECK(train(config) == expected);
  CHECK(checkpoint_tensors(config) == checkpoint_tensors(config_of(whole, "uoe", "fp32", overrides)));
}

}  // namespace

TEST_CASE(
    "A training file that is cut off in the middle of a run loses nothing, and the run goes on when it is mended") {
  check_broken_file("train.bin", {}, [](const std::string& path) { REQUIRE(::truncate(path.c_str(), 100) == 0); });
}

TEST_CASE("An id out of range in the middle of a run loses nothing, and the run goes on when it is mended") {
  const auto break_file = [](const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (int i = 0; i < 4000; ++i) file.put('\xff');
  };
  check_broken_file("train.bin", {"model.vocab_size=200", "data.train.0.dtype=uint8", "data.validation.0.dtype=uint8"},
                    break_file);
}

TEST_CASE(
    "A validation file that is cut off in the middle of a run loses nothing, and the run goes on when it is mended") {
  check_broken_file("val.bin", {}, [](const std::string& path) { REQUIRE(::truncate(path.c_str(), 10) == 0); });
}

TEST_CASE("A run within documents resumes to the bits of one that was not interrupted, recomputed or not") {
  const std::vector<std::string> overrides = {"data.document_mask=true", "data.end_of_document=98"};  // 'b'
  const TemporaryDirectory whole, parts, plain;
  for (const TemporaryDirectory* directory : {&whole, &parts, &plain}) prepare(*directory);
  const auto expected = train(config_of(whole, "uoe", "fp32", overrides));
  std::vector<std::string> recomputed = overrides;
  recomputed.push_back("train.recompute=block");
  train(config_of(parts, "uoe", "fp32", overrides), 7);
  CHECK(train(config_of(parts, "uoe", "fp32", recomputed)) == expected);
  CHECK(train(config_of(plain, "uoe", "fp32")) != expected);
  CHECK(contains(error_text([&] { train(config_of(plain, "uoe", "fp32", overrides)); }), "data.document_mask"));
}

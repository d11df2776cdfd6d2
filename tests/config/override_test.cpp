#include <fstream>

#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

const std::string kTwoFiles = "data: {train: [{path: a.bin}, {path: b.bin, weight: 3}], validation: [{path: v.bin}]}\n";

Config with(const std::vector<std::string>& overrides) {
  return parse_config(kTwoFiles, "a.yaml", overrides);
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("an override replaces what the file says") {
  const std::string text = "train: {steps: 5}\n" + kTwoFiles;
  CHECK(parse_config(text, "a.yaml").train.steps == 5);
  CHECK(parse_config(text, "a.yaml", {"train.steps=9"}).train.steps == 9);
  CHECK(with({"run.name=x=y"}).run.name == "x=y");
  CHECK(with({"run.name='quoted: text'"}).run.name == "quoted: text");
  CHECK(with({"model.routing={type: aoe, aoe: {d_low: 5}}"}).model.routing.aoe.d_low == 5);
  CHECK(with({"optimizer.betas=[0.5, 0.6]"}).optimizer.betas == std::vector<double>{0.5, 0.6});
  CHECK(with({"optimizer.betas.1=0.7"}).optimizer.betas == std::vector<double>{0.9, 0.7});
}

TEST_CASE("an override replaces a list of files or one member of one entry") {
  const Config replaced = with({"data.train=[{path: x}]", "data.validation=[]"});
  CHECK(replaced.data.train == std::vector<DataFile>{{"x", 1.0, "auto", "x"}});
  CHECK(replaced.data.validation.empty());

  const Config changed = with({"data.train.1.path=c.bin", "data.train.0.dtype=uint16", "data.validation.0.name=v"});
  CHECK(changed.data.train == std::vector<DataFile>{{"a.bin", 1.0, "uint16", "a"}, {"c.bin", 3.0, "auto", "c"}});
  CHECK(changed.data.validation[0].name == "v");

  const Config entry = with({"data.train.1={path: d.bin, weight: 2}"});
  CHECK(entry.data.train[1] == DataFile{"d.bin", 2.0, "auto", "d"});
  CHECK(entry.data.train[0].path == "a.bin");
}

TEST_CASE("overrides are applied in their order") {
  const Config config = with({"data.train=[{path: x}]", "data.train.0.path=y", "data.train.0.weight=4"});
  CHECK(config.data.train == std::vector<DataFile>{{"y", 4.0, "auto", "y"}});
}

TEST_CASE("a bad override is one line that names it") {
  struct Case {
    const char* override_text;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"train.steps", {"required key=value", "for instance"}},
      {"=5", {"required key=value"}},
      {"train.steps=", {"'train.steps' required an integer from 1", "found nothing"}},
      {"train.steps=many", {"'train.steps' required an integer", "found 'many'"}},
      {"train.steps=0", {"'train.steps' required an integer from 1", "found '0'"}},
      {"train.stepz=5", {"unknown key 'train.stepz'", "did you mean 'steps'?"}},
      {"trian.steps=5", {"unknown key 'trian'", "did you mean 'train'?"}},
      {"steps=5", {"unknown key 'steps'", "did you mean 'train.steps'?"}},
      {"train=5", {"'train' required a mapping", "found '5'"}},
      {"train.steps.more=5", {"'train.steps' is a value", "--set train.steps=VALUE"}},
      {"train..steps=5", {"unknown key 'train.'"}},
      {"train.=5", {"unknown key 'train.'"}},
      {".train=5", {"unknown key '.train'", "did you mean 'train'?"}},
      {"optimizer.betas=[0.9]", {"'optimizer.betas' required a list of 2 finite numbers", "found a list of 1"}},
      {"optimizer.betas.2=0.9", {"'optimizer.betas' required the number of an entry below 2", "found '2'"}},
      {"optimizer.betas.0=1.5", {"'optimizer.betas.0' required", "found '1.5'"}},
      {"optimizer.betas.0.x=1", {"'optimizer.betas.0' is a number and has no keys"}},
      {"data.train.2.path=x", {"'data.train' required the number of an entry below 2", "found '2'"}},
      {"data.train.first.path=x", {"required the number of an entry", "found 'first'"}},
      {"data.train.99999999999999999999.path=x", {"required the number of an entry"}},
      {"data.train.0.pth=x", {"unknown key 'data.train.0.pth'", "did you mean 'path'?"}},
      {"data.train.0.weight=-1", {"'data.train.0.weight' required a finite number above 0", "found '-1'"}},
      {"data.train.0={weight: 1}", {"'data.train.0' required the key 'path'"}},
      {"data.train.0=x.bin", {"'data.train.0' required a mapping such as {path: FILE}", "found 'x.bin'"}},
      {"data.train=[]", {"'data.train' required a list of files", "found an empty list"}},
      {"data.train=x.bin", {"'data.train' required a list of files", "found 'x.bin'"}},
      {"data.train=[{path: x}", {"required YAML", "syntax error"}},
      {"data.train=[{path: x, path: y}]", {"key 'path' is given twice"}},
      {"run.name=a/b", {"run.name required the name of a directory", "run.directory"}},
      {"run.name=a: b: c", {"required YAML", "syntax error"}},
      {"run.name='open", {"required YAML", "quotation marks"}},
      {"extends=b.yaml", {"'extends' can only stand in a file"}},
      {"parallel.tensor=2", {"'parallel.tensor': tensor parallelism is out of scope"}},
      {"train.global_batch_size=24", {"train.global_batch_size required a multiple of train.micro_batch_size 16"}},
  };
  for (const Case& c : cases) {
    const std::string text = error_text([&] { with({c.override_text}); });
    INFO(text);
    CHECK(text.rfind(std::string("[config] --set ") + c.override_text + ": ", 0) == 0);
    CHECK(text.find('\n') == std::string::npos);
    for (const std::string& part : c.parts) CHECK(contains(text, part));
  }
}

TEST_CASE("a replaced list leaves no place of its old entries in later errors") {
  const std::string text = "data: {train: [{path: a}], validation: [{path: a, name: m}, {path: b, name: n}]}\n";
  const std::string override_text = "data.validation=[{path: x/v}, {path: y/v}]";
  CHECK(contains(error_text([&] { parse_config(text, "a.yaml", {override_text}); }),
                 "[config] --set " + override_text + ": data.validation required names that differ"));
}

TEST_CASE("an override with control characters is refused on one line") {
  const std::string text = error_text([] { with({"run.name=a\nb: c"}); });
  CHECK(contains(text, "[config] --set run.name=a b: c: "));
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("an override that is too large is refused without repeating it") {
  const std::string text = error_text([] { with({"run.name=" + std::string(300000, 'x')}); });
  CHECK(text == "[config] --set run.name: required a value of at most 262144 bytes, found more");
}

TEST_CASE("a key overridden twice is an error naming both") {
  const std::string text = error_text([] { with({"train.steps=5", "train.steps=6"}); });
  CHECK(text ==
        "[config] --set train.steps=6: 'train.steps' is already set by '--set train.steps=5'; remove one of them");
}

TEST_CASE("a file that extends another changes only what it sets") {
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir.file("sub"));
  write(dir.file("base.yaml"), "train: {steps: 5, threads: 2}\ndata: {train: [{path: a}, {path: b}]}\n");
  write(dir.file("sub/middle.yaml"), "train: {steps: 6}\nextends: ../base.yaml\n");
  write(dir.file("sub/leaf.yaml"), "extends: middle.yaml\ndata: {train: [{path: c}]}\n");
  const Config config = load_config(dir.file("sub/leaf.yaml"));
  CHECK(config.train.steps == 6);
  CHECK(config.train.threads == 2);
  REQUIRE(config.data.train.size() == 1);
  CHECK(config.data.train[0].path == "c");
  CHECK(parse_config("extends: base.yaml\n", dir.file("x.yaml")).train.steps == 5);
  CHECK(parse_config("extends: " + dir.file("base.yaml") + "\n", "x.yaml").train.steps == 5);
}

TEST_CASE("errors of extended files name the file and line that they stand in") {
  const TemporaryDirectory dir;
  write(dir.file("base.yaml"), "train:\n  stepz: 5\n" + kTwoFiles);
  write(dir.file("leaf.yaml"), "extends: base.yaml\n");
  CHECK(contains(error_text([&] { load_config(dir.file("leaf.yaml")); }),
                 dir.file("base.yaml") + ":2: unknown key 'train.stepz'"));

  // A cross-check names the place of the key that won.
  write(dir.file("base.yaml"), "train: {global_batch_size: 32}\n" + kTwoFiles);
  write(dir.file("leaf.yaml"), "extends: base.yaml\ntrain:\n  micro_batch_size: 12\n");
  CHECK(contains(error_text([&] { load_config(dir.file("leaf.yaml")); }), dir.file("leaf.yaml") + ":3: train.global"));
}

TEST_CASE("extends that is missing, circular or no path is an error at its line") {
  const TemporaryDirectory dir;
  const auto message = [&](const std::string& text) {
    write(dir.file("leaf.yaml"), text + kTwoFiles);
    return error_text([&] { load_config(dir.file("leaf.yaml")); });
  };
  const std::string place = "[config] " + dir.file("leaf.yaml") + ":2: ";
  CHECK(contains(message("\nextends: none.yaml\n"), place + "'extends' required a YAML file, found no file"));
  CHECK(contains(message("\nextends: [a, b]\n"), place + "'extends' required the path of a YAML file, found a list"));
  CHECK(contains(message("\nextends:\n"), place + "'extends' required the path of a YAML file, found nothing"));
  CHECK(contains(message("\nextends: leaf.yaml\n"), place + "'extends' goes round in a circle"));
  CHECK(contains(message("\nextends: .\n"), "found a directory"));

  write(dir.file("a.yaml"), "extends: b.yaml\n");
  write(dir.file("b.yaml"), "extends: ./a.yaml\n");
  const std::string text = error_text([&] { load_config(dir.file("a.yaml")); });
  CHECK(contains(text, dir.file("b.yaml") + ":1: 'extends' goes round in a circle: " + dir.file("a.yaml") + " -> " +
                           dir.file("b.yaml") + " -> " + dir.file("a.yaml")));
}

#include "data/tokenize.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "data/token_file.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/failing_file_layer.h"
#include "support/temporary_directory.h"
#include "support/unsynced_file_layer.h"
#include "util/text.h"

using namespace artel;

namespace {

struct Fixture {
  TemporaryDirectory directory;
  UnsyncedFileLayer files;
  std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(ARTEL_SOURCE_DIR "/tests/golden/tokenizers/gpt2.json");
  TokenizeOptions options;

  Fixture() {
    std::string first, second;
    for (int i = 0; i < 60; ++i) first += concat("Document ", i * 7919, " of words, don't\n\nyou know?  ", i, "\n;");
    for (int i = 0; i < 40; ++i) second += concat("{\"id\":", i, ",\"text\":\"line ", i, " caf\u00e9\\n\"}\n");
    write("a.txt", first);
    write("b.txt", ";" + first.substr(5, 900) + ";;tail;");
    write("c.jsonl", second);
    options.inputs = {directory.file("a.txt"), directory.file("b.txt")};
    options.format.separator = ";";
    options.end_id = tokenizer->end_of_document();
    options.output.prefix = directory.file("out/x");
    options.block_bytes = 200;
    options.journal_bytes = 1500;
  }
  void write(const std::string& name, const std::string& bytes) {
    write_file_atomic(files, directory.file(name), bytes);
  }
  TokenizeResult run(FileLayer& layer) {
    return tokenize_files(layer, *tokenizer, options, [](const TokenizeProgress&) {});
  }
  // The files made, by name.
  std::map<std::string, std::string> made() {
    std::map<std::string, std::string> contents;
    if (!files.exists(directory.file("out"))) return contents;
    for (const std::string& name : files.list(directory.file("out"))) {
      contents[name] = files.read(directory.file("out/" + name));
    }
    return contents;
  }
  void clear() { files.remove(directory.file("out")); }
  void set_format(TokenFormat format) {
    options.output.format = format;
    options.output.type = token_type_for(format, tokenizer->num_ids());
    options.output.shard_tokens = 700;
  }
  // What the files should hold: each document and then the end.
  std::vector<int32_t> expected_ids() const {
    std::vector<int32_t> ids;
    for (const std::string& path : options.inputs) {
      const std::string text = read_file(path);
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find(';', begin), text.size());
        if (end > begin) {
          if (options.document_end == DocumentEnd::prepend) ids.push_back(options.end_id);
          for (const int32_t id : tokenizer->encode(text.substr(begin, end - begin))) ids.push_back(id);
          if (options.document_end == DocumentEnd::append) ids.push_back(options.end_id);
        }
        begin = end + 1;
      }
    }
    return ids;
  }
};

std::vector<int32_t> ids_of(const std::string& bytes) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(static_cast<unsigned char>(bytes[i]) | static_cast<unsigned char>(bytes[i + 1]) << 8);
  }
  return ids;
}

}  // namespace

TEST_CASE("The ids of files are those of their documents, for any block size and number of threads") {
  Fixture fixture;
  fixture.options.document_end = GENERATE(DocumentEnd::append, DocumentEnd::prepend, DocumentEnd::none);
  CHECK(fixture.run(fixture.files).progress.num_empty == 2);
  const auto reference = fixture.made();
  REQUIRE(reference.size() == 1);
  CHECK(ids_of(reference.at("x.bin")) == fixture.expected_ids());
  for (const size_t block_bytes : {1U, 37U, 100U, 4096U, 1U << 20}) {
    for (const int threads : {1, 2, 3, 4}) {
      fixture.clear();
      fixture.options.block_bytes = block_bytes;
      fixture.options.num_threads = threads;
      CHECK(fixture.run(fixture.files).progress.num_empty == 2);
      INFO(block_bytes << " bytes, " << threads << " threads");
      REQUIRE(fixture.made() == reference);
    }
  }
}

TEST_CASE("Killed at any call that changes the disk, a run goes on and makes the same files") {
  const TokenFormat format = GENERATE(TokenFormat::megatron, TokenFormat::llmc, TokenFormat::raw);
  const auto fault = GENERATE(FailingFileLayer::Fault::kill, FailingFileLayer::Fault::error);
  Fixture fixture;
  fixture.set_format(format);
  FailingFileLayer counting(fixture.files);
  fixture.run(counting);
  const auto reference = fixture.made();
  const auto num_calls = static_cast<int64_t>(counting.calls().size());
  REQUIRE(num_calls > 30);
  int num_resumed = 0;
  for (int64_t call = 0; call < num_calls; ++call) {
    fixture.clear();
    FailingFileLayer failing(fixture.files, call, fault);
    bool ended = false;
    try {
      fixture.run(failing);
      ended = true;
    } catch (const Killed&) {
    } catch (const Error&) {
    }
    INFO("call " << call << ": " << counting.calls()[static_cast<size_t>(call)]);
    REQUIRE_FALSE(ended);
    const std::string journal = fixture.options.output.prefix + ".journal";
    const bool complete = fixture.made().size() >= reference.size() && !fixture.files.exists(journal);
    if (complete && call >= num_calls - 2) continue;  // nothing but the lock file is left to be removed
    num_resumed += fixture.run(fixture.files).resumed ? 1 : 0;
    REQUIRE(fixture.made() == reference);
  }
  CHECK(num_resumed > num_calls / 2);
}

TEST_CASE("Megatron's index and llm.c's shards have the published bytes") {
  const TemporaryDirectory directory;
  PosixFileLayer files;
  TokenWriterOptions options;
  options.prefix = directory.file("x");
  options.format = TokenFormat::megatron;
  TokenWriter megatron(files, options);
  megatron.append({1, 2}, {});
  megatron.append({3, 4, 5}, {1, 3});
  megatron.finish();
  CHECK(files.read(directory.file("x.bin")) == std::string("\1\0\2\0\3\0\4\0\5\0", 10));
  const std::string index("MMIDIDX\0\0\1\0\0\0\0\0\0\0\x08\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\3\0\0\0\2\0\0\0", 42);
  const std::string pointers("\0\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 16);
  const std::string documents("\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 24);
  CHECK(files.read(directory.file("x.idx")) == index + pointers + documents);

  options.format = TokenFormat::llmc;
  options.shard_tokens = 3;
  TokenWriter shards(files, options);
  shards.append({1, 2, 3, 4, 5}, {5});
  shards.finish();
  CHECK(shards.finished_files() ==
        std::vector<std::string>{directory.file("x_000000.bin"), directory.file("x_000001.bin")});
  const TokenFile first(directory.file("x_000000.bin"), "auto", 100),
      second(directory.file("x_000001.bin"), "auto", 100);
  CHECK(first.size() == 3);
  CHECK(second.size() == 2);
  CHECK(second.at(1) == 5);
  const std::string bytes = files.read(directory.file("x_000001.bin"));
  CHECK(bytes.substr(0, 12) == std::string("\x88\xd8\x34\x01\1\0\0\0\2\0\0\0", 12));
  CHECK(bytes.substr(1024) == std::string("\4\0\5\0", 4));
  CHECK(token_type_for(TokenFormat::megatron, 65499) == TokenType::uint16);
  CHECK(token_type_for(TokenFormat::megatron, 65500) == TokenType::uint32);
  CHECK(token_type_for(TokenFormat::llmc, 65536) == TokenType::uint16);
  CHECK(token_type_for(TokenFormat::llmc, 65537) == TokenType::uint32);
  CHECK(token_type_for(TokenFormat::raw, 256) == TokenType::uint8);
}

TEST_CASE("A length that begins like a packed file is still a length") {
  const TemporaryDirectory directory;
  PosixFileLayer files;
  TokenWriterOptions options;
  options.prefix = directory.file("x");
  options.format = TokenFormat::megatron;
  TokenWriter writer(files, options);
  constexpr int64_t gzip_magic = 0x8b1f;
  writer.append(std::vector<int32_t>(gzip_magic, 1), {gzip_magic});
  writer.finish();
  CHECK(files.read(directory.file("x.idx")).substr(34, 4) == std::string("\x1f\x8b\0\0", 4));
}

TEST_CASE("JSONL gives the field of each line; a bad line is named") {
  Fixture fixture;
  fixture.options.inputs = {fixture.directory.file("c.jsonl")};
  fixture.options.format = {true, "text", "", false};
  fixture.options.document_end = DocumentEnd::prepend;
  const TokenizeResult result = fixture.run(fixture.files);
  CHECK(result.progress.written.num_documents == 40);
  const std::vector<int32_t> ids = ids_of(fixture.made().at("x.bin"));
  std::vector<int32_t> expected = {fixture.options.end_id};
  for (const int32_t id : fixture.tokenizer->encode("line 0 caf\u00e9\n")) expected.push_back(id);
  REQUIRE(ids.size() > expected.size());
  CHECK(std::equal(expected.begin(), expected.end(), ids.begin()));
  const auto refused = [&](const std::string& last) {
    fixture.clear();
    std::string lines;
    for (int i = 0; i < 30; ++i) lines += "{\"text\":\"some words here\"}\n\n";
    fixture.write("c.jsonl", lines + last);
    return error_text([&] { fixture.run(fixture.files); });
  };
  CHECK(refused("{\"body\":\"x\"}") ==
        concat("[data] ", fixture.directory.file("c.jsonl"),
               ":61: required an object with a text \"text\", found {\"body\":\"x\"}; name the field with --field"));
  CHECK(contains(refused("[1]\n"), "c.jsonl:61: required an object"));
  CHECK(contains(refused("{\"text\""), "c.jsonl:61"));
  CHECK(refused("{\"text\":\"\"}\n") == "(no error)");  // an empty document is left out
}

TEST_CASE("Another run's journal, existing files, missing and empty input are refused") {
  Fixture fixture;
  FailingFileLayer failing(fixture.files, 25, FailingFileLayer::Fault::kill);
  CHECK_THROWS_AS(fixture.run(failing), Killed);
  fixture.options.tokenizer = "another";
  CHECK(contains(error_text([&] { fixture.run(fixture.files); }), "found another tokenizer"));
  fixture.options.restart = true;
  CHECK(error_text([&] { fixture.run(fixture.files); }) == "(no error)");
  fixture.options.restart = false;
  CHECK(contains(error_text([&] { fixture.run(fixture.files); }), "required a new file"));
  fixture.clear();
  fixture.options.inputs = {fixture.directory.file("missing")};
  CHECK(contains(error_text([&] { fixture.run(fixture.files); }), "missing: No such file"));
  fixture.write("empty", "");
  fixture.options.inputs = {fixture.directory.file("empty")};
  CHECK(contains(error_text([&] { fixture.run(fixture.files); }), "required text"));
}

TEST_CASE("What is no UTF-8 is kept byte for byte, or replaced where asked for") {
  Fixture fixture;
  const std::string text = "caf\xe9 \xff\xfe ok \xe2\x82 end";
  fixture.write("a.txt", text);
  fixture.options.inputs = {fixture.directory.file("a.txt")};
  fixture.options.document_end = DocumentEnd::none;
  fixture.run(fixture.files);
  CHECK(fixture.tokenizer->decode(ids_of(fixture.made().at("x.bin"))) == text);
  fixture.clear();
  fixture.options.format.replace_invalid = true;
  fixture.run(fixture.files);
  CHECK(fixture.tokenizer->decode(ids_of(fixture.made().at("x.bin"))) == "caf\uFFFD \uFFFD\uFFFD ok \uFFFD end");
}

#include "data/token_file.h"

#include <cstring>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/token_files.h"

using namespace artel;

namespace {

std::vector<int32_t> all_of(const TokenFile& file) {
  std::vector<int32_t> ids(static_cast<size_t>(file.size()));
  file.read(0, file.size(), ids.data());
  return ids;
}

}  // namespace

TEST_CASE("A headerless token file is read in each type") {
  Folder folder;
  const TokenFile bytes(folder.write(std::string("\x00\xff\x41", 3), "a"), "uint8", 256);
  CHECK(all_of(bytes) == std::vector<int32_t>{0, 255, 65});
  const TokenFile words(folder.write(little_endian({0, 513, 65535}, 2), "b"), "uint16", 65536);
  CHECK(all_of(words) == std::vector<int32_t>{0, 513, 65535});
  const TokenFile longs(folder.write(little_endian({1, 70000, 2147483646}, 4), "c"), "uint32", 2147483647);
  CHECK(all_of(longs) == std::vector<int32_t>{1, 70000, 2147483646});
  CHECK(longs.at(1) == 70000);
  std::vector<int32_t> middle(2, -1);
  words.read(1, 2, middle.data());
  CHECK(middle == std::vector<int32_t>{513, 65535});
}

TEST_CASE("dtype auto follows the number of ids when there is no header") {
  Folder folder;
  const std::string path = folder.write(std::string(8, '\0'));
  CHECK(TokenFile(path, "auto", 256).type() == TokenType::uint8);
  CHECK(TokenFile(path, "auto", 257).type() == TokenType::uint16);
  CHECK(TokenFile(path, "auto", 65536).type() == TokenType::uint16);
  CHECK(TokenFile(path, "auto", 65537).type() == TokenType::uint32);
  CHECK(TokenFile(path, "auto", 320, 256).type() == TokenType::uint8);
  CHECK(TokenFile(path, "auto", 320, 256).size() == 8);
}

TEST_CASE("The header of an llm.c file decides type and beginning") {
  Folder folder;
  // First bytes of both headers as they stand on disk.
  const std::string gpt2 = llmc_file(20240520, 1, 3, little_endian({7, 50256, 9}, 2));
  REQUIRE(gpt2.substr(0, 8) == std::string("\x88\xd8\x34\x01\x01\x00\x00\x00", 8));
  const std::string llama = llmc_file(20240801, 7, 2, little_endian({128000, 5}, 4));
  REQUIRE(llama.substr(0, 8) == std::string("\xa1\xd9\x34\x01\x07\x00\x00\x00", 8));
  for (const char* dtype : {"auto", "uint16"}) {
    const TokenFile file(folder.write(gpt2), dtype, 50257);
    CHECK(all_of(file) == std::vector<int32_t>{7, 50256, 9});
  }
  for (const char* dtype : {"auto", "uint32"}) {
    const TokenFile file(folder.write(llama), dtype, 128256);
    CHECK(all_of(file) == std::vector<int32_t>{128000, 5});
  }
}

TEST_CASE("Each bad token file is one line that names file and position") {
  Folder folder;
  const auto text = [&](const std::string& bytes, const char* dtype, int64_t vocab_size) {
    const std::string path = folder.write(bytes);
    const std::string found = error_text([&] { all_of(TokenFile(path, dtype, vocab_size)); });
    CHECK(contains(found, "[data] " + path + ": "));
    CHECK_FALSE(contains(found, "\n"));
    return found;
  };
  CHECK(contains(text("", "auto", 256), "found an empty file (0 bytes)"));
  CHECK(contains(text("abc", "uint16", 256), "found 3 bytes: the id at position 1 (byte 2) is cut off"));
  CHECK(contains(text("abcdefg", "uint32", 256), "found 7 bytes: the id at position 1 (byte 4) is cut off"));
  CHECK(contains(text("abc", "int64", 256), "dtype required auto, uint8, uint16 or uint32, found int64"));

  const std::string gpt2 = llmc_file(20240520, 1, 3, little_endian({7, 8, 9}, 2));
  CHECK(contains(text(gpt2.substr(0, 1029), "auto", 100),
                 "required 1030 bytes (3 uint16 ids by its header), found 1029: "
                 "the file is cut off at byte 1029"));
  CHECK(contains(text(gpt2 + "x", "auto", 100), "found 1031: the file has bytes that do not belong from byte 1030"));
  CHECK(contains(
      text(gpt2.substr(0, 600), "auto", 100),
      "required a header of 1024 bytes (magic 20240520 at byte 0), found 600 bytes: the file is cut off at byte 600"));
  CHECK(contains(text(gpt2.substr(0, 6), "auto", 100), "the file is cut off at byte 6"));
  CHECK(contains(text(gpt2, "uint8", 100), "dtype required auto or uint16"));
  CHECK(contains(text(llmc_file(20240520, 2, 1, "ab"), "auto", 100),
                 "required version 1 at byte 4 of the header, found 2"));
  CHECK(contains(text(llmc_file(20240801, 1, 1, "abcd"), "auto", 100),
                 "required version 7 at byte 4 of the header, found 1"));
  CHECK(contains(text(llmc_file(20240520, 1, 0, ""), "auto", 100), "required at least 1 token at byte 8"));
  CHECK(contains(text(llmc_file(20240520, 1, 0xffffffffu, "ab"), "auto", 100), "at byte 8 of the header, found -1"));

  CHECK(contains(text(llmc_file(20240522, 1, 1, "ab"), "auto", 100), "an evaluation file of llm.c"));
  CHECK(contains(text(std::string("\x93NUMPY\x01\x00vwxy", 12), "uint16", 100), "a NumPy array"));
  CHECK(contains(text(std::string("MMIDIDX\0\0abc", 12), "auto", 100), "the index of a Megatron data set"));

  const std::string missing = folder.file("missing.bin");
  CHECK(error_text([&] { TokenFile(missing, "auto", 256); }) ==
        "[files] cannot open " + missing + ": No such file or directory");
}

TEST_CASE("An id outside the vocabulary is an error with its file, position, value and the vocabulary") {
  Folder folder;
  const std::string path = folder.write(std::string("\x01\x05\x02\x06", 4));
  const TokenFile file(path, "uint8", 5);
  CHECK(file.at(0) == 1);
  CHECK(file.at(2) == 2);
  int32_t ids[4];
  CHECK(error_text([&] { file.read(0, 4, ids); }) ==
        "[data] " + path + ": required ids below model.vocab_size 5, found id 5 at position 1 (read as uint8)");
  CHECK(contains(error_text([&] { file.read(2, 2, ids); }), "found id 6 at position 3"));
  CHECK(contains(error_text([&] { file.at(1); }), "found id 5 at position 1"));
  // In an llm.c file positions count ids, not bytes.
  const std::string gpt2 = folder.write(llmc_file(20240520, 1, 3, little_endian({7, 8, 900}, 2)));
  CHECK(contains(error_text([&] { all_of(TokenFile(gpt2, "auto", 900)); }), "found id 900 at position 2"));
  // Above the largest int32 an id must not turn negative and slip through.
  const std::string large = folder.write(little_endian({0xfffffff0u}, 4));
  CHECK(contains(error_text([&] { all_of(TokenFile(large, "uint32", 2147483647)); }),
                 "found id 4294967280 at position 0"));
}

TEST_CASE("A range outside a token file is an error") {
  Folder folder;
  const TokenFile file(folder.write("abc"), "uint8", 256);
  int32_t ids[4];
  CHECK(contains(error_text([&] { file.read(1, 3, ids); }), "within its 3 ids, found 3 ids from position 1"));
  CHECK(contains(error_text([&] { file.at(3); }), "from position 3"));
  CHECK(contains(error_text([&] { file.at(-1); }), "from position -1"));
  file.read(3, 0, ids);
}

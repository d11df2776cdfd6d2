#include "checkpoint/safetensors.h"

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

std::string file_of(const std::string& json, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return bytes + json + std::string(data_bytes, '\x7f');
}

std::string text_of_error(const std::string& file) {
  return error_text([&] { parse_safetensors(file.data(), file.size(), "dir/x.safetensors"); });
}

// The error of a file with one entry "a" of this text and 8 bytes of data.
std::string entry_error(const std::string& entry) {
  return text_of_error(file_of(R"({"a":)" + entry + "}", 8));
}

bool names_file_and_tensor(const std::string& text) {
  return contains(text, "dir/x.safetensors: tensor a") && text.find('\n') == std::string::npos && text.size() < 400;
}

}  // namespace

TEST_CASE("the example of the format is read") {
  std::string file = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )", 0);
  REQUIRE(file.size() == 64);
  file += std::string("\x00\x00\x80\x3f\x00\x00\x00\x40", 8);
  const SafetensorsIndex index = parse_safetensors(file.data(), file.size(), "x");
  REQUIRE(index.entries.size() == 1);
  CHECK(index.data_offset == 64);
  CHECK(index.entries[0].key == "a");
  CHECK(index.entries[0].dtype == DType::f32);
  CHECK(index.entries[0].shape == Shape{2});
  CHECK(index.entries[0].begin == 0);
  CHECK(index.entries[0].end == 8);
}

TEST_CASE("a header is written byte for byte as the format says") {
  std::vector<SafetensorsEntry> entries = {{"a", DType::f32, {2}}, {"b\"", DType::bf16, {1, 3}}, {"c", DType::i32, {}}};
  const std::string header = safetensors_header(entries);
  const std::string json = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("b\"":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]},)"
                           R"("c":{"dtype":"I32","shape":[],"data_offsets":[14,18]}})";
  const std::size_t padded = (json.size() + 7) / 8 * 8;
  std::string expected(8, '\0');
  expected[0] = static_cast<char>(padded);
  expected += json + std::string(padded - json.size(), ' ');
  CHECK(header == expected);
  CHECK(header.size() % 8 == 0);

  const std::string file = header + std::string(18, '\x01');
  const SafetensorsIndex index = parse_safetensors(file.data(), file.size(), "x");
  REQUIRE(index.entries.size() == 3);
  REQUIRE(index.find("b\"") != nullptr);
  CHECK(index.find("b\"")->begin == 8);
  CHECK(index.find("b\"")->dtype == DType::bf16);
  CHECK(index.find("c")->shape == Shape{});
  CHECK(index.find("b") == nullptr);
  CHECK(index.find("d") == nullptr);
}

TEST_CASE("a file without tensors and tensors without elements are read back") {
  std::vector<SafetensorsEntry> none;
  const std::string empty = safetensors_header(none);
  CHECK(parse_safetensors(empty.data(), empty.size(), "x").entries.empty());
  std::vector<SafetensorsEntry> entries = {{"a", DType::f32, {0, 4}}, {"b", DType::f64, {1}}, {"c", DType::f32, {0}}};
  const std::string file = safetensors_header(entries) + std::string(8, '\0');
  CHECK(parse_safetensors(file.data(), file.size(), "x").entries.size() == 3);
}

TEST_CASE("a key given twice is not written") {
  std::vector<SafetensorsEntry> entries = {{"a", DType::f32, {2}}, {"a", DType::f32, {2}}};
  CHECK(error_text([&] { safetensors_header(entries); }) == "[safetensors] required every key once, found a twice");
}

TEST_CASE("a file cut short at any byte is an error that names it") {
  std::vector<SafetensorsEntry> entries = {{"a", DType::f32, {2}}};
  const std::string file = safetensors_header(entries) + std::string(8, '\x01');
  CHECK(text_of_error(file) == "(no error)");
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::string text = text_of_error(file.substr(0, size));
    CHECK(contains(text, "dir/x.safetensors"));
  }
  CHECK(contains(text_of_error(file + "x"), "required 8 bytes of data up to the end of tensor a, found 9"));
}

TEST_CASE("a header length beyond the file or the limit is an error") {
  std::string file = file_of("{}", 0);
  file[7] = '\x7f';
  CHECK(contains(text_of_error(file), "found a length of 9151314442816847874 in dir/x.safetensors"));
  file = file_of("{}", 0);
  file[0] = 3;
  CHECK(contains(text_of_error(file), "required a header that fits the file of 10 bytes, found a length of 3"));
}

TEST_CASE("a header that is no JSON object is an error") {
  CHECK(contains(text_of_error(file_of("{\"a\":", 0)), "[dir/x.safetensors] required JSON"));
  CHECK(contains(text_of_error(file_of("", 0)), "[dir/x.safetensors] required JSON"));
  CHECK(contains(text_of_error(file_of("[1]", 0)), "required a JSON object as header"));
  CHECK(contains(text_of_error(file_of("7", 0)), "required a JSON object as header"));
  const std::string garbage(100000, 'x');
  CHECK(text_of_error(file_of("\"" + garbage, 0)).size() < 400);
}

TEST_CASE("an entry with a wrong member is one line that names file and tensor") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"(7)", "required an object"},
      {R"({"shape":[2],"data_offsets":[0,8]})", "\"dtype\""},
      {R"({"dtype":"F32","data_offsets":[0,8]})", "\"shape\""},
      {R"({"dtype":"F32","shape":[2]})", "\"data_offsets\""},
      {R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})", "\"dtype\" required a string"},
      {R"({"dtype":"F16","shape":[2],"data_offsets":[0,8]})", "required dtype F32, BF16, F64 or I32, found \"F16\""},
      {R"({"dtype":"f32","shape":[2],"data_offsets":[0,8]})", "found \"f32\""},
      {R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", "found 2 in"},
      {R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", "found [-2] in"},
      {R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", "found [2.0] in"},
      {R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})", "found [\"2\"] in"},
      {R"({"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]})", "required a list of at most 4 integers"},
      {R"({"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]})", "at most 2^56"},
      {R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,8]})", "at most 2^56"},
      {R"({"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,8]})", "at most 2^56"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":8})", "required data_offsets of two integers from 0, found 8"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0]})", "found [0] in"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,16]})", "found [0,8,16] in"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})", "found [-8,0] in"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,"8"]})", "found [0,\"8\"] in"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "required 8 bytes for shape [2] of F32"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", "required 8 bytes for shape [2] of F32"},
      {R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", "required 12 bytes for shape [3] of F32"},
      {R"({"dtype":"BF16","shape":[2],"data_offsets":[0,8]})", "required 4 bytes for shape [2] of BF16"}};
  for (const auto& [entry, part] : cases) {
    const std::string text = entry_error(entry);
    INFO(entry << " -> " << text);
    CHECK(names_file_and_tensor(text));
    CHECK(contains(text, part));
  }
}

TEST_CASE("holes, overlaps and data beyond the end are errors that name file and tensor") {
  const auto two = [](const std::string& a, const std::string& b, std::size_t data_bytes) {
    return text_of_error(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + a +
                                     R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + b + "}}",
                                 data_bytes));
  };
  CHECK(two("[0,4]", "[4,8]", 8) == "(no error)");
  CHECK(two("[4,8]", "[0,4]", 8) == "(no error)");
  CHECK(contains(two("[0,4]", "[8,12]", 12), "found tensor b at byte 8 of the data where 4 was due in dir/x.safe"));
  CHECK(contains(two("[0,4]", "[2,6]", 8), "found tensor b at byte 2 of the data where 4 was due in dir/x.safe"));
  CHECK(contains(two("[0,4]", "[0,4]", 8), "at byte 0 of the data where 4 was due in dir/x.safe"));
  CHECK(contains(two("[4,8]", "[8,12]", 12), "found tensor a at byte 4 of the data where 0 was due in dir/x.safe"));
  CHECK(
      contains(two("[0,4]", "[4,8]", 7), "required 8 bytes of data up to the end of tensor b, found 7 in dir/x.safe"));
  CHECK(contains(
      text_of_error(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}})", 4)),
      "required 4 bytes for shape [1]"));
}

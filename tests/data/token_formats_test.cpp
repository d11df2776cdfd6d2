#include <fcntl.h>
#include <unistd.h>

#include "data/token_file.h"
#include "data/token_report.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/token_files.h"
#include "util/text.h"

using namespace artel;

namespace {

template <class File>
std::vector<int32_t> all_of(const File& file) {
  std::vector<int32_t> ids(static_cast<size_t>(file.size()));
  file.read(0, file.size(), ids.data());
  return ids;
}

// Documents [1, 2, 3] and [4, 5] as Megatron-core writes them in uint16.
const std::string golden_bin = from_hex("01 00 02 00 03 00 04 00 05 00");
const std::string golden_idx = from_hex(
    "4d4d49444944580000 0100000000000000 08 0200000000000000 0300000000000000 03000000 02000000 0000000000000000 "
    "0600000000000000 0000000000000000 0100000000000000 0200000000000000");

std::string npy(const std::string& header, const std::string& body, char version = 1) {
  std::string text = header;
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  return std::string("\x93NUMPY") + version + '\0' +
         little_endian({static_cast<int64_t>(text.size())}, version == 1 ? 2 : 4) + text + body;
}

// A gzip archive of one stored block.
std::string gzip(const std::string& path, const std::string& text) {
  uint32_t crc = 0xffffffffU;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc % 2 == 1 ? 0xedb88320U : 0U);
  }
  const auto size = static_cast<int64_t>(text.size());
  const std::string bytes = from_hex("1f8b0800000000000003 01") + little_endian({size, ~size}, 2) + text +
                            little_endian({static_cast<int64_t>(~crc), size}, 4);
  PosixFileLayer layer;
  write_file_atomic(layer, path, bytes);
  return path;
}

}  // namespace

TEST_CASE("A Megatron data set is read by the golden bytes of its writer") {
  Folder folder;
  REQUIRE(golden_idx.size() == 82);
  CHECK(megatron_index(8, 2, {3, 2}, {0, 1, 2}) == golden_idx);
  const std::string bin = folder.write(golden_bin, "d.bin");
  const std::string idx = folder.write(golden_idx, "d.idx");
  for (const std::string& path : {bin, idx}) {
    const TokenFile file(path, "auto", 100);
    CHECK(file.layout().format == TokenFormat::megatron);
    CHECK(file.type() == TokenType::uint16);
    CHECK(all_of(file) == std::vector<int32_t>{1, 2, 3, 4, 5});
    CHECK(file.has_documents());
    CHECK(file.document_starts() == std::vector<int64_t>{0, 3, 5});
  }
}

TEST_CASE("A Megatron data set is read in every type that holds ids") {
  struct Case {
    int code;
    size_t width;
    TokenType type;
  };
  for (const Case& c : {Case{1, 1, TokenType::uint8},
                        {2, 1, TokenType::int8},
                        {3, 2, TokenType::int16},
                        {4, 4, TokenType::int32},
                        {5, 8, TokenType::int64},
                        {8, 2, TokenType::uint16}}) {
    INFO(token_type_name(c.type));
    Folder folder;
    const std::string path = folder.write(little_endian({5, 100, 7, 0}, c.width), "d.bin");
    folder.write(megatron_index(c.code, c.width, {1, 0, 3}, {0, 2, 2, 3}), "d.idx");
    const TokenFile file(path, "auto", 101);
    CHECK(file.type() == c.type);
    CHECK(all_of(file) == std::vector<int32_t>{5, 100, 7, 0});
    CHECK(file.document_starts() == std::vector<int64_t>{0, 1, 1, 4});
    if (c.code == 1 || c.code == 8) continue;
    folder.write(little_endian({5, 100, -7, 0}, c.width), "d.bin");
    const TokenFile negative(path, "auto", 101);
    CHECK(contains(error_text([&] { all_of(negative); }), "found id -7 at position 2"));
  }
}

TEST_CASE("A Megatron index that is wrong or not of its ids is one line naming both") {
  Folder folder;
  const auto text = [&](const std::string& idx, const std::string& bin = golden_bin, const char* dtype = "auto") {
    const std::string path = folder.write(bin, "d.bin");
    folder.write(idx, "d.idx");
    const std::string found = error_text([&] { TokenFile(path, dtype, 100); });
    CHECK_FALSE(contains(found, "\n"));
    CHECK(contains(found, "[data] " + folder.file("d.")));
    return found;
  };
  const auto with = [](size_t at, const std::string& bytes) {
    std::string idx = golden_idx;
    return idx.replace(at, bytes.size(), bytes);
  };
  CHECK(contains(text(""), "found another file"));
  CHECK(contains(text("MMID"), "required a header of 34 bytes, found 4"));
  CHECK(contains(text("hello, world"), "begins with MMIDIDX, found another file"));
  CHECK(contains(text(std::string("TNTIDX\0\0", 8) + std::string(40, '\0')), "old format TNTIDX"));
  CHECK(contains(text(with(9, "\x02")), "required version 1 at byte 9, found 2"));
  CHECK(contains(text(with(17, "\x07")), "found 7 (float32, which holds no ids)"));
  CHECK(contains(text(with(17, "\x06")), "found 6 (float64, which holds no ids)"));
  CHECK(contains(text(with(17, "\x09")), "required a type code of integers, 1 to 5 or 8, at byte 17, found 9"));
  CHECK(contains(text(with(18, "\xff\xff\xff\xff\xff")), "is cut off or no index"));
  CHECK(
      contains(text(golden_idx.substr(0, 81)), "required 82 bytes (2 sequences and 3 bounds by its header), found 81"));
  CHECK(contains(text(golden_idx + "a"), "has bytes that do not belong"));
  // Lengths that add up to the ids, one of them below 0; bounds that fall; no document; no sequence.
  CHECK(contains(text(megatron_index(8, 2, {6, -1}, {0, 1, 2})), "required sequence 1 of " + folder.file("d.bin")));
  CHECK(contains(text(megatron_index(8, 2, {2, 2, 1}, {0, 2, 1, 3})), "found 1 as number 2"));
  CHECK(contains(text(megatron_index(8, 2, {3, 2}, {})), "required at least 1 sequence in 1 document, found 2 in 0"));
  CHECK(contains(text(megatron_index(8, 2, {}, {0})), "required at least 1 sequence in 1 document, found 0 in 0"));
  CHECK(contains(text(golden_idx + "ab"), "found a data set of several modes"));
  for (const std::string& found :
       {text(golden_idx, golden_bin.substr(0, 8)), text(golden_idx, golden_bin + "ab"), text(with(34, "\x04")),
        text(with(50, "\x04")), text(with(58, "\x01")), text(with(74, "\x03")), text(with(74, "\x01"))}) {
    CHECK(contains(found, folder.file("d.idx")));
    CHECK(contains(found, folder.file("d.bin")));
  }
  CHECK(contains(text(golden_idx, golden_bin, "uint32"), "dtype required auto or uint16 (by " + folder.file("d.idx")));
  CHECK(contains(text(golden_idx, ""), "found an empty file"));
}

TEST_CASE("A NumPy array of ids is read in every type and format version") {
  struct Case {
    const char* descr;
    size_t width;
  };
  for (const Case& c : {Case{"|u1", 1}, {"<u2", 2}, {"<u4", 4}, {"<i4", 4}, {"<i8", 8}}) {
    for (const char version : {1, 2, 3}) {
      INFO(c.descr << " version " << int{version});
      Folder folder;
      const std::string header = concat("{'descr': '", c.descr, "', 'fortran_order': False, 'shape': (3,), }");
      const std::string path = folder.write(npy(header, little_endian({7, 90, 9}, c.width), version), "a.npy");
      const TokenFile file(path, "auto", 91);
      CHECK(file.layout().format == TokenFormat::npy);
      CHECK(all_of(file) == std::vector<int32_t>{7, 90, 9});
      CHECK_FALSE(file.has_documents());
    }
  }
  // As numpy.save writes np.array([7, 70000, 9], dtype=np.uint32).
  std::string golden("\x93NUMPY\x01\x00v\x00", 10);
  golden += "{'descr': '<u4', 'fortran_order': False, 'shape': (3,), }";
  golden.resize(127, ' ');
  golden += '\n' + from_hex("07000000 70110100 09000000");
  REQUIRE(golden.size() == 140);
  Folder folder;
  CHECK(all_of(TokenFile(folder.write(golden, "g"), "auto", 70001)) == std::vector<int32_t>{7, 70000, 9});
}

TEST_CASE("A NumPy array that holds no stream of ids is refused by what it is") {
  Folder folder;
  const auto text = [&](const std::string& header, const std::string& body = "abcdefgh") {
    const std::string path = folder.write(npy(header, body), "a.npy");
    const std::string found = error_text([&] { TokenFile(path, "auto", 100); });
    CHECK(contains(found, "[data] " + path + ": required "));
    CHECK_FALSE(contains(found, "\n"));
    return found;
  };
  CHECK(contains(text("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"), "found '<f4'"));
  CHECK(contains(text("{'descr': '>u2', 'fortran_order': False, 'shape': (4,), }"), "found '>u2'"));
  CHECK(contains(text("{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (4,), }"), "found [("));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': True, 'shape': (4,), }"), "fortran_order False, found True"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2), }"),
                 "one dimension, found shape (2, 2)"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (), }"), "one dimension, found shape ()"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, }"), "required 'shape' in the header"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (5,), }"), "is cut off at byte"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (3,), }"), "do not belong from byte"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999,), }"), "is cut off"));
  CHECK(contains(text("{'descr': '<u2', 'fortran_order': False, 'shape': (0,), }", ""), "an array of none"));
  const std::string cut = folder.write(std::string("\x93NUMPY\x01\x00", 8), "c.npy");
  CHECK(contains(error_text([&] { TokenFile(cut, "auto", 100); }), "the file is cut off or damaged"));
}

TEST_CASE("A headerless .npy is uint16 or wider, and a table beside it bounds the documents") {
  Folder folder;
  const std::string path = folder.write(little_endian({7, 8, 50279, 9, 50279}, 2), "part-0.npy");
  const TokenFile plain(path, "auto", 50304);
  CHECK(plain.layout().format == TokenFormat::raw_npy);
  CHECK(plain.type() == TokenType::uint16);
  CHECK(TokenFile(path, "auto", 256, 256).type() == TokenType::uint16);
  CHECK_FALSE(plain.has_documents());
  const std::string table = gzip(folder.file("part-0.csv.gz"), "0,3,a,b\n3,5,\"x, y\",c\n");
  const TokenFile file(path, "auto", 50304);
  CHECK(all_of(file) == std::vector<int32_t>{7, 8, 50279, 9, 50279});
  CHECK(file.document_starts() == std::vector<int64_t>{0, 3, 5});
  const auto text = [&](const std::string& lines) {
    gzip(table, lines);
    const std::string found = error_text([&] { file.document_starts(); });
    CHECK(contains(found, table));
    CHECK_FALSE(contains(found, "\n"));
    return found;
  };
  for (const std::string& found : {text("0,3\n3,6\n"), text("0,3\n4,5\n"), text("0,3\n"), text("1,5\n"), text("")}) {
    CHECK(contains(found, path));
  }
  CHECK(contains(text("0,3\n3,6\n"), "line 2 required a document from id 3 on that ends within the 5 ids"));
  CHECK(contains(text("start,end\n"), "line 1 required start,end of a document"));
  CHECK(contains(text("0,3\n3;5\n"), "line 2 required"));
  std::string archive = read_file(gzip(table, std::string(5000, '0') + "\n"));
  folder.write(archive.substr(0, archive.size() / 2), "part-0.csv.gz");
  CHECK(contains(error_text([&] { file.document_starts(); }), table));
}

TEST_CASE("Several shards that match a pattern are one stream in the order of their names") {
  Folder folder;
  folder.write(llmc_file(20240520, 1, 3, little_endian({1, 2, 3}, 2)), "train_000001.bin");
  folder.write(llmc_file(20240801, 7, 2, little_endian({4, 70000}, 4)), "train_000002.bin");
  folder.write(llmc_file(20240520, 1, 1, little_endian({6}, 2)), "train_000003.bin");
  const TokenStream stream(folder.file("train_*.bin"), "auto", 70001);
  CHECK(stream.files().size() == 3);
  CHECK(all_of(stream) == std::vector<int32_t>{1, 2, 3, 4, 70000, 6});
  CHECK_FALSE(stream.has_documents());
  for (int64_t begin = 0; begin <= 6; ++begin) {
    for (int64_t count = 0; count <= 6 - begin; ++count) {
      std::vector<int32_t> part(static_cast<size_t>(count));
      stream.read(begin, count, part.data());
      const std::vector<int32_t> all = all_of(stream);
      CHECK(std::equal(part.begin(), part.end(), all.begin() + begin));
    }
  }
  int32_t id = 0;
  CHECK(contains(error_text([&] { stream.read(6, 1, &id); }), "required a range within"));
  CHECK(contains(error_text([&] { TokenStream(folder.file("none_*.bin"), "auto", 10); }),
                 "none_*.bin: required a token file, found none there"));
  // Indexes belong to the files beside them.
  folder.write(golden_bin, "m1.bin");
  folder.write(golden_idx, "m1.idx");
  folder.write(golden_bin, "m2.bin");
  folder.write(golden_idx, "m2.idx");
  const TokenStream megatron(folder.file("m*"), "auto", 10);
  CHECK(megatron.size() == 10);
  CHECK(megatron.document_starts() == std::vector<int64_t>{0, 3, 5, 8, 10});
}

TEST_CASE("A file over 4 GiB is read at its end") {
  Folder folder;
  const std::string path = folder.write("", "large");
  constexpr int64_t bytes = (int64_t{5} << 30) + 6;
  REQUIRE(::truncate(path.c_str(), bytes) == 0);  // sparse
  const int descriptor = ::open(path.c_str(), O_WRONLY);
  REQUIRE(::pwrite(descriptor, "\x01\x00\x02\x00\x03\x00", 6, bytes - 6) == 6);
  ::close(descriptor);
  const TokenFile file(path, "uint16", 100);
  CHECK(file.size() == bytes / 2);
  std::vector<int32_t> ids(4);
  file.read(file.size() - 4, 4, ids.data());
  CHECK(ids == std::vector<int32_t>{0, 1, 2, 3});
}

TEST_CASE("A file that is shortened while it is open is an error of the read") {
  Folder folder;
  const std::string path = folder.write(std::string(20000, '\x01'), "short");
  const TokenFile file(path, "uint8", 100);
  CHECK(file.at(19999) == 1);
  REQUIRE(::truncate(path.c_str(), 10000) == 0);
  const std::string text = error_text([&] { file.at(19999); });
  CHECK(contains(text, path));
  CHECK(contains(text, "from byte 19999 on, found the end of the file; was it shortened? It had 20000 bytes"));
  CHECK(file.at(9999) == 1);
}

TEST_CASE("A report counts documents by bounds or by id, their lengths, and ids out of range") {
  Folder folder;
  TokenReportOptions options;
  options.vocab_size = 10;
  options.end_of_document = 0;
  options.num_samples = 2;
  options.sample_tokens = 3;
  const std::string path = folder.write(std::string("\x01\x00\x02\x03\x04\x00\x0b\x0c\x05\x06", 10), "r");
  const TokenReport report = report_tokens(TokenFile(path, "uint8", 256), options);
  CHECK(report.smallest_id == 0);
  CHECK(report.largest_id == 12);
  REQUIRE(report.documents);
  CHECK(report.documents->count == 3);
  CHECK(report.documents->shortest == 2);
  CHECK(report.documents->longest == 4);
  CHECK(report.documents->median == 4);
  CHECK(report.documents->mean == 10.0 / 3.0);
  CHECK(report.num_out_of_range == 2);
  CHECK(report.out_of_range == std::vector<std::pair<int64_t, int64_t>>{{6, 11}, {7, 12}});
  REQUIRE(report.samples.size() == 2);
  CHECK(report.samples[0].ids == std::vector<int64_t>{1, 0});
  CHECK(report.samples[1].position == 2);
  CHECK(report.samples[1].ids == std::vector<int64_t>{2, 3, 4});

  const std::string bin = folder.write(golden_bin, "d.bin");
  folder.write(golden_idx, "d.idx");
  const TokenReport bounded = report_tokens(TokenFile(bin, "auto", 256), options);
  REQUIRE(bounded.documents);
  CHECK(bounded.documents->count == 2);
  CHECK(bounded.documents->longest == 3);
  options.end_of_document.reset();
  const TokenReport unbounded = report_tokens(TokenFile(path, "uint8", 256), options);
  CHECK_FALSE(unbounded.documents);
  CHECK(unbounded.samples[1].position == 5);
}

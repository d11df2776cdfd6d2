#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "util/files.h"
#include "util/json.h"
#include "util/utf8.h"

// The texts of tools/make_tokenizer_goldens.py, made again from what its file says.

namespace artel {

inline std::string golden_tokenizer(const std::string& name) {
  const std::string folder = ARTEL_SOURCE_DIR "/tests/golden/tokenizers/";
  const size_t colon = name.find(':');
  if (colon != std::string::npos) return name.substr(0, colon + 1) + folder + name.substr(colon + 1);
  return folder + name + ".json";
}

inline Json golden_tokenizer_lines() {
  const std::string path = golden_tokenizer("expected");
  return parse_json(read_file(path), path);
}

inline std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// splitmix64
class GoldenRandom {
 public:
  explicit GoldenRandom(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t limit) {
    uint64_t value = state_ += 0x9E3779B97F4A7C15U;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
    return (value ^ (value >> 31)) % limit;
  }

 private:
  uint64_t state_;
};

/// A line for every 256 code points, each in one of eight surroundings.
inline void add_block_lines(const Json& ranges, std::vector<std::string>& lines) {
  std::string line;
  char32_t block = 0;
  for (const Json& range : ranges) {
    for (char32_t code = range[0].get<uint32_t>(); code <= range[1].get<uint32_t>(); ++code) {
      if (code / 256 != block && !line.empty()) lines.push_back(std::exchange(line, {}));
      block = code / 256;
      std::string character;
      append_utf8(character, code);
      const std::string around[] = {character,       " " + character,       character + "1",
                                    "a" + character, character + character, character + " ",
                                    "'" + character, character + "\n"};
      line += around[code % 8];
    }
  }
  lines.push_back(line);
}

inline std::vector<std::string> golden_lines(const Json& expected) {
  std::vector<std::string> lines;
  add_block_lines(expected["ranges"], lines);
  for (const Json& run : expected["runs"]) {
    std::string line;
    for (int i = 0; i < run[1].get<int>(); ++i) line += bytes_of_hex(run[0].get<std::string>());
    lines.push_back(std::move(line));
  }
  uint64_t seed = 0;
  for (const auto& [atoms_key, count_key] : {std::pair("atoms", "num_random"), {"invalid_atoms", "num_invalid"}}) {
    GoldenRandom random(++seed);
    std::vector<std::string> atoms;
    for (const Json& atom : expected[atoms_key]) atoms.push_back(bytes_of_hex(atom.get<std::string>()));
    for (int i = 0; i < expected[count_key].get<int>(); ++i) {
      std::string line;
      const uint64_t num_atoms = 1 + random.below(24);
      for (uint64_t atom = 0; atom < num_atoms; ++atom) line += atoms[random.below(atoms.size())];
      lines.push_back(std::move(line));
    }
  }
  return lines;
}

/// The lower 24 bits of FNV-1a of the ids as 32-bit numbers, in hexadecimal.
inline std::string golden_hash(const std::vector<int32_t>& ids) {
  uint32_t value = 0x811C9DC5U;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      value = (value ^ ((static_cast<uint32_t>(id) >> shift) & 0xFFU)) * 0x01000193U;
    }
  }
  std::string text;
  for (int shift = 20; shift >= 0; shift -= 4) text += "0123456789abcdef"[(value >> shift) & 15U];
  return text;
}

}  // namespace artel

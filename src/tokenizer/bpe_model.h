#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/pair_table.h"

namespace artel {

struct TransparentHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
/// From the bytes of a token to its id.
using TokenIds = std::unordered_map<std::string, int32_t, TransparentHash, std::equal_to<>>;

/// What a byte-pair encoding is made of.
struct BpeParts {
  TokenIds ids;                                     ///< tokens that pieces of text can become
  std::array<int32_t, 256> byte_ids{};              ///< the token of each byte; -1: none
  std::vector<std::pair<int32_t, int32_t>> merges;  ///< in the order of their ranks; a pair's last rank counts
  std::vector<int32_t> merged_ids;                  ///< what each merge makes
  bool whole_pieces_first = false;                  ///< a piece that is a token is that token (ignore_merges)
  int32_t unknown_id = -1;                          ///< for bytes without a token; -1: these are left out
  bool fuse_unknown = false;                        ///< one unknown_id for a run of them
};

/// Byte-pair encoding of pieces: neighbouring tokens are merged by the lowest rank, the leftmost of equals first, until
/// no pair has one (Sennrich et al. 2016 on bytes, Radford et al. 2019).
class BpeModel {
 public:
  explicit BpeModel(BpeParts parts);

  /// Memory for one thread.
  struct Workspace {
    struct Node {
      int32_t id;
      int32_t before, after;  ///< neighbours; -1: none
    };
    struct Candidate {
      int32_t rank, position, left, right;
    };
    std::vector<int32_t> ids, ranks;
    std::vector<Node> nodes;
    std::vector<Candidate> heap;
  };

  /// Appends the ids of the bytes of one piece, which is not empty and less than 2 GiB.
  void encode(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const;
  /// The same by the method for short (quadratic time) or for long pieces.
  void encode_short(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const;

  const BpeParts& parts() const { return parts_; }

 private:
  void start(std::string_view piece, std::vector<int32_t>& symbols) const;

  BpeParts parts_;
  PairTable pairs_;
};

}  // namespace artel

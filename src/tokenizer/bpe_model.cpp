#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <limits>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Up to here shifting arrays costs less than keeping a heap.
constexpr size_t max_short_piece = 48;

constexpr int32_t never = std::numeric_limits<int32_t>::max();

int32_t rank_of(PairMerge merge) {
  return merge.rank < 0 ? never : merge.rank;
}

// For a heap whose front has the lowest rank, and of equals the leftmost position.
bool comes_later(const BpeModel::Workspace::Candidate& a, const BpeModel::Workspace::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

BpeModel::BpeModel(BpeParts parts) : parts_(std::move(parts)), pairs_(parts_.merges.size()) {
  for (size_t rank = 0; rank < parts_.merges.size(); ++rank) {
    const auto [left, right] = parts_.merges[rank];
    pairs_.insert(left, right, {static_cast<int32_t>(rank), parts_.merged_ids[rank]});
  }
}

void BpeModel::encode(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const {
  if (parts_.whole_pieces_first) {
    if (const auto found = parts_.ids.find(piece); found != parts_.ids.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  if (piece.size() <= max_short_piece) {
    encode_short(piece, workspace, ids);
  } else {
    encode_long(piece, workspace, ids);
  }
}

// The tokens of the bytes.
void BpeModel::start(std::string_view piece, std::vector<int32_t>& symbols) const {
  symbols.clear();
  bool after_unknown = false;
  for (const char byte : piece) {
    int32_t id = parts_.byte_ids[static_cast<unsigned char>(byte)];
    const bool unknown = id < 0;
    if (unknown) id = parts_.fuse_unknown && after_unknown ? -1 : parts_.unknown_id;
    after_unknown = unknown;
    if (id >= 0) symbols.push_back(id);
  }
}

void BpeModel::encode_short(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const {
  std::vector<int32_t>& symbols = workspace.ids;
  std::vector<int32_t>& ranks = workspace.ranks;  // of the pair that begins at each symbol
  start(piece, symbols);
  size_t size = symbols.size();
  ranks.resize(size + 1);
  for (size_t i = 0; i + 1 < size; ++i) ranks[i] = rank_of(pairs_.find(symbols[i], symbols[i + 1]));
  while (size > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < size; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == never) break;
    symbols[best] = parts_.merged_ids[static_cast<size_t>(ranks[best])];
    --size;
    for (size_t i = best + 1; i < size; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
    }
    if (best + 1 < size) ranks[best] = rank_of(pairs_.find(symbols[best], symbols[best + 1]));
    if (best > 0) ranks[best - 1] = rank_of(pairs_.find(symbols[best - 1], symbols[best]));
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(size));
}

void BpeModel::encode_long(std::string_view piece, Workspace& workspace, std::vector<int32_t>& ids) const {
  if (piece.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    fail("tokenizer", concat("required a piece below 2 GiB between two places to cut, found ", piece.size(), " bytes"));
  }
  start(piece, workspace.ids);
  const auto size = static_cast<int32_t>(workspace.ids.size());
  std::vector<Workspace::Node>& nodes = workspace.nodes;
  std::vector<Workspace::Candidate>& heap = workspace.heap;
  nodes.clear();
  heap.clear();
  for (int32_t i = 0; i < size; ++i) {
    nodes.push_back({workspace.ids[static_cast<size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1});
  }
  const auto node = [&nodes](int32_t i) -> Workspace::Node& { return nodes[static_cast<size_t>(i)]; };
  const auto add_pair = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return false;
    const PairMerge merge = pairs_.find(node(left).id, node(right).id);
    if (merge.rank < 0) return false;
    heap.push_back({merge.rank, left, node(left).id, node(right).id});
    return true;
  };
  for (int32_t i = 0; i + 1 < size; ++i) add_pair(i, i + 1);
  std::make_heap(heap.begin(), heap.end(), comes_later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const Workspace::Candidate top = heap.back();
    heap.pop_back();
    Workspace::Node& left = node(top.position);
    if (left.id != top.left || left.after < 0 || node(left.after).id != top.right) continue;  // merged meanwhile
    Workspace::Node& right = node(left.after);
    left.id = parts_.merged_ids[static_cast<size_t>(top.rank)];
    left.after = right.after;
    right.id = -1;
    if (left.after >= 0) node(left.after).before = top.position;
    if (add_pair(left.before, top.position)) std::push_heap(heap.begin(), heap.end(), comes_later);
    if (add_pair(top.position, left.after)) std::push_heap(heap.begin(), heap.end(), comes_later);
  }
  for (int32_t i = size > 0 ? 0 : -1; i >= 0; i = node(i).after) ids.push_back(node(i).id);
}

}  // namespace artel

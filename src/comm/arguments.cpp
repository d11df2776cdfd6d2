// What the operations of every transport require of their arguments, and how ranks compare them.
#include <algorithm>
#include <memory>
#include <numeric>

#include "comm/exchange_communicator.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

std::int64_t row_bytes(const Tensor& x) {
  return x.shape().inner() * static_cast<std::int64_t>(dtype_size(x.dtype()));
}

// Rows that this rank sends to each, those it expects from each, and those that each says it sends.
struct RowCounts {
  std::vector<std::int64_t> sent;
  std::vector<std::int64_t> expected;
  std::vector<std::int64_t> found;
};

void compare(const RowCounts& rows, const std::vector<int>& world_ranks) {
  for (std::size_t r = 0; r < world_ranks.size(); ++r) {
    if (rows.expected[r] == rows.found[r]) continue;
    throw TransportFailure(
        concat(rows.found[r], " rows from rank ", world_ranks[r], " where this rank expects ", rows.expected[r]));
  }
}

}  // namespace

std::shared_ptr<Operation> ExchangeCommunicator::announce(const OperationLabel& label,
                                                          const std::vector<std::int64_t> (&rows)[2]) {
  const auto n = static_cast<std::size_t>(size());
  OperationStage stage;
  stage.is_counted = false;
  stage.send.resize(n);
  stage.receive.resize(n);
  if (!rows[0].empty()) {
    const auto counts = std::make_shared<RowCounts>(RowCounts{rows[0], rows[1], rows[0]});
    for (std::size_t r = 0; r < n; ++r) {
      stage.send[r] = {reinterpret_cast<const std::byte*>(&counts->sent[r]), sizeof(std::int64_t)};
      stage.receive[r] = {reinterpret_cast<std::byte*>(&counts->found[r]), sizeof(std::int64_t)};
    }
    stage.finish = [counts, own = static_cast<std::size_t>(rank()), &world_ranks = group_.world_ranks] {
      counts->found[own] = counts->sent[own];
      compare(*counts, world_ranks);
    };
  }
  std::vector<OperationStage> stages;
  stages.push_back(std::move(stage));
  return start(label, std::move(stages));
}

void ExchangeCommunicator::check_root(int root, Purpose purpose) const {
  if (root >= 0 && root < size()) return;
  refuse(OperationKind::broadcast, purpose, concat("required a root from 0 to ", size() - 1, ", found ", root));
}

void ExchangeCommunicator::check_pieces(const Tensor& send, const RowPieces& send_pieces, const Tensor& receive,
                                        const RowPieces& receive_pieces, Purpose purpose) const {
  constexpr auto kind = OperationKind::all_to_all_v;
  const auto n = static_cast<std::size_t>(size());
  for (const auto& [x, pieces] : {std::pair{&send, &send_pieces}, std::pair{&receive, &receive_pieces}}) {
    check_tensor(kind, purpose, *x);
    if (pieces->counts.size() != n || pieces->offsets.size() != n) {
      refuse(kind, purpose, concat("required one piece per rank, ", n, ", found ", pieces->counts.size()));
    }
    const std::int64_t num_rows = x->shape().rank() > 0 ? x->size(0) : 1;
    for (std::size_t r = 0; r < n; ++r) {
      const std::int64_t begin = pieces->offsets[r];
      const std::int64_t count = pieces->counts[r];
      if (count < 0 || begin < 0 || begin > num_rows || count > num_rows - begin) {
        refuse(kind, purpose,
               concat("required pieces within ", num_rows, " rows, found ", count, " rows from row ", begin,
                      " for rank ", r));
      }
    }
  }
  const std::int64_t bytes = row_bytes(send);
  const auto own = static_cast<std::size_t>(rank());
  if (send.dtype() != receive.dtype() || row_bytes(receive) != bytes) {
    refuse(kind, purpose,
           concat("required rows of one type and size, found ", dtype_name(send.dtype()), " ", send.shape().to_string(),
                  " and ", dtype_name(receive.dtype()), " ", receive.shape().to_string()));
  }
  if (send_pieces.counts[own] != receive_pieces.counts[own]) {
    refuse(kind, purpose,
           concat("required as many rows from this rank to itself as it expects, ", receive_pieces.counts[own],
                  ", found ", send_pieces.counts[own]));
  }
}

void ExchangeCommunicator::check_tensor(OperationKind kind, Purpose purpose, const Tensor& x) const {
  // A sum over one rank touches nothing, wherever it is.
  const bool any_device = size() == 1 && (kind == OperationKind::all_reduce || kind == OperationKind::broadcast);
  if (x.defined() && x.is_contiguous() && (x.device() == device_ || any_device)) return;
  refuse(kind, purpose,
         concat("required a contiguous tensor in the memory of ", device_name(device_), ", found ",
                x.defined() ? concat("another one, ", x.shape().to_string(), " on ", device_name(x.device()))
                            : std::string("an undefined one")));
}

void ExchangeCommunicator::check_counts(OperationKind kind, Purpose purpose, std::span<const std::int64_t> counts,
                                        const Tensor& piece, const Tensor& x) const {
  check_tensor(kind, purpose, piece);
  check_tensor(kind, purpose, x);
  if (counts.size() != static_cast<std::size_t>(size()) ||
      std::any_of(counts.begin(), counts.end(), [](std::int64_t count) { return count < 0; })) {
    refuse(kind, purpose,
           concat("required one count of at least 0 per rank, ", size(), ", found ", counts.size(), " counts"));
  }
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const std::int64_t own = counts[static_cast<std::size_t>(rank())];
  if (piece.dtype() != x.dtype() || piece.numel() != own * x.shape().inner() ||
      x.numel() != total * x.shape().inner()) {
    refuse(kind, purpose,
           concat("required a piece of ", own, " of ", total, " rows of one type, found ", dtype_name(piece.dtype()),
                  " ", piece.shape().to_string(), " of ", dtype_name(x.dtype()), " ", x.shape().to_string()));
  }
}

void ExchangeCommunicator::refuse(OperationKind kind, Purpose purpose, const std::string& what) const {
  fail("communication", concat(operation_name(kind), " (", purpose_name(purpose), ") of group '", group_.name,
                               "': ", what, "; this is rank ", group_.world_ranks[static_cast<std::size_t>(rank())]));
}

}  // namespace artel

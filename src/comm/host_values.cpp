// The operations on small values of the host, and the splitting of groups that is built on them.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "comm/exchange_communicator.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

template <class T>
std::byte* bytes_of(T* values) {
  return reinterpret_cast<std::byte*>(values);
}

}  // namespace

void ExchangeCommunicator::all_reduce_values(std::span<double> values, Purpose purpose, Reduction reduction) {
  const OperationLabel label{.kind = OperationKind::all_reduce,
                             .purpose = purpose,
                             .element = ElementType::f64,
                             .reduction = reduction,
                             .num_elements = static_cast<std::int64_t>(values.size())};
  start_reduce_all(label, bytes_of(values.data()), {})->wait();
}

void ExchangeCommunicator::all_reduce_values(std::span<std::int64_t> values, Purpose purpose, Reduction reduction) {
  const OperationLabel label{.kind = OperationKind::all_reduce,
                             .purpose = purpose,
                             .element = ElementType::i64,
                             .reduction = reduction,
                             .num_elements = static_cast<std::int64_t>(values.size())};
  start_reduce_all(label, bytes_of(values.data()), {})->wait();
}

void ExchangeCommunicator::all_to_all_counts(std::span<const std::int64_t> send, std::span<std::int64_t> receive,
                                             Purpose purpose) {
  const auto n = static_cast<std::size_t>(size());
  if (send.size() != receive.size() || send.size() % n != 0) {
    refuse(OperationKind::all_to_all_counts, purpose,
           concat("required as many counts to send as to receive, a multiple of ", n, ", found ", send.size(), " and ",
                  receive.size()));
  }
  const std::size_t k = send.size() / n;
  const auto own = static_cast<std::size_t>(rank());
  OperationStage stage;
  for (std::size_t r = 0; r < n; ++r) {
    const auto bytes = static_cast<std::int64_t>(8 * k);
    stage.send.push_back({reinterpret_cast<const std::byte*>(send.data() + r * k), bytes});
    stage.receive.push_back({bytes_of(receive.data() + r * k), bytes});
  }
  std::copy_n(send.begin() + static_cast<std::ptrdiff_t>(own * k), k,
              receive.begin() + static_cast<std::ptrdiff_t>(own * k));
  std::vector<OperationStage> stages;
  stages.push_back(std::move(stage));
  start({.kind = OperationKind::all_to_all_counts,
         .purpose = purpose,
         .element = ElementType::i64,
         .num_elements = static_cast<std::int64_t>(send.size())},
        std::move(stages))
      ->wait();
}

std::vector<std::string> ExchangeCommunicator::all_gather_text(std::string_view text, Purpose purpose) {
  const auto n = static_cast<std::size_t>(size());
  OperationLabel label{.kind = OperationKind::all_gather_text, .purpose = purpose};
  std::vector<std::int64_t> lengths(n);
  const auto length = static_cast<std::int64_t>(text.size());
  std::vector<OperationStage> stages;
  stages.push_back(gather_stage(reinterpret_cast<const std::byte*>(&length), std::vector<std::int64_t>(n, 8),
                                bytes_of(lengths.data())));
  start(label, std::move(stages))->wait();

  std::string all(static_cast<std::size_t>(std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0})), '\0');
  stages.clear();
  stages.push_back(gather_stage(reinterpret_cast<const std::byte*>(text.data()), lengths, bytes_of(all.data())));
  start(label, std::move(stages))->wait();

  std::vector<std::string> texts;
  std::size_t begin = 0;
  for (const std::int64_t bytes : lengths) {
    texts.push_back(all.substr(begin, static_cast<std::size_t>(bytes)));
    begin += static_cast<std::size_t>(bytes);
  }
  return texts;
}

void ExchangeCommunicator::barrier(Purpose purpose) {
  OperationStage stage;
  stage.send.resize(static_cast<std::size_t>(size()));
  stage.receive.resize(static_cast<std::size_t>(size()));
  std::vector<OperationStage> stages;
  stages.push_back(std::move(stage));
  start({.kind = OperationKind::barrier, .purpose = purpose}, std::move(stages))->wait();
}

std::unique_ptr<Communicator> ExchangeCommunicator::split(int color, int key, const std::string& name) {
  std::optional<RankGroup> group = split_off(color, key, name);
  if (!group) return nullptr;
  return std::unique_ptr<Communicator>(new ExchangeCommunicator(std::move(*group)));
}

std::optional<RankGroup> ExchangeCommunicator::split_off(int color, int key, const std::string& name) {
  struct Choice {
    std::int64_t color;
    std::int64_t key;
  };
  const auto n = static_cast<std::size_t>(size());
  const Choice own{color, key};
  std::vector<Choice> all(n);
  std::vector<OperationStage> stages;
  stages.push_back(gather_stage(reinterpret_cast<const std::byte*>(&own), std::vector<std::int64_t>(n, sizeof(Choice)),
                                bytes_of(all.data())));
  const std::uint64_t sequence = group_.num_started;
  start({.kind = OperationKind::split}, std::move(stages))->wait();

  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (color >= 0 && all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&all](int a, int b) {
    return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
  });
  RankGroup group;
  try {
    group.transport = group_.transport->split(sequence, color, members);
  } catch (const TransportFailure& failure) {
    group_.family->break_off(failure.what());
    refuse(OperationKind::split, Purpose::control, concat("required it to succeed, found: ", failure.what()));
  }
  if (color < 0) return std::nullopt;
  group.family = group_.family;
  group.name = name;
  for (const int r : members) group.world_ranks.push_back(group_.world_ranks[static_cast<std::size_t>(r)]);
  return group;
}

}  // namespace artel

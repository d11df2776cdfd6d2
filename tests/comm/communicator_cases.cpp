#include "comm/communicator_cases.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "comm/case_tensors.h"

namespace artel {
namespace {

std::vector<int> all_ranks(const Communicator& group) {
  std::vector<int> ranks(static_cast<std::size_t>(group.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

std::int64_t total_of(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

/// Uneven counts, the same on every rank: zeros are common.
std::vector<std::int64_t> ragged_counts(const std::string& name, int n) {
  std::vector<std::int64_t> counts;
  for (int r = 0; r < n; ++r) {
    const Rng rng(3, name);
    const std::uint32_t bits = rng.bits(static_cast<std::uint64_t>(r));
    counts.push_back(bits % 3 == 0 ? 0 : bits % 37);
  }
  return counts;
}

std::int64_t sent(const Communicator& group, Purpose purpose) {
  return group.counters().bytes_sent[static_cast<std::size_t>(purpose)];
}

template <class T>
void check_all_reduce(Communicator& world) {
  HostAllocator allocator;
  const int n = world.size();
  bool order_matters = false;
  for (const std::int64_t count : {0, 1, 2, n - 1, n, n + 1, 3 * n, 257, 4999}) {
    const std::string name = concat("reduce ", count);
    Tensor x = case_tensor<T>(allocator, count, 1, name, world.rank());
    world.all_reduce(x, Purpose::gradients);
    Tensor expected = Tensor::empty(allocator, {count, 1}, DTypeOf<T>::value);
    std::vector<int> reversed = all_ranks(world);
    std::reverse(reversed.begin(), reversed.end());
    for (std::int64_t i = 0; i < count; ++i) {
      expected.data<T>()[i] = sum_in_order<T>(name, all_ranks(world), i);
      const T other = sum_in_order<T>(name, reversed, i);
      order_matters = order_matters || as_number(other) != as_number(expected.data<T>()[i]);
    }
    COMM_REQUIRE(same_bits(x, expected));
  }
  // Otherwise the comparison above would say nothing about the order; a bf16 hides it nearly always.
  if (!std::is_same_v<T, bf16>) COMM_REQUIRE(order_matters == (n > 2 && !std::is_integral_v<T>));
}

template <class T>
void check_cancellation(Communicator& world) {
  // Rank 0 and 1 cancel, and the ones after them stay; in another order the large values would swallow ones.
  if (world.size() < 3) return;
  HostAllocator allocator;
  const float values[] = {0x1p60F, -0x1p60F, 1.0F};
  Tensor x = Tensor::empty(allocator, {9}, DTypeOf<T>::value);
  for (int i = 0; i < 9; ++i) {
    if constexpr (std::is_same_v<T, bf16>) {
      x.data<T>()[i] = to_bf16(values[std::min(world.rank(), 2)]);
    } else {
      x.data<T>()[i] = values[std::min(world.rank(), 2)];
    }
  }
  world.all_reduce(x, Purpose::gradients);
  for (int i = 0; i < 9; ++i) COMM_REQUIRE(as_number(x.data<T>()[i]) == world.size() - 2);
}

void all_reduce_sums_in_rank_order(Communicator& world) {
  check_all_reduce<float>(world);
  check_all_reduce<double>(world);
  check_all_reduce<bf16>(world);
  check_all_reduce<std::int32_t>(world);
  check_cancellation<float>(world);
  check_cancellation<double>(world);
  check_cancellation<bf16>(world);
}

template <class T>
void check_reduce_scatter(Communicator& world, const std::vector<std::int64_t>& counts, bool in_place) {
  HostAllocator allocator;
  const std::string name = concat("scatter ", total_of(counts));
  const RowPieces pieces = consecutive_pieces(counts);
  const std::int64_t begin = pieces.offsets[at(world.rank())];
  const std::int64_t own = counts[at(world.rank())];
  Tensor whole = case_tensor<T>(allocator, total_of(counts), 5, name, world.rank());
  Tensor x = case_tensor<T>(allocator, total_of(counts), 5, name, world.rank());
  world.all_reduce(whole, Purpose::gradients);
  Tensor gathered = Tensor::empty(allocator, x.shape(), x.dtype());
  if (in_place) {
    world.reduce_scatter(x, counts, x.rows(begin, begin + own), Purpose::gradients);
    world.all_gather(x.rows(begin, begin + own), counts, x, Purpose::parameters);
    gathered = x;
  } else {
    Tensor piece = Tensor::empty(allocator, {own, 5}, x.dtype());
    world.reduce_scatter(x, counts, piece, Purpose::gradients);
    COMM_REQUIRE(same_bits(x, case_tensor<T>(allocator, total_of(counts), 5, name, world.rank())));
    world.all_gather(piece, counts, gathered, Purpose::parameters);
  }
  COMM_REQUIRE(same_bits(whole, gathered));
}

void reduce_scatter_and_all_gather_make_all_reduce(Communicator& world) {
  const int n = world.size();
  for (const bool in_place : {false, true}) {
    for (const std::string name : {"a", "b", "c", "d"}) {
      const std::vector<std::int64_t> counts = ragged_counts(name, n);
      check_reduce_scatter<float>(world, counts, in_place);
      check_reduce_scatter<double>(world, counts, in_place);
      check_reduce_scatter<bf16>(world, counts, in_place);
      check_reduce_scatter<std::int32_t>(world, counts, in_place);
    }
    check_reduce_scatter<bf16>(world, even_shares(8 * n, n), in_place);
    check_reduce_scatter<float>(world, std::vector<std::int64_t>(at(n), 0), in_place);
    std::vector<std::int64_t> all_to_last(at(n), 0);
    all_to_last.back() = 700;  // more than one block of the summing loop
    check_reduce_scatter<float>(world, all_to_last, in_place);
  }
}

void bf16_sums_are_rounded_once(Communicator& world) {
  // 256 + 1 stays 256 in bf16; in fp32 the ones add up first.
  HostAllocator allocator;
  Tensor x = Tensor::empty(allocator, {3}, DType::bf16);
  for (int i = 0; i < 3; ++i) x.data<bf16>()[i] = to_bf16(world.rank() == 0 ? 256.0F : 1.0F);
  world.all_reduce(x, Purpose::gradients);
  const float sum = 256.0F + static_cast<float>(world.size() - 1);
  for (int i = 0; i < 3; ++i) COMM_REQUIRE(x.data<bf16>()[i].bits == to_bf16(sum).bits);
}

void max_and_min_keep_nan(Communicator& world) {
  const int n = world.size();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int where = 0; where < n; ++where) {
    std::vector<double> values{static_cast<double>(world.rank()), world.rank() == where ? nan : 1.0};
    std::vector<double> low = values;
    world.all_reduce_values(values, Purpose::control, Reduction::max);
    world.all_reduce_values(low, Purpose::control, Reduction::min);
    COMM_REQUIRE(values[0] == n - 1 && low[0] == 0.0);
    COMM_REQUIRE(std::isnan(values[1]) && std::isnan(low[1]));
  }
  std::vector<std::int64_t> flags{world.rank() == n - 1 ? 1 : 0, std::int64_t{1} << 40, -world.rank()};
  std::vector<std::int64_t> sums = flags;
  world.all_reduce_values(flags, Purpose::control, Reduction::max);
  world.all_reduce_values(sums, Purpose::control);
  COMM_REQUIRE(flags == (std::vector<std::int64_t>{1, std::int64_t{1} << 40, 0}));
  COMM_REQUIRE(sums == (std::vector<std::int64_t>{1, (std::int64_t{1} << 40) * n, -n * (n - 1) / 2}));
}

template <class T>
void check_all_gather(Communicator& world, const std::vector<std::int64_t>& counts) {
  HostAllocator allocator;
  const std::int64_t own = counts[at(world.rank())];
  Tensor piece = case_tensor<T>(allocator, own, 3, "gather", world.rank());
  Tensor x = Tensor::empty(allocator, {total_of(counts), 3}, DTypeOf<T>::value);
  world.all_gather(piece, counts, x, Purpose::parameters);
  std::int64_t begin = 0;
  for (int r = 0; r < world.size(); ++r) {
    const std::int64_t end = begin + counts[at(r)];
    COMM_REQUIRE(same_bits(x.rows(begin, end), case_tensor<T>(allocator, end - begin, 3, "gather", r)));
    begin = end;
  }
}

void all_gather_joins_pieces_of_any_size(Communicator& world) {
  for (const std::string name : {"e", "f", "g"}) {
    check_all_gather<float>(world, ragged_counts(name, world.size()));
    check_all_gather<bf16>(world, ragged_counts(name, world.size()));
    check_all_gather<std::int32_t>(world, ragged_counts(name, world.size()));
  }
  check_all_gather<double>(world, std::vector<std::int64_t>(at(world.size()), 4));
  std::vector<std::string> texts;
  for (int r = 0; r < world.size(); ++r) texts.push_back(std::string(at(r) * 5 % 7, static_cast<char>('a' + r)));
  COMM_REQUIRE(world.all_gather_text(texts[at(world.rank())], Purpose::control) == texts);
}

void broadcast_copies_the_root(Communicator& world) {
  HostAllocator allocator;
  for (int root = 0; root < world.size(); ++root) {
    for (const std::int64_t count : {0, 1, 1000}) {
      Tensor x = case_tensor<bf16>(allocator, count, 2, "broadcast", world.rank());
      world.broadcast(x, root, Purpose::parameters);
      COMM_REQUIRE(same_bits(x, case_tensor<bf16>(allocator, count, 2, "broadcast", root)));
    }
  }
}

/// rows[p][q]: what p sends to q.
using Traffic = std::vector<std::vector<std::int64_t>>;

template <class T>
void check_all_to_all(Communicator& world, const Traffic& rows, const std::string& name) {
  HostAllocator allocator;
  const int n = world.size();
  const int own = world.rank();
  // Pieces for higher ranks first, a row between them that belongs to none.
  const auto laid_out = [n](const std::vector<std::int64_t>& counts) {
    RowPieces pieces{counts, std::vector<std::int64_t>(at(n))};
    std::int64_t begin = 1;
    for (int r = n - 1; r >= 0; --r) {
      pieces.offsets[at(r)] = begin;
      begin += counts[at(r)] + 1;
    }
    return pieces;
  };
  std::vector<std::int64_t> incoming;
  for (int r = 0; r < n; ++r) incoming.push_back(rows[at(r)][at(own)]);
  const RowPieces to = laid_out(rows[at(own)]);
  const RowPieces from = laid_out(incoming);
  Tensor send = Tensor::empty(allocator, {total_of(to.counts) + n + 1, 7}, DTypeOf<T>::value);
  for (int r = 0; r < n; ++r) {
    const Tensor piece = case_tensor<T>(allocator, to.counts[at(r)], 7, name, own * 100 + r);
    if (piece.nbytes() > 0) {
      std::memcpy(send.rows(to.offsets[at(r)], send.size(0)).raw(), piece.raw(), piece.nbytes());
    }
  }
  Tensor receive = case_tensor<T>(allocator, total_of(from.counts) + n + 1, 7, "before", own);
  world.all_to_all_v(send, to, receive, from, Purpose::dispatch);
  const Tensor before = case_tensor<T>(allocator, receive.size(0), 7, "before", own);
  COMM_REQUIRE(same_bits(receive.rows(0, 1), before.rows(0, 1)));
  for (int r = 0; r < n; ++r) {
    const std::int64_t begin = from.offsets[at(r)];
    const std::int64_t end = begin + from.counts[at(r)];
    COMM_REQUIRE(same_bits(receive.rows(begin, end), case_tensor<T>(allocator, end - begin, 7, name, r * 100 + own)));
    COMM_REQUIRE(same_bits(receive.rows(end, end + 1), before.rows(end, end + 1)));
  }
}

void all_to_all_brings_rows_home(Communicator& world) {
  const int n = world.size();
  Traffic random(at(n));
  for (int p = 0; p < n; ++p) random[at(p)] = ragged_counts(concat("from ", p), n);
  Traffic all_to_first(at(n), std::vector<std::int64_t>(at(n), 0));
  Traffic none = all_to_first;
  for (int p = 0; p < n; ++p) all_to_first[at(p)][0] = 50 + p;
  for (const Traffic& rows : {random, all_to_first, none}) {
    check_all_to_all<float>(world, rows, "rows");
    check_all_to_all<bf16>(world, rows, "rows");
    check_all_to_all<std::int32_t>(world, rows, "rows");
    check_all_to_all<double>(world, rows, "rows");
  }
  std::vector<std::int64_t> send;
  for (int r = 0; r < n; ++r) {
    send.push_back(world.rank() * 100 + r);
    send.push_back(-r);
  }
  std::vector<std::int64_t> receive(send.size());
  world.all_to_all_counts(send, receive, Purpose::control);
  for (int r = 0; r < n; ++r) {
    COMM_REQUIRE(receive[at(2 * r)] == r * 100 + world.rank());
    COMM_REQUIRE(receive[at(2 * r + 1)] == -world.rank());
  }
}

void counters_equal_the_formulas(Communicator& world) {
  HostAllocator allocator;
  const int n = world.size();
  const int own = world.rank();
  const auto group = world.split(0, 0, "counted");
  const std::vector<std::int64_t> counts = ragged_counts("counted", n);
  const std::int64_t piece = counts[at(own)] * 3;
  const std::int64_t total = total_of(counts) * 3;
  Tensor x = case_tensor<float>(allocator, total_of(counts), 3, "x", own);
  Tensor rows = Tensor::empty(allocator, {counts[at(own)], 3}, DType::f32);
  group->reduce_scatter(x, counts, rows, Purpose::gradients);
  COMM_REQUIRE(sent(*group, Purpose::gradients) == (total - piece) * 4);
  group->all_gather(rows, counts, x, Purpose::parameters);
  COMM_REQUIRE(sent(*group, Purpose::parameters) == (n - 1) * piece * 4);

  Tensor y = case_tensor<bf16>(allocator, 101, 1, "y", own);
  group->all_reduce(y, Purpose::statistics);
  const std::int64_t share = even_shares(101, n)[at(own)];
  COMM_REQUIRE(sent(*group, Purpose::statistics) == (n == 1 ? 0 : (101 + (n - 2) * share) * 2));
  Tensor z = case_tensor<double>(allocator, 6 * n, 1, "z", own);
  const std::int64_t before = sent(*group, Purpose::statistics);
  group->all_reduce(z, Purpose::statistics);
  COMM_REQUIRE(sent(*group, Purpose::statistics) - before == 2 * (n - 1) * 6 * 8);

  group->broadcast(y, n - 1, Purpose::checkpoint);
  COMM_REQUIRE(sent(*group, Purpose::checkpoint) == (own == n - 1 ? (n - 1) * 202 : 0));
  std::vector<std::int64_t> values(at(3 * n));
  group->all_to_all_counts(values, values, Purpose::combine);
  COMM_REQUIRE(sent(*group, Purpose::combine) == 8 * 3 * (n - 1));
  group->barrier();
  COMM_REQUIRE(sent(*group, Purpose::control) == 0);
  group->all_gather_text(std::string(at(own), 'x'), Purpose::control);
  COMM_REQUIRE(sent(*group, Purpose::control) == (n - 1) * (8 + own));
  group->split(0, 0, "again");
  COMM_REQUIRE(sent(*group, Purpose::control) == (n - 1) * (8 + own + 16));

  RowPieces pieces = consecutive_pieces(std::vector<std::int64_t>(at(n), 2));
  Tensor a = case_tensor<float>(allocator, 2 * n, 4, "a", own);
  Tensor b = case_tensor<float>(allocator, 2 * n, 4, "b", own);
  group->all_to_all_v(a, pieces, b, pieces, Purpose::dispatch);
  COMM_REQUIRE(sent(*group, Purpose::dispatch) == 2 * (n - 1) * 16);
  COMM_REQUIRE(group->counters().num_operations[static_cast<std::size_t>(Purpose::dispatch)] == 1);
}

void groups_split_into_groups(Communicator& world) {
  const int n = world.size();
  const int own = world.rank();
  const auto parity = world.split(own % 2, -own, concat("parity ", own % 2));  // highest rank first
  COMM_REQUIRE(parity->size() == (n + 1 - own % 2) / 2);
  const int highest = (n - 1) % 2 == own % 2 ? n - 1 : n - 2;
  COMM_REQUIRE(parity->rank() == (highest - own) / 2);
  COMM_REQUIRE(parity->name() == concat("parity ", own % 2));
  std::vector<std::int64_t> sum{own};
  parity->all_reduce_values(sum, Purpose::control);
  std::int64_t expected = 0;
  for (int r = own % 2; r < n; r += 2) expected += r;
  COMM_REQUIRE(sum[0] == expected);

  const auto without_first = world.split(own == 0 ? -1 : 7, 0, "without the first");
  COMM_REQUIRE((without_first == nullptr) == (own == 0));
  if (without_first != nullptr) {
    COMM_REQUIRE(without_first->size() == n - 1 && without_first->rank() == own - 1);
    const auto alone = without_first->split(own, 0, "alone");
    std::vector<std::int64_t> value{own};
    alone->all_reduce_values(value, Purpose::control);
    COMM_REQUIRE(alone->size() == 1 && value[0] == own);
    without_first->barrier();
  }
}

void operations_of_several_groups_overlap(Communicator& world) {
  HostAllocator allocator;
  const int own = world.rank();
  const auto half = world.split(own % 2, own, "half");
  std::vector<int> members;
  for (int r = own % 2; r < world.size(); r += 2) members.push_back(r);
  for (int round = 0; round < 20; ++round) {
    const std::string name = concat("round ", round);
    Tensor a = case_tensor<float>(allocator, 1001, 1, name + " a", own);
    Tensor b = case_tensor<float>(allocator, 77 * round, 1, name + " b", own);
    Tensor c = case_tensor<bf16>(allocator, 333, 3, name + " c", own);
    Pending first = world.start_all_reduce(a, Purpose::gradients);
    Pending second = half->start_all_reduce(b, Purpose::gradients);
    Pending third = world.start_all_reduce(c, Purpose::gradients);
    if (round % 5 == 0) world.poll();
    // Every rank waits in an order of its own.
    Pending* order[] = {&first, &second, &third};
    std::rotate(order, order + (own + round) % 3, order + 3);
    for (Pending* pending : order) (*pending)->wait();
    COMM_REQUIRE(first->done() && second->done() && third->done());
    first->wait();
    for (std::int64_t i = 0; i < a.numel(); ++i) {
      COMM_REQUIRE(a.data<float>()[i] == sum_in_order<float>(name + " a", all_ranks(world), i));
    }
    for (std::int64_t i = 0; i < b.numel(); ++i) {
      COMM_REQUIRE(b.data<float>()[i] == sum_in_order<float>(name + " b", members, i));
    }
  }
}

void dropped_handles_end_by_polling(Communicator& world) {
  HostAllocator allocator;
  const int n = world.size();
  Tensor x = case_tensor<float>(allocator, 5000, 1, "dropped", world.rank());
  world.start_all_reduce(x, Purpose::gradients);
  for (int i = 0; i < 3; ++i) world.poll();
  std::vector<std::int64_t> value{1};
  world.all_reduce_values(value, Purpose::control);  // waiting polls what is pending
  COMM_REQUIRE(value[0] == n);
  while (x.is_shared()) world.poll();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    COMM_REQUIRE(x.data<float>()[i] == sum_in_order<float>("dropped", all_ranks(world), i));
  }
  COMM_REQUIRE(world.buffer_stats().active_bytes == 0);
}

void large_tensors_travel_whole(Communicator& world) {
  HostAllocator allocator;
  Tensor x = Tensor::empty(allocator, {300000}, DType::i32);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<std::int32_t>()[i] = static_cast<std::int32_t>(i) + world.rank();
  world.all_reduce(x, Purpose::gradients);
  const int n = world.size();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    COMM_REQUIRE(x.data<std::int32_t>()[i] == static_cast<std::int32_t>(i) * n + n * (n - 1) / 2);
  }
}

}  // namespace

const std::vector<CommunicatorCase>& communicator_cases() {
  static const std::vector<CommunicatorCase> cases{
      {"all_reduce sums in rank order", all_reduce_sums_in_rank_order},
      {"reduce_scatter and all_gather make all_reduce", reduce_scatter_and_all_gather_make_all_reduce},
      {"bf16 sums are rounded once", bf16_sums_are_rounded_once},
      {"max and min keep NaN", max_and_min_keep_nan},
      {"all_gather joins pieces of any size", all_gather_joins_pieces_of_any_size},
      {"broadcast copies the root", broadcast_copies_the_root},
      {"all_to_all_v brings rows home", all_to_all_brings_rows_home},
      {"counters equal the formulas", counters_equal_the_formulas},
      {"groups split into groups", groups_split_into_groups},
      {"operations of several groups overlap", operations_of_several_groups_overlap},
      {"dropped handles end by polling", dropped_handles_end_by_polling},
      {"large tensors travel whole", large_tensors_travel_whole},
  };
  return cases;
}

void run_communicator_cases(Communicator& world) {
  for (const CommunicatorCase& test : communicator_cases()) {
    world.barrier();
    try {
      test.run(world);
    } catch (const Error& error) {
      fail(test.name, error.what());
    }
  }
  world.barrier();
}

}  // namespace artel

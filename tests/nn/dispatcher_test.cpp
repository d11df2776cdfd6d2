// Tokens that travel to experts on other ranks, against what every token must get back.

#include <mutex>

#include "comm/thread_communicator.h"
#include "nn/token_dispatcher.h"
#include "support/catch.h"
#include "support/tensors.h"
#include "support/test_device.h"

using namespace artel;

namespace {

constexpr std::int64_t hidden_size = 3;
constexpr std::int64_t num_experts = 8;
constexpr std::int64_t top_k = 2;

struct Choice {
  const char* name;
  /// [T·2] experts of each token of a rank
  std::vector<std::int32_t> (*of)(int rank);
};

// Different numbers of tokens, every expert used.
std::vector<std::int32_t> ragged(int rank) {
  std::vector<std::int32_t> ids;
  for (int token = 0; token < 3 + 2 * rank; ++token) {
    ids.push_back((3 * token + rank) % num_experts);
    ids.push_back((3 * token + rank + 5) % num_experts);
  }
  return ids;
}
std::vector<std::int32_t> one_rank_gets_all(int rank) {
  std::vector<std::int32_t> ids;
  for (int token = 0; token < 4 + rank; ++token) ids.insert(ids.end(), {2, 3});
  return ids;
}
std::vector<std::int32_t> one_token(int rank) {
  return {static_cast<std::int32_t>(rank), static_cast<std::int32_t>(7 - rank)};
}
std::vector<std::int32_t> only_one_rank_sends(int rank) {
  return rank == 1 ? std::vector<std::int32_t>{0, 7, 4, 1} : std::vector<std::int32_t>{};
}

Tensor ints(Context& context, const std::vector<std::int32_t>& values) {
  Tensor tensor = context.empty({static_cast<std::int64_t>(values.size())}, DType::i32);
  context.backend.upload(values.data(), tensor);
  return tensor;
}

// Expert i multiplies its rows by i + 1.
Tensor expert_weights(Context& context, std::int64_t first, std::int64_t count) {
  std::vector<float> weights(static_cast<std::size_t>(count * hidden_size * hidden_size), 0.0F);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      weights[static_cast<std::size_t>((i * hidden_size + j) * hidden_size + j)] = static_cast<float>(first + i + 1);
    }
  }
  Tensor tensor = context.empty({count, hidden_size, hidden_size}, DType::f32);
  context.backend.upload(weights.data(), tensor);
  return tensor;
}

// A number of every element of every token of every rank; small integers, so that sums are exact.
float element(int rank, std::int64_t token, std::int64_t column) {
  return static_cast<float>(100 * rank + 10 * token + column + 1);
}

void check_rank(Communicator& world, const Choice& choice, std::mutex& checks) {
  TestDevice device;
  Context context = device.context();
  const std::vector<std::int32_t> ids = choice.of(world.rank());
  const auto num_tokens = static_cast<std::int64_t>(ids.size()) / top_k;
  std::vector<float> values;
  std::vector<float> weights;
  std::vector<std::int32_t> offsets{0};
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    for (std::int64_t column = 0; column < hidden_size; ++column)
      values.push_back(element(world.rank(), token, column));
    weights.insert(weights.end(), top_k, element(world.rank(), token, 0));  // tells which token a row is of
    offsets.push_back(offsets.back() + static_cast<std::int32_t>(top_k));
  }
  Variable x = make_leaf(context.empty({num_tokens, hidden_size}, DType::f32));
  const Variable w = make_leaf(context.empty({num_tokens * top_k}, DType::f32));
  context.backend.upload(values.data(), x.data);
  context.backend.upload(weights.data(), w.data);

  const std::int64_t num_local = num_experts / world.size();
  const auto dispatcher = make_all_to_all_dispatcher(world);
  const auto plan = dispatcher->plan(context, {ints(context, ids), ints(context, offsets), num_experts});
  const PendingDispatch pending = dispatcher->dispatch_start(context, x, w, {}, *plan);
  const DispatchedRows rows = dispatcher->dispatch_wait(context, pending, *plan);
  std::unique_lock one_rank_checks(checks);  // assertions are made for one thread
  REQUIRE(rows.x.data.size(0) == plan->groups->host.back());
  // Every row has come with its own weight, and within an expert in the order of ranks and tokens.
  for (std::size_t expert = 0; expert + 1 < plan->groups->host.size(); ++expert) {
    float before = 0.0F;
    for (std::int64_t row = plan->groups->host[expert]; row < plan->groups->host[expert + 1]; ++row) {
      const float first = rows.x.data.data<float>()[row * hidden_size];
      CHECK(rows.weights.data.data<float>()[row] == first);
      CHECK(first > before);
      before = first;
    }
  }

  one_rank_checks.unlock();

  const Variable experts = make_leaf(expert_weights(context, num_local * world.rank(), num_local));
  const Variable y =
      dispatcher->combine(context, grouped_linear(context, rows.x, plan->groups, experts), *plan, Variable());
  y.slot->gradient = context.empty(y.data.shape(), DType::f32);
  context.backend.fill(y.slot->gradient, 1.0F);
  backward(context, {y});
  one_rank_checks.lock();
  REQUIRE(y.data.shape() == Shape{num_tokens, hidden_size});
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    const auto slot = static_cast<std::size_t>(token * top_k);
    const auto factor = static_cast<float>(ids[slot] + 1 + ids[slot + 1] + 1);
    for (std::int64_t column = 0; column < hidden_size; ++column) {
      const std::int64_t at = token * hidden_size + column;
      CHECK(y.data.data<float>()[at] == factor * element(world.rank(), token, column));
      CHECK(x.slot->gradient.data<float>()[at] == factor);
    }
  }
}

}  // namespace

TEST_CASE("Every token gets back what its experts make of it, wherever they are") {
  const Choice choice =
      GENERATE(Choice{"ragged", ragged}, Choice{"one rank gets all", one_rank_gets_all},
               Choice{"one token a rank", one_token}, Choice{"only one rank sends", only_one_rank_sends});
  const int num_ranks = GENERATE(2, 4);
  INFO(choice.name << " on " << num_ranks << " ranks");
  std::mutex checks;
  run_thread_ranks(num_ranks, {}, [&](Communicator& world) { check_rank(world, choice, checks); });
}

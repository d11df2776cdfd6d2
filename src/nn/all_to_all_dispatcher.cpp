#include "nn/token_dispatcher.h"

// Expert parallelism: the rows of a rank's tokens, sorted by expert and so by the rank that owns it, go out in one
// exchange; what arrives, sorted by sender, is put into the order of the local experts. Within an expert the rows then
// are in ascending rank and token order, which is the order of the global batch.

namespace artel {
namespace {

// counts [ranks, experts of one rank] of the rows that arrive -> where each row of the expert-major order stood on
// arrival, and the offsets of the experts.
struct Arrivals {
  std::vector<std::int32_t> arrival_of_row;  ///< [A_local]
  std::vector<std::int32_t> row_of_arrival;  ///< [A_local]
  std::vector<std::int32_t> expert_offsets;  ///< [experts + 1]
};

Arrivals sort_arrivals(const std::vector<std::int64_t>& counts, std::size_t num_ranks) {
  const std::size_t num_experts = counts.size() / num_ranks;
  std::vector<std::int32_t> first_arrival;  // of every (rank, expert)
  std::int32_t total = 0;
  for (const std::int64_t count : counts) {
    first_arrival.push_back(total);
    total += static_cast<std::int32_t>(count);
  }
  Arrivals arrivals;
  arrivals.expert_offsets.push_back(0);
  arrivals.row_of_arrival.resize(static_cast<std::size_t>(total));
  for (std::size_t expert = 0; expert < num_experts; ++expert) {
    for (std::size_t rank = 0; rank < num_ranks; ++rank) {
      const std::size_t at = rank * num_experts + expert;
      for (std::int32_t i = 0; i < counts[at]; ++i) {
        const std::int32_t arrival = first_arrival[at] + i;
        arrivals.row_of_arrival[static_cast<std::size_t>(arrival)] =
            static_cast<std::int32_t>(arrivals.arrival_of_row.size());
        arrivals.arrival_of_row.push_back(arrival);
      }
    }
    arrivals.expert_offsets.push_back(static_cast<std::int32_t>(arrivals.arrival_of_row.size()));
  }
  return arrivals;
}

Tensor upload(Context& context, const std::vector<std::int32_t>& values) {
  Tensor tensor = context.empty({static_cast<std::int64_t>(values.size())}, DType::i32);
  context.backend.upload(values.data(), tensor);
  return tensor;
}

class AllToAllDispatcher final : public TokenDispatcher {
 public:
  explicit AllToAllDispatcher(Communicator& group) : group_(group) {}

  std::shared_ptr<const DispatchPlan> plan(Context& context, const Assignments& assignments) override {
    const auto num_ranks = static_cast<std::size_t>(group_.size());
    const auto num_local = static_cast<std::size_t>(assignments.num_experts) / num_ranks;
    auto plan = std::make_shared<DispatchPlan>();
    plan->order = sort_assignments(context, assignments);
    plan->order.wait();
    const std::vector<std::int32_t>& offsets = plan->order.groups->host;
    std::vector<std::int64_t> sent(num_ranks * num_local);
    for (std::size_t expert = 0; expert < sent.size(); ++expert) sent[expert] = offsets[expert + 1] - offsets[expert];
    std::vector<std::int64_t> arriving(sent.size());
    group_.all_to_all_counts(sent, arriving, Purpose::dispatch);

    auto exchange = std::make_shared<RowExchange>();
    exchange->send_counts.assign(num_ranks, 0);
    exchange->receive_counts.assign(num_ranks, 0);
    for (std::size_t i = 0; i < sent.size(); ++i) {
      exchange->send_counts[i / num_local] += sent[i];
      exchange->receive_counts[i / num_local] += arriving[i];
    }
    plan->exchange = std::move(exchange);
    const Arrivals arrivals = sort_arrivals(arriving, num_ranks);
    auto groups = std::make_shared<GroupOffsets>();
    groups->host = arrivals.expert_offsets;
    groups->device = upload(context, arrivals.expert_offsets);
    plan->groups = std::move(groups);
    plan->arrival_of_row = upload(context, arrivals.arrival_of_row);
    plan->row_of_arrival = upload(context, arrivals.row_of_arrival);
    return plan;
  }

  PendingDispatch dispatch_start(Context& context, const Variable& x, const Variable& weights,
                                 const Variable& travelling, const DispatchPlan& plan) override {
    PendingDispatch pending{gather_rows_by_expert(context, x, weights, travelling, plan.order), {}};
    DispatchedRows& rows = pending.rows;
    const auto send = [&](const Variable& out) {
      pending.transfers.push_back(start_row_exchange(context, group_, out, *plan.exchange, Purpose::dispatch));
    };
    send(rows.x);
    send(reshape(rows.weights, {rows.weights.data.numel(), 1}));
    if (rows.travelling.defined()) send(rows.travelling);
    return pending;
  }

  DispatchedRows dispatch_wait(Context& context, PendingDispatch pending, const DispatchPlan& plan) override {
    const auto receive = [&](const TravellingRows& transfer) {
      const Variable arrived = wait_row_exchange(context, group_, transfer, plan.exchange, Purpose::combine);
      return gather_unique(context, arrived, plan.arrival_of_row);
    };
    DispatchedRows rows;
    rows.x = receive(pending.transfers[0]);
    rows.weights = reshape(receive(pending.transfers[1]), {plan.exchange->num_received()});
    if (pending.transfers.size() > 2) rows.travelling = receive(pending.transfers[2]);
    return rows;
  }

  Variable combine(Context& context, const Variable& rows, const DispatchPlan& plan, const Variable& base) override {
    auto back = std::make_shared<RowExchange>();
    back->send_counts = plan.exchange->receive_counts;
    back->receive_counts = plan.exchange->send_counts;
    const Variable in_arrival_order = gather_unique(context, rows, plan.row_of_arrival);
    const TravellingRows transfer = start_row_exchange(context, group_, in_arrival_order, *back, Purpose::combine);
    const Variable returned = wait_row_exchange(context, group_, transfer, std::move(back), Purpose::dispatch);
    return sum_slots(context, returned, plan.order, base);
  }

 private:
  Communicator& group_;
};

}  // namespace

std::unique_ptr<TokenDispatcher> make_all_to_all_dispatcher(Communicator& group) {
  return std::make_unique<AllToAllDispatcher>(group);
}

}  // namespace artel

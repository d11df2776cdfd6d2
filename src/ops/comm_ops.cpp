#include "ops/comm_ops.h"

#include <numeric>

#include "core/trace.h"

namespace artel {
namespace {

std::int64_t total(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// Starts a transfer of `rows` into `received`.
Pending launch(Communicator& group, const Tensor& rows, const std::vector<std::int64_t>& send_counts,
               const Tensor& received, const std::vector<std::int64_t>& receive_counts, Purpose purpose) {
  return group.start_all_to_all_v(rows, consecutive_pieces(send_counts), received, consecutive_pieces(receive_counts),
                                  purpose);
}

}  // namespace

std::int64_t RowExchange::num_sent() const {
  return total(send_counts);
}

std::int64_t RowExchange::num_received() const {
  return total(receive_counts);
}

TravellingRows start_row_exchange(Context& context, Communicator& group, const Variable& x, const RowExchange& exchange,
                                  Purpose purpose) {
  const TraceSpan span(context.tracer, TraceKind::communication, "row_exchange_start");
  TravellingRows rows;
  rows.sent = Variable(x.data);
  rows.received = context.empty({exchange.num_received(), x.data.size(1)}, x.data.dtype());
  rows.way_out = std::make_shared<Pending>(
      launch(group, x.data, exchange.send_counts, rows.received, exchange.receive_counts, purpose));
  rows.way_back = std::make_shared<Pending>();
  if (wants_tape(context, {x})) {
    record("row_exchange_start", {x}, {&rows.sent},
           [slot = x.slot, way_back = rows.way_back](Context& ctx, const OutputGradients& dsent) {
             (*way_back)->wait();
             contribute(ctx, *slot, dsent[0]);
           });
  }
  return rows;
}

Variable wait_row_exchange(Context& context, Communicator& group, const TravellingRows& rows,
                           const std::shared_ptr<const RowExchange>& exchange, Purpose purpose_back) {
  const TraceSpan span(context.tracer, TraceKind::communication, "row_exchange_wait");
  (*rows.way_out)->wait();
  Variable received(rows.received);
  if (wants_tape(context, {rows.sent})) {
    record("row_exchange_wait", {rows.sent}, {&received},
           [&group, exchange, purpose_back, slot = rows.sent.slot, way_back = rows.way_back](
               Context& ctx, const OutputGradients& dreceived) {
             const Tensor dsent = ctx.empty(slot->shape, slot->dtype);
             *way_back =
                 launch(group, dreceived[0], exchange->receive_counts, dsent, exchange->send_counts, purpose_back);
             slot->gradient = dsent;  // complete when row_exchange_start has waited
           });
  }
  return received;
}

}  // namespace artel

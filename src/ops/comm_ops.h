#pragma once

#include <memory>

#include "comm/communicator.h"
#include "ops/tape.h"

// Exchanges of rows between ranks as pairs of operations on the tape: the backward of the wait starts the way back, the
// backward of the start waits for it. What is recorded in between runs while rows travel, in both directions.

namespace artel {

/// Who sends how many rows to whom; the rows of a rank lie one behind the other, in rank order.
struct RowExchange {
  std::vector<std::int64_t> send_counts;     ///< [ranks]
  std::vector<std::int64_t> receive_counts;  ///< [ranks]

  std::int64_t num_sent() const;
  std::int64_t num_received() const;
};

/// Rows under way.
struct TravellingRows {
  Variable sent;                      ///< [num_sent, c]
  Tensor received;                    ///< [num_received, c], of no use before the wait
  std::shared_ptr<Pending> way_out;   ///< the transfer of the rows
  std::shared_ptr<Pending> way_back;  ///< that of their gradients; backward fills it in
};

/// Sends x [num_sent, c] on its way. `group` must outlive backward.
TravellingRows start_row_exchange(Context& context, Communicator& group, const Variable& x, const RowExchange& exchange,
                                  Purpose purpose);
/// The rows that arrived, [num_received, c]. Their gradients travel under `purpose_back`.
Variable wait_row_exchange(Context& context, Communicator& group, const TravellingRows& rows,
                           const std::shared_ptr<const RowExchange>& exchange, Purpose purpose_back);

}  // namespace artel

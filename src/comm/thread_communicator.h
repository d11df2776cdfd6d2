#pragma once

#include <functional>

#include "comm/communicator.h"

namespace artel {

struct ThreadRanksOptions {
  double timeout_seconds = 60.0;
  /// Every message takes this long, and longer by its size over the rate (0: no limit): shows whether communication
  /// hides behind computation.
  double delay_seconds = 0.0;
  double bytes_per_second = 0.0;
};

/// Runs `body` as `num_ranks` ranks that are threads of this process, each with its world, and returns when all have
/// ended. A rank that throws ends the operations of the others, whose errors name it; then an Error that begins with
/// "rank R" and has its text is thrown here.
void run_thread_ranks(int num_ranks, const ThreadRanksOptions& options,
                      const std::function<void(Communicator& world)>& body);

}  // namespace artel

#pragma once

#include <vector>

#include "emulator/runtime_support.h"

// What the tests of kernels share.
namespace emulator_tests {

/// How the threads of a kernel take turns.
struct ThreadOrder {
  emulator::Order order;
  std::uint64_t seed;
  double preempt;
};
/// Every order, the random one with several seeds and with threads that are interrupted.
inline std::vector<ThreadOrder> all_orders() {
  using emulator::Order;
  return {{Order::ascending, 1, 0}, {Order::descending, 1, 0}, {Order::random, 1, 0},
          {Order::random, 2, 0.01}, {Order::random, 3, 0.01},  {Order::random, 4, 0.1}};
}
/// For the rest of the test's session.
inline void use(const ThreadOrder& order) {
  emulator::config().order = order.order;
  emulator::config().seed = order.seed;
  emulator::config().preempt = order.preempt;
}

/// 0, 1, … 99, 0, …
template <class T>
std::vector<T> numbers(std::size_t size) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<T>(i % 100);
  return values;
}

}  // namespace emulator_tests

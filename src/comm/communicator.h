#pragma once

#include <memory>

#include "core/tensor.h"

namespace artel {

/// A group of ranks that act together. One process alone is the group of one, not a special case.
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// x = sum of x over the ranks, in rank order; f32, f64 or i32.
  virtual void all_reduce(const Tensor& x) = 0;
};

/// The group of one.
std::unique_ptr<Communicator> make_self_communicator();

}  // namespace artel

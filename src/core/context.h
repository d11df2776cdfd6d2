#pragma once

#include "core/allocator.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace artel {

class Backend;
class Communicator;
class RecomputeLog;
class Tracer;
class TensorProbe;

/// What every operation needs, owned by Runtime and passed by reference; nothing below main is global.
struct Context {
  Allocator& allocator;
  Backend& backend;
  ThreadPool& pool;
  bool record_tape = true;  ///< false: no gradients will be asked for (validation, first pass of recompute)
  RecomputeLog* recompute_log = nullptr;  ///< set while a block runs whose activations will be recomputed
  bool replaying = false;            ///< the second pass of a recomputed block: no losses, statistics, state updates
  Tracer* tracer = nullptr;          ///< set while time is taken (core/trace.h)
  Communicator* progress = nullptr;  ///< polled between operations of backward; none on one rank
  TensorProbe* probe = nullptr;      ///< looks at named tensors (ops/probe.h); none in a normal pass

  Tensor empty(const Shape& shape, DType dtype) const { return Tensor::empty(allocator, shape, dtype); }
};

}  // namespace artel

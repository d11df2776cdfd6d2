#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/context.h"
#include "kernels/backend.h"

namespace artel {

struct TapeNode;

/// What the tape knows of a variable: where its gradient goes and which operation made it. The data is not kept alive
/// here; an operation's closure captures just the tensors that its backward reads.
struct GradientSlot {
  Shape shape;
  DType dtype = DType::f32;   ///< of the gradient
  Tensor gradient;            ///< undefined until the first contribution (a parameter's is a view of its arena)
  bool is_parameter = false;  ///< keeps its tensor, f32, from step to step
  bool untouched = false;     ///< parameters: the tensor holds anything until the first contribution of this step
  std::shared_ptr<TapeNode> producer;  ///< none for leaves
  std::function<void()> on_complete;   ///< parameters: called in backward when the last contribution is in
};

/// Makes a variable's data once more, to the bit, from tensors that live until backward anyway.
using Rebuild = std::function<Tensor(Context&)>;

/// A tensor that may take part in differentiation.
struct Variable {
  Tensor data;
  std::shared_ptr<GradientSlot> slot;      ///< none: no gradient is wanted
  std::shared_ptr<const Rebuild> rebuild;  ///< by remember_rebuild, or none: data have to be kept for backward

  Variable() = default;
  explicit Variable(Tensor tensor) : data(std::move(tensor)) {}
  bool defined() const { return data.defined(); }
  bool needs_gradient() const { return slot != nullptr; }
};

/// Gradients of a node's outputs, in the order of its outputs; undefined: no contribution, i.e. zero.
using OutputGradients = std::vector<Tensor>;

/// One executed operation: the slots of its inputs and outputs and a closure that turns output gradients into
/// contributions to the input slots.
struct TapeNode {
  const char* name = "";
  std::uint64_t sequence = 0;  ///< order of execution; backward runs in exactly the reverse order
  std::vector<std::shared_ptr<GradientSlot>> inputs;
  std::vector<std::weak_ptr<GradientSlot>> outputs;
  std::function<void(Context&, const OutputGradients&)> backward;
};

/// Lets operations make `variable` again in backward instead of keeping it; not in the second pass of a recomputed
/// block, whose backward is about to begin.
void remember_rebuild(const Context& context, Variable& variable, const Rebuild& rebuild);

/// An input whose data an operation's backward reads: kept, or made again there.
class KeptInput {
 public:
  explicit KeptInput(const Variable& input);
  /// The data; where they are made again they live as long as what is returned.
  Tensor data(Context& context) const;

 private:
  Tensor kept_;
  Shape shape_;
  std::shared_ptr<const Rebuild> rebuild_;
};

/// A leaf that collects a gradient of its own (tests, inputs of recomputed blocks).
Variable make_leaf(Tensor data);

/// The same variable under another shape of as many elements; its gradient has that shape from now on. For the results
/// of products, whose backward reads dy as a matrix whatever its shape.
Variable reshape(const Variable& x, const Shape& shape);

/// Whether an operation on these inputs has to be recorded.
bool wants_tape(const Context& context, const std::vector<Variable>& inputs);

/// Records an operation: gives every output in `outputs` a slot and links them to a node. Call only under wants_tape.
void record(const char* name, const std::vector<Variable>& inputs, const std::vector<Variable*>& outputs,
            std::function<void(Context&, const OutputGradients&)> backward);

/// Where a backward kernel writes its contribution to a slot: overwrite (=) a fresh tensor or add (+=) to what is
/// there.
struct GradientTarget {
  Tensor tensor;
  Accumulate accumulate = Accumulate::no;
};
GradientTarget gradient_target(Context& context, GradientSlot& slot);
/// For backward kernels that always add: the tensor, with zeros where nothing has been contributed.
Tensor gradient_sum(Context& context, GradientSlot& slot);
/// Zeros where a parameter got no contribution in this step.
void complete_gradient(Context& context, GradientSlot& slot);

/// Contributes a finished tensor, which the slot may keep without copying (it copies before it ever adds to a shared
/// one).
void contribute(Context& context, GradientSlot& slot, const Tensor& gradient);

/// Runs the tape backward from `roots`, whose slots must hold their gradients (a root of one element without one gets
/// 1). Nodes run in descending order of execution and are released as they go; context.progress is polled after each
/// node.
void backward(Context& context, const std::vector<Variable>& roots);

/// What the first pass of a recomputed block leaves for the second: decisions that must not be taken twice. Entries are
/// written and read in the same order.
class RecomputeLog {
 public:
  void push(std::shared_ptr<void> entry) { entries_.push_back(std::move(entry)); }
  template <class T>
  std::shared_ptr<T> next() {
    return std::static_pointer_cast<T>(entries_.at(position_++));
  }
  void rewind() { position_ = 0; }

 private:
  std::vector<std::shared_ptr<void>> entries_;
  std::size_t position_ = 0;
};

/// Runs `block` without keeping its activations and runs it again in backward: memory for time. The second pass sees
/// context.replaying and reads the log that the first one wrote. Parameters used inside must not be used outside.
using RecomputeBlock = std::function<std::vector<Variable>(Context&, const std::vector<Variable>&)>;
std::vector<Variable> recompute(Context& context, const std::vector<Variable>& inputs, RecomputeBlock block);

}  // namespace artel

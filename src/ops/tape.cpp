#include "ops/tape.h"

#include <algorithm>
#include <atomic>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "comm/communicator.h"
#include "core/trace.h"
#include "util/error.h"

namespace artel {
namespace {

// Only the order of nodes matters, and only within one thread: a thread-local count keeps ranks that run as threads
// apart.
std::uint64_t next_sequence() {
  thread_local std::uint64_t sequence = 0;
  return ++sequence;
}

std::vector<std::shared_ptr<TapeNode>> reachable_nodes(const std::vector<Variable>& roots) {
  std::vector<std::shared_ptr<TapeNode>> nodes;
  std::unordered_set<TapeNode*> seen;
  const auto visit = [&](const std::shared_ptr<GradientSlot>& slot) {
    if (slot && slot->producer && seen.insert(slot->producer.get()).second) nodes.push_back(slot->producer);
  };
  for (const Variable& root : roots) visit(root.slot);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::shared_ptr<TapeNode> node = nodes[i];
    for (const auto& input : node->inputs) visit(input);
  }
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return nodes;
}

OutputGradients take_output_gradients(TapeNode& node) {
  OutputGradients gradients;
  for (const auto& weak_slot : node.outputs) {
    const auto slot = weak_slot.lock();
    gradients.push_back(slot ? std::move(slot->gradient) : Tensor{});
    if (slot) slot->gradient = Tensor{};
  }
  return gradients;
}

void seed_root(Context& context, const Variable& root) {
  if (!root.slot) fail("backward", "required a root that was recorded on the tape, found one without a gradient");
  if (root.slot->gradient.defined()) return;
  if (root.slot->shape.numel() != 1) {
    fail("backward", "required a gradient for a root of shape " + root.slot->shape.to_string() + ", found none");
  }
  root.slot->gradient = context.empty(root.slot->shape, root.slot->dtype);
  context.backend.fill(root.slot->gradient, 1.0F);
}

}  // namespace

void remember_rebuild(const Context& context, Variable& variable, const Rebuild& rebuild) {
  if (!context.replaying) variable.rebuild = std::make_shared<const Rebuild>(rebuild);
}

KeptInput::KeptInput(const Variable& input)
    : kept_(input.rebuild ? Tensor{} : input.data), shape_(input.data.shape()), rebuild_(input.rebuild) {}

Tensor KeptInput::data(Context& context) const {
  return rebuild_ ? (*rebuild_)(context).view(shape_) : kept_;
}

Variable make_leaf(Tensor data) {
  Variable variable(std::move(data));
  variable.slot = std::make_shared<GradientSlot>();
  variable.slot->shape = variable.data.shape();
  variable.slot->dtype = variable.data.dtype();
  return variable;
}

Variable reshape(const Variable& x, const Shape& shape) {
  Variable result = x;
  result.data = x.data.view(shape);
  if (result.slot) result.slot->shape = shape;
  return result;
}

bool wants_tape(const Context& context, const std::vector<Variable>& inputs) {
  return context.record_tape &&
         std::any_of(inputs.begin(), inputs.end(), [](const Variable& input) { return input.needs_gradient(); });
}

void record(const char* name, const std::vector<Variable>& inputs, const std::vector<Variable*>& outputs,
            std::function<void(Context&, const OutputGradients&)> backward) {
  auto node = std::make_shared<TapeNode>();
  node->name = name;
  node->sequence = next_sequence();
  for (const Variable& input : inputs) node->inputs.push_back(input.slot);
  node->backward = std::move(backward);
  for (Variable* output : outputs) {
    *output = make_leaf(output->data);
    output->slot->producer = node;
    node->outputs.push_back(output->slot);
  }
}

GradientTarget gradient_target(Context& context, GradientSlot& slot) {
  if (slot.is_parameter)
    return {slot.gradient, std::exchange(slot.untouched, false) ? Accumulate::no : Accumulate::yes};
  if (!slot.gradient.defined()) {
    slot.gradient = context.empty(slot.shape, slot.dtype);
    return {slot.gradient, Accumulate::no};
  }
  if (slot.gradient.is_shared()) {
    Tensor own = context.empty(slot.shape, slot.dtype);
    context.backend.copy(slot.gradient, own);
    slot.gradient = own;
  }
  return {slot.gradient, Accumulate::yes};
}

Tensor gradient_sum(Context& context, GradientSlot& slot) {
  const GradientTarget target = gradient_target(context, slot);
  if (target.accumulate == Accumulate::no) context.backend.fill(target.tensor, 0.0F);
  return target.tensor;
}

void complete_gradient(Context& context, GradientSlot& slot) {
  if (slot.untouched) gradient_sum(context, slot);
}

void contribute(Context& context, GradientSlot& slot, const Tensor& gradient) {
  if (!slot.is_parameter && !slot.gradient.defined()) {
    if (gradient.shape().numel() != slot.shape.numel() || gradient.dtype() != slot.dtype) {
      fail("tape", "required a gradient of " + slot.shape.to_string() + " " + dtype_name(slot.dtype) + ", found " +
                       gradient.shape().to_string() + " " + dtype_name(gradient.dtype()));
    }
    slot.gradient = gradient.view(slot.shape);
    return;
  }
  const GradientTarget target = gradient_target(context, slot);
  if (target.accumulate == Accumulate::no) {
    context.backend.copy(gradient.view(slot.shape), target.tensor);
  } else {
    context.backend.add(gradient.view(slot.shape), target.tensor);
  }
}

void backward(Context& context, const std::vector<Variable>& roots) {
  for (const Variable& root : roots) seed_root(context, root);
  const auto nodes = reachable_nodes(roots);
  std::unordered_map<GradientSlot*, int> pending_uses;  // of parameters
  for (const auto& node : nodes) {
    for (const auto& input : node->inputs) {
      if (input && input->is_parameter) ++pending_uses[input.get()];
    }
  }
  for (const auto& node : nodes) {
    const OutputGradients gradients = take_output_gradients(*node);
    const bool any = std::any_of(gradients.begin(), gradients.end(), [](const Tensor& g) { return g.defined(); });
    if (any && node->backward) {
      const TraceSpan span(context.tracer, TraceKind::backward, node->name);
      node->backward(context, gradients);
    }
    node->backward = nullptr;  // lets go of the tensors; the input slots must live until their producers have run
    for (const auto& input : node->inputs) {
      if (!input || !input->is_parameter || --pending_uses[input.get()] != 0) continue;
      complete_gradient(context, *input);
      if (input->on_complete) input->on_complete();
    }
    if (context.progress != nullptr) context.progress->poll();
  }
}

std::vector<Variable> recompute(Context& context, const std::vector<Variable>& inputs, RecomputeBlock block) {
  if (!context.record_tape) return block(context, inputs);
  auto log = std::make_shared<RecomputeLog>();
  Context first_pass = context;
  first_pass.record_tape = false;
  first_pass.recompute_log = log.get();
  std::vector<Tensor> data;
  std::vector<Variable> untraced;
  for (const Variable& input : inputs) {
    data.push_back(input.data);
    untraced.emplace_back(input.data);
  }
  std::vector<Variable> outputs = block(first_pass, untraced);
  std::vector<Variable*> output_pointers;
  for (Variable& output : outputs) output_pointers.push_back(&output);
  std::vector<std::shared_ptr<GradientSlot>> slots;
  for (const Variable& input : inputs) slots.push_back(input.slot);

  record("recompute", inputs, output_pointers,
         [block = std::move(block), data, slots, log](Context& ctx, const OutputGradients& gradients) {
           Context second_pass = ctx;
           second_pass.record_tape = true;
           second_pass.recompute_log = log.get();
           second_pass.replaying = true;
           log->rewind();
           std::vector<Variable> leaves;
           for (const Tensor& tensor : data) leaves.push_back(tensor.defined() ? make_leaf(tensor) : Variable());
           const std::vector<Variable> results = block(second_pass, leaves);
           std::vector<Variable> roots;
           for (std::size_t i = 0; i < results.size(); ++i) {
             if (!gradients[i].defined()) continue;
             results[i].slot->gradient = gradients[i];
             roots.push_back(results[i]);
           }
           backward(second_pass, roots);
           for (std::size_t i = 0; i < leaves.size(); ++i) {
             if (slots[i] && leaves[i].slot->gradient.defined()) contribute(ctx, *slots[i], leaves[i].slot->gradient);
           }
         });
  return outputs;
}

}  // namespace artel

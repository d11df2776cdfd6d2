#include "ops/ops.h"

#include <cmath>
#include <vector>

#include "core/trace.h"
#include "ops/probe.h"
#include "util/error.h"

namespace artel {

Variable embedding(Context& context, const Variable& table, const Tensor& ids) {
  const TraceSpan span(context.tracer, TraceKind::forward, "embedding");
  Variable y(context.empty({ids.numel(), table.data.size(1)}, table.data.dtype()));
  context.backend.embedding(table.data, ids, y.data);
  if (wants_tape(context, {table})) {
    record("embedding", {table}, {&y}, [ids, slot = table.slot](Context& ctx, const OutputGradients& dy) {
      ctx.backend.embedding_backward(ids, dy[0], gradient_sum(ctx, *slot));
    });
  }
  return y;
}

NormResult add_rms_norm(Context& context, const Variable& x, const Variable& delta, const Variable& weight, float eps) {
  const TraceSpan span(context.tracer, TraceKind::forward, delta.defined() ? "add_rms_norm" : "rms_norm");
  const Shape& shape = x.data.shape();
  NormResult result;
  result.sum = delta.defined() ? Variable(context.empty(shape, x.data.dtype())) : x;
  result.normalised = Variable(context.empty(shape, x.data.dtype()));
  const Tensor rstd = context.empty({shape[0]}, DType::f32);
  context.backend.rms_norm(x.data, delta.data, weight.data, eps, delta.defined() ? result.sum.data : Tensor{},
                           result.normalised.data, rstd);
  if (!wants_tape(context, {x, delta, weight})) return result;

  if (!delta.defined()) {
    record("rms_norm", {x, weight}, {&result.normalised},
           [data = x.data, w = weight.data, rstd, x_slot = x.slot, w_slot = weight.slot](Context& ctx,
                                                                                         const OutputGradients& dy) {
             const GradientTarget dx = x_slot ? gradient_target(ctx, *x_slot)
                                              : GradientTarget{ctx.empty(data.shape(), data.dtype()), Accumulate::no};
             ctx.backend.rms_norm_backward(data, w, rstd, dy[0], dx.tensor, dx.accumulate, gradient_sum(ctx, *w_slot));
           });
    return result;
  }
  record("add_rms_norm", {x, delta, weight}, {&result.sum, &result.normalised},
         [sum = result.sum.data, w = weight.data, rstd, x_slot = x.slot, delta_slot = delta.slot, w_slot = weight.slot](
             Context& ctx, const OutputGradients& grads) {
           GradientSlot dsum;  // collects both ways in which the sum is used
           dsum.shape = sum.shape();
           dsum.dtype = sum.dtype();
           // grads[0] is this node's own now: adding to it in place is safe unless another slot shares it.
           const bool own = grads[0].defined() && !grads[0].is_shared();
           dsum.gradient = grads[0];
           if (grads[1].defined()) {
             const GradientTarget target = own ? GradientTarget{grads[0], Accumulate::yes} : gradient_target(ctx, dsum);
             ctx.backend.rms_norm_backward(sum, w, rstd, grads[1], target.tensor, target.accumulate,
                                           gradient_sum(ctx, *w_slot));
           }
           if (x_slot) contribute(ctx, *x_slot, dsum.gradient);
           if (delta_slot) contribute(ctx, *delta_slot, dsum.gradient);
         });
  return result;
}

Variable linear(Context& context, const Variable& x, const Variable& weight, DType dtype) {
  const TraceSpan span(context.tracer, TraceKind::forward, "linear");
  Variable y(context.empty({x.data.size(0), weight.data.size(0)}, dtype));
  context.backend.linear(x.data, weight.data, y.data, Accumulate::no);
  if (wants_tape(context, {x, weight})) {
    record("linear", {x, weight}, {&y},
           [kept = KeptInput(x), num_rows = x.data.size(0), w = weight.data, x_slot = x.slot, w_slot = weight.slot](
               Context& ctx, const OutputGradients& grads) {
             const Tensor dy = grads[0].view({num_rows, w.size(0)});
             if (w_slot) {
               const GradientTarget dw = gradient_target(ctx, *w_slot);
               ctx.backend.linear_backward_weight(kept.data(ctx), dy, dw.tensor, dw.accumulate);
             }
             if (x_slot) {
               const GradientTarget dx = gradient_target(ctx, *x_slot);
               ctx.backend.linear_backward_data(dy, w, dx.tensor, dx.accumulate);
             }
           });
  }
  return y;
}

Tensor rope_table(Context& context, std::int64_t sequence_length, std::int64_t head_dim, double theta) {
  const std::int64_t half = head_dim / 2;
  std::vector<float> values(static_cast<std::size_t>(sequence_length * head_dim));
  for (std::int64_t position = 0; position < sequence_length; ++position) {
    float* row = values.data() + position * head_dim;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) *
                           std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  Tensor table = context.empty({sequence_length, head_dim}, DType::f32);
  context.backend.upload(values.data(), table);
  return table;
}

Variable rope(Context& context, const Variable& qkv, const Tensor& cos_sin, const AttentionShape& shape,
              const Variable& q_norm, const Variable& k_norm, float eps) {
  const TraceSpan span(context.tracer, TraceKind::forward, "rope");
  const bool norms = q_norm.defined();
  // The product that made qkv does not read its result in backward, so without norms the rotation may happen in place.
  Variable y(norms ? context.empty(qkv.data.shape(), qkv.data.dtype()) : qkv.data);
  const Tensor rstd =
      norms ? context.empty({shape.num_tokens(), shape.num_heads + shape.num_kv_heads}, DType::f32) : Tensor{};
  context.backend.rope(qkv.data, cos_sin, shape, q_norm.data, k_norm.data, eps, y.data, rstd);
  if (!wants_tape(context, {qkv, q_norm, k_norm})) return y;
  record("rope", {qkv, q_norm, k_norm}, {&y},
         [cos_sin, shape, x = norms ? qkv.data : Tensor{}, q = q_norm.data, k = k_norm.data, rstd, x_slot = qkv.slot,
          q_slot = q_norm.slot, k_slot = k_norm.slot](Context& ctx, const OutputGradients& dy) {
           const Tensor dx = dy[0].is_shared() ? ctx.empty(dy[0].shape(), dy[0].dtype()) : dy[0];
           ctx.backend.rope_backward(dy[0], cos_sin, shape, x, q, k, rstd, dx,
                                     q_slot ? gradient_sum(ctx, *q_slot) : Tensor{},
                                     k_slot ? gradient_sum(ctx, *k_slot) : Tensor{});
           if (x_slot) contribute(ctx, *x_slot, dx);
         });
  return y;
}

Variable attention(Context& context, const Variable& qkv, const AttentionShape& shape) {
  const TraceSpan span(context.tracer, TraceKind::forward, "attention");
  const std::int64_t num_tokens = shape.num_tokens();
  Variable y(context.empty({num_tokens, shape.num_heads * shape.head_dim}, qkv.data.dtype()));
  const Shape heads{num_tokens, shape.num_heads, shape.head_dim};
  const Tensor lse = context.empty({shape.num_sequences, shape.num_heads, shape.sequence_length}, DType::f32);
  context.backend.attention(qkv.data, shape, y.data.view(heads), lse);
  if (wants_tape(context, {qkv})) {
    record("attention", {qkv}, {&y},
           [data = qkv.data, y_data = y.data.view(heads), lse, shape, heads, slot = qkv.slot](
               Context& ctx, const OutputGradients& dy) {
             const Tensor dqkv = ctx.empty(data.shape(), data.dtype());
             ctx.backend.attention_backward(data, y_data, lse, dy[0].view(heads), shape, dqkv);
             contribute(ctx, *slot, dqkv);
           });
  }
  return y;
}

Variable cached_attention(Context& context, const Variable& qkv, const Tensor& cache, const AttentionShape& shape,
                          std::int64_t past) {
  const TraceSpan span(context.tracer, TraceKind::forward, "cached_attention");
  Variable y(context.empty({shape.num_tokens(), shape.num_heads * shape.head_dim}, qkv.data.dtype()));
  context.backend.cached_attention(qkv.data, cache, shape, past,
                                   y.data.view({shape.num_tokens(), shape.num_heads, shape.head_dim}));
  return y;
}

Variable swiglu(Context& context, const Variable& gate_up, const Variable& weights) {
  const Rebuild product = [x = gate_up.data, w = weights.data](Context& ctx) {
    const TraceSpan span(ctx.tracer, TraceKind::forward, "swiglu");
    Tensor hidden = ctx.empty({x.size(0), x.size(2)}, x.dtype());
    ctx.backend.swiglu(x, w, hidden);
    return hidden;
  };
  Variable hidden(product(context));
  if (wants_tape(context, {gate_up, weights})) {
    record("swiglu", {gate_up, weights}, {&hidden},
           [x = gate_up.data, w = weights.data, x_slot = gate_up.slot, w_slot = weights.slot](
               Context& ctx, const OutputGradients& dhidden) {
             const Tensor dx = ctx.empty(x.shape(), x.dtype());
             const Tensor dw = w.defined() ? ctx.empty(w.shape(), DType::f32) : Tensor{};
             ctx.backend.swiglu_backward(x, w, dhidden[0], dx, dw);
             if (x_slot) contribute(ctx, *x_slot, dx);
             if (w_slot) contribute(ctx, *w_slot, dw);
           });
    remember_rebuild(context, hidden, product);
  }
  return hidden;
}

std::int64_t rows_of_logits(Device device, std::int64_t vocab_size) {
  // Every chunk reads and writes the whole gradient of the head, so a GPU wants thousands of rows a chunk.
  const std::int64_t num_logits = std::int64_t{1} << (device == Device::cpu ? 22 : 28);
  return std::max<std::int64_t>(64, num_logits / vocab_size);
}

namespace {

// What the products of the head's backward take: the gradient of the logits f32 as every activation's gradient is held.
Tensor in_activation_type(Context& context, const Tensor& gradient, DType act) {
  if (act == gradient.dtype()) return gradient;
  Tensor rounded = context.empty(gradient.shape(), act);
  context.backend.copy(gradient, rounded);
  return rounded;
}

}  // namespace

Variable linear_cross_entropy(Context& context, const Variable& x, const Variable& weight, const Tensor& targets,
                              float grad_scale) {
  const TraceSpan span(context.tracer, TraceKind::forward, "linear_cross_entropy");
  const std::int64_t num_tokens = x.data.size(0);
  const std::int64_t vocab_size = weight.data.size(0);
  const std::int64_t chunk = rows_of_logits(context.backend.device(), vocab_size);
  const bool with_gradient = wants_tape(context, {x, weight});
  const Tensor losses = context.empty({num_tokens}, DType::f32);
  const Tensor dx = with_gradient && x.slot ? context.empty(x.data.shape(), x.data.dtype()) : Tensor{};
  for (std::int64_t begin = 0; begin < num_tokens; begin += chunk) {
    const std::int64_t end = std::min(num_tokens, begin + chunk);
    const Tensor x_chunk = x.data.rows(begin, end);
    const Tensor logits = context.empty({end - begin, vocab_size}, DType::f32);
    context.backend.linear(x_chunk, weight.data, logits, Accumulate::no);
    watch_value(context, -1, "logits", logits);
    context.backend.cross_entropy(logits, targets.rows(begin, end), grad_scale, with_gradient, losses.rows(begin, end));
    if (!with_gradient) continue;
    const TraceSpan backward_span(context.tracer, TraceKind::backward, "linear_cross_entropy");
    const Tensor dlogits = in_activation_type(context, logits, weight.data.dtype());
    if (dx.defined()) context.backend.linear_backward_data(dlogits, weight.data, dx.rows(begin, end), Accumulate::no);
    if (weight.slot) {
      const GradientTarget dw = gradient_target(context, *weight.slot);
      context.backend.linear_backward_weight(x_chunk, dlogits, dw.tensor, dw.accumulate);
    }
  }
  watch_value(context, -1, "loss", losses);
  Variable loss(context.empty({1}, DType::f64));
  context.backend.sum(losses, loss.data);
  if (with_gradient) {
    record("linear_cross_entropy", {x, weight}, {&loss}, [dx, slot = x.slot](Context& ctx, const OutputGradients&) {
      if (slot) contribute(ctx, *slot, dx);
    });
  }
  return loss;
}

Tensor token_cross_entropy(Context& context, const Tensor& x, const Tensor& weight, const Tensor& targets) {
  const std::int64_t num_tokens = x.size(0);
  const std::int64_t chunk = rows_of_logits(context.backend.device(), weight.size(0));
  Tensor losses = context.empty({num_tokens}, DType::f32);
  for (std::int64_t begin = 0; begin < num_tokens; begin += chunk) {
    const std::int64_t end = std::min(num_tokens, begin + chunk);
    const Tensor logits = context.empty({end - begin, weight.size(0)}, DType::f32);
    context.backend.linear(x.rows(begin, end), weight, logits, Accumulate::no);
    context.backend.cross_entropy(logits, targets.rows(begin, end), 1.0F, false, losses.rows(begin, end));
  }
  return losses;
}

}  // namespace artel

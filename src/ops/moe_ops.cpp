#include "ops/moe_ops.h"

#include "core/trace.h"
#include "util/error.h"

namespace artel {

Variable grouped_linear(Context& context, const Variable& x, const std::shared_ptr<const GroupOffsets>& groups,
                        const Variable& weight) {
  const TraceSpan span(context.tracer, TraceKind::forward, "grouped_linear");
  Variable y(context.empty({x.data.size(0), weight.data.size(1)}, x.data.dtype()));
  context.backend.grouped_linear(x.data, *groups, weight.data, y.data, Accumulate::no);
  if (wants_tape(context, {x, weight})) {
    record("grouped_linear", {x, weight}, {&y},
           [kept = KeptInput(x), num_rows = x.data.size(0), w = weight.data, groups, x_slot = x.slot,
            w_slot = weight.slot](Context& ctx, const OutputGradients& grads) {
             const Tensor dy = grads[0].view({num_rows, w.size(1)});
             if (w_slot) {
               const GradientTarget dw = gradient_target(ctx, *w_slot);
               ctx.backend.grouped_linear_backward_weight(kept.data(ctx), dy, *groups, dw.tensor, dw.accumulate);
             }
             if (x_slot) {
               const GradientTarget dx = gradient_target(ctx, *x_slot);
               ctx.backend.grouped_linear_backward_data(dy, *groups, w, dx.tensor, dx.accumulate);
             }
           });
  }
  return y;
}

Variable grouped_gate_up(Context& context, const Variable& gate_x, const Variable& gate_weight, const Variable& up_x,
                         const Variable& up_weight, std::shared_ptr<const GroupOffsets> groups) {
  const TraceSpan span(context.tracer, TraceKind::forward, "grouped_gate_up");
  const std::int64_t num_rows = up_x.data.size(0);
  const std::int64_t width = up_weight.data.size(1);
  const Tensor both = context.empty({num_rows, 2 * width}, up_x.data.dtype());
  context.backend.grouped_linear(gate_x.data, *groups, gate_weight.data, both.columns(0, width), Accumulate::no);
  context.backend.grouped_linear(up_x.data, *groups, up_weight.data, both.columns(width, 2 * width), Accumulate::no);
  Variable y(both.view({num_rows, 2, width}));
  if (!wants_tape(context, {gate_x, gate_weight, up_x, up_weight})) return y;
  record("grouped_gate_up", {gate_x, gate_weight, up_x, up_weight}, {&y},
         [num_rows, width, groups, gate_kept = KeptInput(gate_x), gate_w = gate_weight.data, up_kept = KeptInput(up_x),
          up_w = up_weight.data, gate_slot = gate_x.slot, gate_w_slot = gate_weight.slot, up_slot = up_x.slot,
          up_w_slot = up_weight.slot](Context& ctx, const OutputGradients& dy) {
           const Tensor all = dy[0].view({num_rows, 2 * width});
           const auto side = [&](const Tensor& d, const KeptInput& x, const Tensor& w,
                                 const std::shared_ptr<GradientSlot>& x_slot,
                                 const std::shared_ptr<GradientSlot>& w_slot) {
             if (w_slot) {
               const GradientTarget dw = gradient_target(ctx, *w_slot);
               ctx.backend.grouped_linear_backward_weight(x.data(ctx), d, *groups, dw.tensor, dw.accumulate);
             }
             if (x_slot) {
               const GradientTarget dx = gradient_target(ctx, *x_slot);
               ctx.backend.grouped_linear_backward_data(d, *groups, w, dx.tensor, dx.accumulate);
             }
           };
           side(all.columns(0, width), gate_kept, gate_w, gate_slot, gate_w_slot);
           side(all.columns(width, 2 * width), up_kept, up_w, up_slot, up_w_slot);
         });
  return y;
}

namespace {

AuxiliaryGradient auxiliary_gradient(Context& context, const AuxiliaryFunction& auxiliary,
                                     const TopKDecision& decision) {
  if (!auxiliary) return {};
  const TraceSpan span(context.tracer, TraceKind::forward, "auxiliary_loss");
  return auxiliary(decision);
}

}  // namespace

TopKDecision route_top_k(Context& context, const Variable& scores, const Tensor& selection_bias,
                         const TopKOptions& options, const AuxiliaryFunction& auxiliary) {
  const TraceSpan span(context.tracer, TraceKind::forward, "route_top_k");
  const std::int64_t num_tokens = scores.data.size(0);
  TopKDecision decision;
  decision.probs = context.empty(scores.data.shape(), DType::f32);
  decision.lse = context.empty({num_tokens}, DType::f32);
  decision.ids = context.empty({num_tokens, options.top_k}, DType::i32);
  decision.weights = Variable(context.empty({num_tokens, options.top_k}, DType::f32));
  context.backend.route_top_k(scores.data, selection_bias, options, decision.probs, decision.lse, decision.ids,
                              decision.weights.data);
  const AuxiliaryGradient gradient = auxiliary_gradient(context, auxiliary, decision);
  if (wants_tape(context, {scores})) {
    record("route_top_k", {scores}, {&decision.weights},
           [probs = decision.probs, lse = decision.lse, ids = decision.ids, weights = decision.weights.data, options,
            gradient, slot = scores.slot](Context& ctx, const OutputGradients& dweights) {
             const Tensor dscores = ctx.empty(probs.shape(), DType::f32);
             ctx.backend.route_top_k_backward(probs, lse, ids, weights, dweights[0], options, gradient, dscores);
             contribute(ctx, *slot, dscores);
           });
  }
  return decision;
}

BidResult uoe_bids(Context& context, const Variable& gate_up, const BidOptions& options,
                   const AuxiliaryFunction& auxiliary) {
  const TraceSpan span(context.tracer, TraceKind::forward, "uoe_bids");
  const std::int64_t num_tokens = gate_up.data.size(0);
  const std::int64_t num_experts = gate_up.data.size(1);
  const std::int64_t num_neurons = gate_up.data.size(3);
  const std::int64_t top_k = options.top_k.top_k;
  BidResult result;
  TopKDecision& decision = result.decision;
  const Tensor bids = context.empty({num_tokens, num_experts}, DType::f32);
  decision.probs = context.empty({num_tokens, num_experts}, DType::f32);
  decision.lse = context.empty({num_tokens}, DType::f32);
  decision.ids = context.empty({num_tokens, top_k}, DType::i32);
  decision.weights = Variable(context.empty({num_tokens, top_k}, DType::f32));
  result.hidden = Variable(context.empty({num_tokens, num_experts * num_neurons}, gate_up.data.dtype()));
  context.backend.uoe_bids(gate_up.data, options, bids, decision.probs, decision.lse, decision.ids,
                           decision.weights.data, result.hidden.data);
  const AuxiliaryGradient gradient = auxiliary_gradient(context, auxiliary, decision);
  if (!wants_tape(context, {gate_up})) return result;
  record("uoe_bids", {gate_up}, {&decision.weights, &result.hidden},
         [x = gate_up.data, bids, probs = decision.probs, lse = decision.lse, ids = decision.ids,
          weights = decision.weights.data, options, gradient,
          slot = gate_up.slot](Context& ctx, const OutputGradients& grads) {
           Tensor dhidden = grads[1];
           if (!dhidden.defined()) {
             dhidden = ctx.empty({x.size(0), x.size(1) * x.size(3)}, x.dtype());
             ctx.backend.fill(dhidden, 0.0F);
           }
           const Tensor dgate_up = ctx.empty(x.shape(), x.dtype());
           ctx.backend.uoe_bids_backward(x, bids, probs, lse, ids, weights, grads[0], dhidden, options, gradient,
                                         dgate_up);
           contribute(ctx, *slot, dgate_up);
         });
  return result;
}

Variable uoe_output(Context& context, const Variable& hidden, const Variable& weight) {
  const TraceSpan span(context.tracer, TraceKind::forward, "uoe_output");
  const std::int64_t num_experts = weight.data.size(0);
  const std::int64_t hidden_size = weight.data.size(1);
  const std::int64_t num_neurons = weight.data.size(2);
  const Shape packed_shape{hidden_size, num_experts, num_neurons};
  const Shape matrix{hidden_size, num_experts * num_neurons};
  const Tensor packed = context.empty(packed_shape, weight.data.dtype());
  context.backend.swap_leading(weight.data, packed, Accumulate::no);
  Variable y(context.empty({hidden.data.size(0), hidden_size}, hidden.data.dtype()));
  context.backend.linear(hidden.data, packed.view(matrix), y.data, Accumulate::no);
  if (!wants_tape(context, {hidden, weight})) return y;
  record("uoe_output", {hidden, weight}, {&y},
         [x = hidden.data, packed, packed_shape, matrix, x_slot = hidden.slot, w_slot = weight.slot](
             Context& ctx, const OutputGradients& dy) {
           if (w_slot) {
             const Tensor dpacked = ctx.empty(packed_shape, DType::f32);
             ctx.backend.linear_backward_weight(x, dy[0], dpacked.view(matrix), Accumulate::no);
             const GradientTarget dw = gradient_target(ctx, *w_slot);
             ctx.backend.swap_leading(dpacked, dw.tensor, dw.accumulate);
           }
           if (x_slot) {
             const GradientTarget dx = gradient_target(ctx, *x_slot);
             ctx.backend.linear_backward_data(dy[0], packed.view(matrix), dx.tensor, dx.accumulate);
           }
         });
  return y;
}

Variable row_norms(Context& context, const Variable& x) {
  const TraceSpan span(context.tracer, TraceKind::forward, "row_norms");
  const std::int64_t num_rows = x.data.size(0);
  Variable norms(context.empty({num_rows}, DType::f32));
  context.backend.row_norms(x.data, norms.data);
  if (wants_tape(context, {x})) {
    record("row_norms", {x}, {&norms},
           [data = x.data, values = norms.data, num_rows, slot = x.slot](Context& ctx, const OutputGradients& dnorms) {
             const GradientTarget dx = gradient_target(ctx, *slot);
             ctx.backend.row_norms_backward(data, values, dnorms[0].view({num_rows}), dx.tensor, dx.accumulate);
           });
  }
  return norms;
}

Variable gather_tokens(Context& context, const Variable& x, const RowOrder& order) {
  const Rebuild gather = [x_data = x.data, token_of_row = order.token_of_row](Context& ctx) {
    const TraceSpan span(ctx.tracer, TraceKind::forward, "gather_tokens");
    Tensor rows = ctx.empty({token_of_row.numel(), x_data.size(1)}, x_data.dtype());
    ctx.backend.gather_rows(x_data, token_of_row, rows);
    return rows;
  };
  Variable rows(gather(context));
  if (wants_tape(context, {x})) {
    record("gather_tokens", {x}, {&rows}, [order, slot = x.slot](Context& ctx, const OutputGradients& drows) {
      const GradientTarget dx = gradient_target(ctx, *slot);
      ctx.backend.sum_rows(drows[0], order.token_offsets, order.row_of_slot, dx.tensor, dx.accumulate);
    });
    remember_rebuild(context, rows, gather);  // K times as large as x
  }
  return rows;
}

Variable gather_slots(Context& context, const Variable& slots, const RowOrder& order) {
  const TraceSpan span(context.tracer, TraceKind::forward, "gather_slots");
  const std::int64_t num_rows = order.slot_of_row.numel();
  Variable rows(context.empty({num_rows}, DType::f32));
  context.backend.gather_rows(slots.data.view({num_rows, 1}), order.slot_of_row, rows.data.view({num_rows, 1}));
  if (wants_tape(context, {slots})) {
    record("gather_slots", {slots}, {&rows},
           [order, num_rows, slot = slots.slot](Context& ctx, const OutputGradients& drows) {
             const Tensor dslots = ctx.empty({num_rows}, DType::f32);
             ctx.backend.gather_rows(drows[0].view({num_rows, 1}), order.row_of_slot, dslots.view({num_rows, 1}));
             contribute(ctx, *slot, dslots);
           });
  }
  return rows;
}

Variable gather_unique(Context& context, const Variable& x, const Tensor& index) {
  const TraceSpan span(context.tracer, TraceKind::forward, "gather_unique");
  Variable rows(context.empty({index.numel(), x.data.size(1)}, x.data.dtype()));
  context.backend.gather_rows(x.data, index, rows.data);
  if (wants_tape(context, {x})) {
    record("gather_unique", {x}, {&rows}, [index, slot = x.slot](Context& ctx, const OutputGradients& drows) {
      const GradientTarget dx = gradient_target(ctx, *slot);
      if (dx.accumulate == Accumulate::no) ctx.backend.fill(dx.tensor, 0.0F);
      ctx.backend.scatter_add_rows(drows[0].view({index.numel(), dx.tensor.size(1)}), index, dx.tensor);
    });
  }
  return rows;
}

Variable sum_slots(Context& context, const Variable& rows, const RowOrder& order, const Variable& base) {
  const TraceSpan span(context.tracer, TraceKind::forward, "sum_slots");
  const std::int64_t num_tokens = order.token_offsets.numel() - 1;
  Variable y(base.defined() ? base.data : context.empty({num_tokens, rows.data.size(1)}, rows.data.dtype()));
  context.backend.sum_rows(rows.data, order.token_offsets, order.row_of_slot, y.data,
                           base.defined() ? Accumulate::yes : Accumulate::no);
  if (!wants_tape(context, {rows, base})) return y;
  record("sum_slots", {rows, base}, {&y},
         [order, rows_slot = rows.slot, base_slot = base.slot](Context& ctx, const OutputGradients& dy) {
           if (rows_slot) {
             const GradientTarget drows = gradient_target(ctx, *rows_slot);
             if (drows.accumulate == Accumulate::yes) fail("sum_slots", "required rows that are read once");
             ctx.backend.gather_rows(dy[0], order.token_of_row, drows.tensor);
           }
           if (base_slot) contribute(ctx, *base_slot, dy[0]);
         });
  return y;
}

Variable add(Context& context, const Variable& a, const Variable& b) {
  const TraceSpan span(context.tracer, TraceKind::forward, "add");
  Variable y(context.empty(a.data.shape(), a.data.dtype()));
  context.backend.copy(a.data, y.data);
  context.backend.add(b.data, y.data);
  if (wants_tape(context, {a, b})) {
    record("add", {a, b}, {&y}, [a_slot = a.slot, b_slot = b.slot](Context& ctx, const OutputGradients& dy) {
      if (a_slot) contribute(ctx, *a_slot, dy[0]);
      if (b_slot) contribute(ctx, *b_slot, dy[0]);
    });
  }
  return y;
}

}  // namespace artel

#include "kernels/traced_backend.h"

#include <initializer_list>

namespace artel {
namespace {

double bytes_of(const Tensor& tensor) {
  return tensor.defined() ? static_cast<double>(tensor.nbytes()) : 0.0;
}

/// Bytes of these tensors; one that is both read and written stands twice.
TraceWork moved(std::initializer_list<const Tensor*> tensors) {
  TraceWork work;
  for (const Tensor* tensor : tensors) work.bytes += bytes_of(*tensor);
  return work;
}

/// The same; `result` is read as well when it is added to.
TraceWork moved(std::initializer_list<const Tensor*> tensors, Accumulate accumulate, In result) {
  TraceWork work = moved(tensors);
  if (accumulate == Accumulate::yes) work.bytes += bytes_of(result);
  return work;
}

// Rows meet a matrix [.., ..], forward or backward.
TraceWork product(In rows, In matrix) {
  return {2.0 * static_cast<double>(rows.size(0)) * static_cast<double>(matrix.numel()), 0.0};
}

TraceWork grouped_product(const GroupOffsets& groups, In matrices) {
  const double rows = groups.host.empty() ? 0.0 : groups.host.back() - groups.host.front();
  return {2.0 * rows * static_cast<double>(matrices.size(1) * matrices.size(2)), 0.0};
}

// So many products of the size of scores = queries · keys, half of which the mask leaves out.
TraceWork attention_products(const AttentionShape& shape, int num_products) {
  const double scores = 0.5 * static_cast<double>(shape.num_sequences * shape.num_heads) *
                        static_cast<double>(shape.sequence_length * (shape.sequence_length + 1));
  return {2.0 * num_products * scores * static_cast<double>(shape.head_dim), 0.0};
}

// Every row of dy is added to a row of f32.
TraceWork embedding_gradient_work(In ids, In dy) {
  TraceWork work = moved({&ids, &dy});
  work.bytes += 2.0 * sizeof(float) * static_cast<double>(dy.numel());
  return work;
}

}  // namespace

void TracedBackend::upload(const void* host, Out y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "upload", moved({&y}));
  target_.upload(host, y);
}

void TracedBackend::download(In x, void* host) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "download", moved({&x}));
  target_.download(x, host);
}

std::unique_ptr<HostCopy> TracedBackend::start_download(In x, void* host) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "start_download", moved({&x}));
  return target_.start_download(x, host);
}

void TracedBackend::fill(Out x, float value) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "fill", moved({&x}));
  target_.fill(x, value);
}

void TracedBackend::copy(In x, Out y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "copy", moved({&x, &y}));
  target_.copy(x, y);
}

void TracedBackend::add(In x, InOut y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "add", moved({&x, &y, &y}));
  target_.add(x, y);
}

void TracedBackend::swap_leading(In x, Out y, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "swap_leading", moved({&x, &y}, accumulate, y));
  target_.swap_leading(x, y, accumulate);
}

void TracedBackend::sum(In x, Out sum) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "sum", moved({&x}));
  target_.sum(x, sum);
}

void TracedBackend::embedding(In table, In ids, Out y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "embedding", moved({&ids, &y, &y}));
  target_.embedding(table, ids, y);
}

void TracedBackend::embedding_backward(In ids, In dy, InOut dtable) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "embedding_backward", embedding_gradient_work(ids, dy));
  target_.embedding_backward(ids, dy, dtable);
}

void TracedBackend::rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "rms_norm", moved({&x, &delta, &w, &sum, &y, &rstd}));
  target_.rms_norm(x, delta, w, eps, sum, y, rstd);
}

void TracedBackend::rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "rms_norm_backward",
                       moved({&x, &w, &rstd, &dy, &dx, &dw, &dw}, accumulate_dx, dx));
  target_.rms_norm_backward(x, w, rstd, dy, dx, accumulate_dx, dw);
}

void TracedBackend::linear(In x, In w, Out y, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "linear", product(x, w));
  target_.linear(x, w, y, accumulate);
}

void TracedBackend::linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "linear_backward_data", product(dy, w));
  target_.linear_backward_data(dy, w, dx, accumulate);
}

void TracedBackend::linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "linear_backward_weight", product(x, dw));
  target_.linear_backward_weight(x, dy, dw, accumulate);
}

void TracedBackend::grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "grouped_linear", grouped_product(groups, w));
  target_.grouped_linear(x, groups, w, y, accumulate);
}

void TracedBackend::grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx,
                                                 Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "grouped_linear_backward_data", grouped_product(groups, w));
  target_.grouped_linear_backward_data(dy, groups, w, dx, accumulate);
}

void TracedBackend::grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw,
                                                   Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "grouped_linear_backward_weight", grouped_product(groups, dw));
  target_.grouped_linear_backward_weight(x, dy, groups, dw, accumulate);
}

void TracedBackend::rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y,
                         Out rstd) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "rope", moved({&qkv, &cos_sin, &y, &rstd}));
  target_.rope(qkv, cos_sin, shape, q_norm, k_norm, eps, y, rstd);
}

void TracedBackend::rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                                  Out dqkv, InOut dq_norm, InOut dk_norm) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "rope_backward", moved({&dy, &cos_sin, &qkv, &rstd, &dqkv}));
  target_.rope_backward(dy, cos_sin, shape, qkv, q_norm, k_norm, rstd, dqkv, dq_norm, dk_norm);
}

void TracedBackend::attention(In qkv, const AttentionShape& shape, Out y, Out lse) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "attention", attention_products(shape, 2));
  target_.attention(qkv, shape, y, lse);
}

void TracedBackend::attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "attention_backward", attention_products(shape, 5));
  target_.attention_backward(qkv, y, lse, dy, shape, dqkv);
}

void TracedBackend::store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "store_keys_values", moved({&qkv}));
  target_.store_keys_values(qkv, shape, past, cache);
}

void TracedBackend::cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "cached_attention", moved({&qkv, &cache, &y}));
  target_.cached_attention(qkv, cache, shape, past, y);
}

void TracedBackend::swiglu(In gate_up, In weights, Out hidden) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "swiglu", moved({&gate_up, &weights, &hidden}));
  target_.swiglu(gate_up, weights, hidden);
}

void TracedBackend::swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "swiglu_backward",
                       moved({&gate_up, &weights, &dhidden, &dgate_up, &dweights}));
  target_.swiglu_backward(gate_up, weights, dhidden, dgate_up, dweights);
}

void TracedBackend::route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                                Out weights) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "route_top_k", moved({&scores, &probs, &lse, &ids, &weights}));
  target_.route_top_k(scores, selection_bias, options, probs, lse, ids, weights);
}

void TracedBackend::route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                         const AuxiliaryGradient& auxiliary, Out dscores) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "route_top_k_backward",
                       moved({&probs, &lse, &ids, &weights, &dweights, &dscores}));
  target_.route_top_k_backward(probs, lse, ids, weights, dweights, options, auxiliary, dscores);
}

void TracedBackend::uoe_bids(In gate_up, const BidOptions& options, Out bids, Out probs, Out lse, Out ids, Out weights,
                             Out hidden) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "uoe_bids",
                       moved({&gate_up, &bids, &probs, &lse, &ids, &weights, &hidden}));
  target_.uoe_bids(gate_up, options, bids, probs, lse, ids, weights, hidden);
}

void TracedBackend::uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights,
                                      In dhidden, const BidOptions& options, const AuxiliaryGradient& auxiliary,
                                      Out dgate_up) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "uoe_bids_backward",
                       moved({&gate_up, &bids, &probs, &lse, &ids, &weights, &dweights, &dhidden, &dgate_up}));
  target_.uoe_bids_backward(gate_up, bids, probs, lse, ids, weights, dweights, dhidden, options, auxiliary, dgate_up);
}

void TracedBackend::row_norms(In x, Out norms) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "row_norms", moved({&x, &norms}));
  target_.row_norms(x, norms);
}

void TracedBackend::row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "row_norms_backward",
                       moved({&x, &norms, &dnorms, &dx}, accumulate, dx));
  target_.row_norms_backward(x, norms, dnorms, dx, accumulate);
}

void TracedBackend::expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "expert_counts", moved({&ids, &token_offsets, &counts}));
  target_.expert_counts(ids, token_offsets, tokens_per_set, counts);
}

void TracedBackend::load_balance(In counts, float scale, Out balance) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "load_balance", moved({&counts, &balance}));
  target_.load_balance(counts, scale, balance);
}

void TracedBackend::set_sums(In x, std::int64_t tokens_per_set, Out sums) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "set_sums", moved({&x, &sums}));
  target_.set_sums(x, tokens_per_set, sums);
}

void TracedBackend::routing_statistics(In probs, In ids, In token_offsets, Out sums) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "routing_statistics", moved({&probs, &ids, &token_offsets}));
  target_.routing_statistics(probs, ids, token_offsets, sums);
}

void TracedBackend::sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "sort_by_expert",
                       moved({&ids, &offsets, &slot_of_row, &row_of_slot}));
  target_.sort_by_expert(ids, num_experts, offsets, slot_of_row, row_of_slot);
}

void TracedBackend::slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "slot_rows", moved({&ids, &token_offsets, &rows}));
  target_.slot_rows(ids, token_offsets, stride, rows);
}

void TracedBackend::gather_rows(In x, In index, Out y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "gather_rows", moved({&index, &y, &y}));
  target_.gather_rows(x, index, y);
}

void TracedBackend::scatter_add_rows(In x, In index, InOut y) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "scatter_add_rows", moved({&x, &x, &x, &index}));
  target_.scatter_add_rows(x, index, y);
}

void TracedBackend::sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "sum_rows",
                       moved({&x, &token_offsets, &row_of_slot, &y}, accumulate, y));
  target_.sum_rows(x, token_offsets, row_of_slot, y, accumulate);
}

void TracedBackend::cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "cross_entropy",
                       backward ? moved({&logits, &logits, &targets, &losses}) : moved({&logits, &targets, &losses}));
  target_.cross_entropy(logits, targets, grad_scale, backward, losses);
}

void TracedBackend::sum_of_squares(In x, Out sum) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "sum_of_squares", moved({&x}));
  target_.sum_of_squares(x, sum);
}

void TracedBackend::add_up(In x, InOut sum) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "add_up", moved({&x, &sum, &sum}));
  target_.add_up(x, sum);
}

void TracedBackend::gradient_scale(In figures, double max_norm, Out scale) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "gradient_scale", moved({&figures, &scale}));
  target_.gradient_scale(figures, max_norm, scale);
}

void TracedBackend::adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                          InOut exp_avg_sq, Out param) {
  const TraceSpan span(&tracer_, TraceKind::kernel, "adamw",
                       moved({&grad, &master, &master, &exp_avg, &exp_avg, &exp_avg_sq, &exp_avg_sq, &param}));
  target_.adamw(grad, grad_scale, options, master, exp_avg, exp_avg_sq, param);
}

}  // namespace artel

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace artel {

// Shapes: T tokens · d hidden_size · V vocab_size · N num_experts · K num_experts_per_tok · S routing neurons per
// expert
//         A assignments (rows after dispatch; T·K when K is fixed) · E width of the routed part of an expert
//         B sequences · Q sequence length (T = B·Q) · H query heads · J key/value heads · h head_dim
//         M sets of tokens over which the load is counted.
// "act" is the activation type of the run, f32 or bf16; parameters have it too. Gradients of parameters are f32 always.
// Arithmetic is f32 with f32 accumulation whatever the storage. Every method states = (overwrites) or += (adds).

/// A tensor that the kernel reads, overwrites, or updates. Aliases that make signatures say so; an undefined tensor
/// stands for "none" where a comment allows it.
using In = const Tensor&;
using Out = const Tensor&;
using InOut = const Tensor&;

enum class Accumulate : bool { no, yes };

/// Rows of the g-th group are offsets[g] .. offsets[g+1]: on the host, where sizes of products are needed, and as i32
/// [num_groups + 1] on the device. On the CPU the two are the same numbers.
struct GroupOffsets {
  std::vector<std::int32_t> host;
  Tensor device;
};

/// A copy to host memory under way (Backend::start_download). May be dropped without a wait.
class HostCopy {
 public:
  HostCopy() = default;
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;
  virtual ~HostCopy() = default;

  /// Returns when the values are there; at once when they have been.
  virtual void wait() = 0;
};

struct AttentionShape {
  std::int64_t num_sequences = 0;    ///< B
  std::int64_t sequence_length = 0;  ///< Q
  std::int64_t num_heads = 0;        ///< H
  std::int64_t num_kv_heads = 0;     ///< J, divides H
  std::int64_t head_dim = 0;         ///< h, even
  /// [T] i32: the first position of its sequence that a token sees, which is where its document begins and positions
  /// are counted from; 0 to the token's own, and never falling along a sequence. Undefined: 0 for all.
  Tensor document_starts = {};

  std::int64_t num_tokens() const { return num_sequences * sequence_length; }
  std::int64_t num_qkv_heads() const { return num_heads + 2 * num_kv_heads; }
};

/// How scores become choices and weights, for every router with a fixed K (spec: docs/uoe.md, step 3).
struct TopKOptions {
  std::int64_t top_k = 1;
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1.0F;
};

enum class RoutingSignal : std::uint8_t { gate, gate_preactivation, glu };
enum class RoutingNorm : std::uint8_t { l2, l1, linf };

struct BidOptions {
  TopKOptions top_k;
  RoutingSignal signal = RoutingSignal::gate;
  RoutingNorm norm = RoutingNorm::l2;
  bool routed_includes_routing_neurons = true;
  bool virtual_shared_expert = true;
  float score_scale = 1.0F;
};

/// Gradient of the auxiliary losses with respect to the scores, added by the backward kernels of routing:
/// ds_ti += p_ti (q_i - sum_j p_tj q_j) + z_scale · lse_t · p_ti, with q = balance[t / tokens_per_set].
struct AuxiliaryGradient {
  Tensor balance;                   ///< [M, N] f32, coef·N·f_i/(L·T_step); undefined: no balance loss
  std::int64_t tokens_per_set = 1;  ///< tokens that share a row of `balance`
  float z_scale = 0.0F;             ///< 2·zcoef/(L·T_step)
};

struct AdamWOptions {
  float lr = 0.0F;
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float eps = 1.0e-8F;
  float weight_decay = 0.0F;
  std::int64_t step = 1;  ///< 1 for the first update; for the bias corrections
};

/// Of a gradient as it is applied; the square of a larger number may not be finite in fp32, and a second moment that is
/// infinite once stays so.
inline constexpr double largest_gradient_norm = 1.0e19;

/// Every kernel of Artel, once per device. Kernels neither allocate results nor own anything: the op layer allocates
/// outputs. Shapes are checked here (Error "[kernel] required …, found …"); values are not.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  virtual Device device() const = 0;
  /// Whether products of bf16 run on units made for them; if not they run through f32.
  virtual bool has_native_bf16() const = 0;
  /// Products that the library behind has been made ready for so far; making one costs as much as running it, so a
  /// steady step makes none.
  virtual std::int64_t num_primitives_created() const = 0;

  // ---- transfers
  // -----------------------------------------------------------------------------------------------------
  /// The contiguous tensor y = nbytes() of host memory, and the reverse. On a GPU download waits for the device.
  virtual void upload(const void* host, Out y) = 0;
  virtual void download(In x, void* host) = 0;
  /// The same, in the order of the kernels: `host` holds the values once wait() of the copy has returned, and must be
  /// left alone until then. x may go away or be overwritten by kernels at once.
  virtual std::unique_ptr<HostCopy> start_download(In x, void* host) = 0;

  // ---- elementwise
  // ---------------------------------------------------------------------------------------------------
  /// x = value. Any dtype.
  virtual void fill(Out x, float value) = 0;
  /// y = x, converted between f32 and bf16 (or the same type); same number of elements, both contiguous.
  virtual void copy(In x, Out y) = 0;
  /// y += x; the two may differ in type.
  virtual void add(In x, InOut y) = 0;
  /// x [P, R, C] -> y [R, P, C], = or +=; converts between f32 and bf16.
  virtual void swap_leading(In x, Out y, Accumulate accumulate) = 0;
  /// sum = sum of x in a fixed order. x f32 [n], sum f64 [1].
  virtual void sum(In x, Out sum) = 0;

  // ---- embedding
  // -----------------------------------------------------------------------------------------------------
  /// y [T, d] = table[ids]. table [V, d] act, ids [T] i32 in [0, V).
  virtual void embedding(In table, In ids, Out y) = 0;
  /// dtable [V, d] f32 += rows of dy [T, d] act, in ascending token order for every id.
  virtual void embedding_backward(In ids, In dy, InOut dtable) = 0;

  // ---- RMSNorm
  // -------------------------------------------------------------------------------------------------------
  /// sum = x + delta (rounded to act; delta and sum may both be undefined: then sum is x);
  /// y = sum · rstd · w, rstd = 1/sqrt(mean(sum²) + eps). x, delta, sum, y [T, d] act, w [d] act, rstd [T] f32.
  virtual void rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) = 0;
  /// dx [T, d] act = or += ; dw [d] f32 +=. x is the normalised input (`sum` of the forward).
  virtual void rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) = 0;

  // ---- products
  // ------------------------------------------------------------------------------------------------------ Weights are
  // [out, in]. Rows of x, y, dy, dx may be strided. act x act -> act or f32.
  /// y [T, out] = or += x [T, in] · w^T.
  virtual void linear(In x, In w, Out y, Accumulate accumulate) = 0;
  /// dx [T, in] = or += dy [T, out] · w.
  virtual void linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) = 0;
  /// dw [out, in] f32 = or += dy^T · x, summed over fixed chunks of tokens in ascending order.
  virtual void linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) = 0;
  /// The same for groups of rows: x [A, in], w [G, out, in], y [A, out]; rows of group g meet w[g]. Empty groups are
  /// normal.
  virtual void grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) = 0;
  virtual void grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx, Accumulate accumulate) = 0;
  /// dw [G, out, in] f32; a group without rows gets zeros under = and nothing under +=.
  virtual void grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw,
                                              Accumulate accumulate) = 0;

  // ---- attention
  // -----------------------------------------------------------------------------------------------------
  /// Rotates the query and key heads of qkv [T, H + 2J, h] (queries, keys, values) by the position t mod Q, less the
  /// token's document_starts; halves convention of HF rotate_half; cos_sin [Q, h] f32 holds h/2 cosines, then h/2
  /// sines. With q_norm and k_norm [h] act (both or neither) every query and key head is RMS-normed first: rstd [T, H +
  /// J] f32. y act may be qkv itself only without norms; the value heads are copied.
  virtual void rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y,
                    Out rstd) = 0;
  /// dqkv act = ; dq_norm, dk_norm [h] f32 +=. qkv (the input of the forward), norms and rstd undefined without norms.
  /// dqkv may be dy itself.
  virtual void rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                             Out dqkv, InOut dq_norm, InOut dk_norm) = 0;
  /// Causal attention with grouped queries, softmax scale 1/sqrt(h), in blocks: memory linear in Q. With
  /// document_starts a token sees its own document alone, and blocks of other documents cost nothing. qkv [T, H + 2J,
  /// h] -> y [T, H, h]; lse [B, H, Q] f32 = log of the sum of exponentials of the scaled scores.
  virtual void attention(In qkv, const AttentionShape& shape, Out y, Out lse) = 0;
  /// dqkv [T, H + 2J, h] act =.
  virtual void attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) = 0;

  // ---- generation
  // ----------------------------------------------------------------------------------------------------
  /// Rows past .. past + Q - 1 of cache [C, 2J, h] act (keys, values) = the key and value heads of qkv [Q, H + 2J, h]
  /// of one sequence, rotated.
  virtual void store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) = 0;
  /// y [Q, H, h] act = attention of the queries of qkv [Q, H + 2J, h], rotated, to the rows of cache [C, 2J, h] up to
  /// their own: query t sees rows 0 .. past + t. One sequence; no gradient.
  virtual void cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) = 0;

  // ---- SwiGLU
  // --------------------------------------------------------------------------------------------------------
  /// hidden [A, E] act = weights · SiLU(gate) · up. gate_up [A, 2, E] act; weights [A] f32 or undefined (all 1).
  virtual void swiglu(In gate_up, In weights, Out hidden) = 0;
  /// dhidden [A, E] act is the gradient of the product behind (dy · Wo^T, not yet weighted).
  /// dgate_up [A, 2, E] act = ; dweights [A] f32 = <dhidden, SiLU(gate)·up> (undefined without weights).
  virtual void swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) = 0;

  // ---- routing
  // -------------------------------------------------------------------------------------------------------
  /// p = softmax(scores); ids = the K largest of scores (+ selection_bias [N] f32 when defined), ties to the lower
  /// index, in descending order; weights = p of the chosen, divided by their sum under norm_topk_prob, times the
  /// scaling factor. scores [T, N] f32 -> probs [T, N] f32, lse [T] f32, ids [T, K] i32, weights [T, K] f32.
  virtual void route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                           Out weights) = 0;
  /// dscores [T, N] f32 = from dweights [T, K] f32 (undefined: zero) and the auxiliary losses.
  virtual void route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                    const AuxiliaryGradient& auxiliary, Out dscores) = 0;
  /// UoE, steps 2 to 4 in one pass. gate_up [T, N, 2, S] act holds G and P as stored. bids [T, N] f32 = s before
  /// score_scale; probs, lse, ids, weights as above from score_scale·s; hidden [T, N·S] act = c · h.
  virtual void uoe_bids(In gate_up, const BidOptions& options, Out bids, Out probs, Out lse, Out ids, Out weights,
                        Out hidden) = 0;
  /// dhidden [T, N·S] act = dy · Wo_r^T; dweights [T, K] f32 from the routed part (undefined: zero).
  /// dgate_up [T, N, 2, S] act =.
  virtual void uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                                 const BidOptions& options, const AuxiliaryGradient& auxiliary, Out dgate_up) = 0;
  /// norms [R] f32 = L2 norm of the rows of x [R, r] act (AoE's scores).
  virtual void row_norms(In x, Out norms) = 0;
  /// dx [R, r] act = or += dnorms · x / norms, 0 where the norm is 0.
  virtual void row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) = 0;
  /// counts [M, N] i32 = assignments to each expert in each set; token t belongs to set t / tokens_per_set, its slots
  /// are token_offsets[t] .. token_offsets[t+1] of ids [A]. token_offsets [T + 1] i32.
  virtual void expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) = 0;
  /// balance [M, N] f32 = scale · counts / sum of the row's counts (0 for an empty set); counts [M, N] i32.
  virtual void load_balance(In counts, float scale, Out balance) = 0;
  /// sums [M, N] f32 = sums of the rows of x [T, N] f32 in each set, in ascending order.
  virtual void set_sums(In x, std::int64_t tokens_per_set, Out sums) = 0;
  /// How decided the choices are: sums f64 [2] = sums over the tokens, in ascending order, of the entropy of the
  /// token's row of probs, in nats, and of its margin, the least probability chosen less the largest not chosen (0
  /// where either is missing). probs [T, N] f32; the slots of token t are token_offsets[t] .. token_offsets[t+1] of ids
  /// [A] i32.
  virtual void routing_statistics(In probs, In ids, In token_offsets, Out sums) = 0;

  // ---- permutation
  // ---------------------------------------------------------------------------------------------------
  /// Stable expert-major order of slots 0..A-1 by ids [A]: slot_of_row [A], row_of_slot [A], offsets [N + 1], all i32.
  virtual void sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) = 0;
  /// rows [A] i32 = stride · t + ids[slot] for the slots token_offsets[t] .. token_offsets[t+1] of every token t: where
  /// the choices stand in a matrix with `stride` rows a token. ids [A] i32 (undefined: zeros), token_offsets [T + 1]
  /// i32.
  virtual void slot_rows(In ids, In token_offsets, std::int64_t stride, Out rows) = 0;
  /// y [A, c] = x[index] (rows); any dtype, the same for both; index [A] i32.
  virtual void gather_rows(In x, In index, Out y) = 0;
  /// y[index] += x; index [A] i32 without repeats.
  virtual void scatter_add_rows(In x, In index, InOut y) = 0;
  /// y [T, d] = or += sum over the slots of each token, ascending, of x[row_of_slot[slot]]; x [A, d], sums in f32.
  virtual void sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) = 0;

  // ---- loss
  // ----------------------------------------------------------------------------------------------------------
  /// losses [R] f32 = cross-entropy of logits [R, V] (act or f32) against targets [R] i32, in nats. With `backward` the
  /// logits are overwritten by (softmax - onehot) · grad_scale.
  virtual void cross_entropy(InOut logits, In targets, float grad_scale, bool backward, Out losses) = 0;

  // ---- optimizer, over flat arenas
  // -----------------------------------------------------------------------------------
  /// sum = sum of squares of x f32 [n] in f64 over fixed chunks, in ascending order; f64 [1].
  virtual void sum_of_squares(In x, Out sum) = 0;
  /// sum += x[0] + … + x[n - 1], one after the other. x f64 [n], a few figures; sum f64 [1].
  virtual void add_up(In x, InOut sum) = 0;
  /// What the gradient of a step is to be multiplied with. figures f64 [2]: the sum of its squares, the step's loss.
  /// scale f32 [1] = max_norm / norm where the norm is above max_norm > 0, else 1; NaN, on which adamw changes nothing,
  /// where a figure is not finite or the scaled gradient's norm is above largest_gradient_norm.
  virtual void gradient_scale(In figures, double max_norm, Out scale) = 0;
  /// AdamW (Loshchilov & Hutter, ICLR 2019): g = grad·grad_scale; master *= 1 - lr·wd; moments; bias-corrected update.
  /// Changes nothing where grad_scale is NaN. grad, master, exp_avg, exp_avg_sq f32 [n]; grad_scale f32 [1]; param [n]
  /// bf16 = rounded master, or undefined.
  virtual void adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg, InOut exp_avg_sq,
                     Out param) = 0;
};

}  // namespace artel

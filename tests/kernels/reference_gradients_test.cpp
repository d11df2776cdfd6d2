// Every backward reference against central differences of its forward reference, with a random cotangent.

#include <functional>
#include <string>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/reference/attention.h"
#include "support/reference/loss.h"
#include "support/reference/norm.h"
#include "support/reference/optimizer.h"
#include "support/reference/permutation.h"
#include "support/reference/products.h"
#include "support/reference/routing.h"
#include "support/reference/swiglu.h"
#include "support/reference/uoe.h"
#include "support/tensors.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

/// Checks `analytic` against the differences of <cotangent, forward(x)>.
void check(const std::string& name, const Vector& analytic, const Vector& cotangent, const Vector& x,
           const std::function<Vector(const Vector&)>& forward) {
  expect_gradient(name, analytic, numeric_gradient([&](const Vector& v) { return dot(cotangent, forward(v)); }, x));
}

TEST_CASE("reference gradients of products agree with central differences") {
  const Ids offsets{0, 2, 2, 5};
  const Vector x = random_values("x", 5 * 4);
  const Vector w = random_values("w", 3 * 3 * 4);
  const Vector dy = random_values("dy", 5 * 3);
  const auto grouped = reference::grouped_linear_backward(x, offsets, w, dy, 4, 3);
  check("grouped dx", grouped.dx, dy, x,
        [&](const Vector& v) { return reference::grouped_linear(v, offsets, w, 4, 3); });
  check("grouped dw", grouped.dw, dy, w,
        [&](const Vector& v) { return reference::grouped_linear(x, offsets, v, 4, 3); });
  const Vector matrix(w.begin(), w.begin() + 12);
  const auto plain = reference::linear_backward(x, matrix, dy, 4, 3);
  check("dx", plain.dx, dy, x, [&](const Vector& v) { return reference::linear(v, matrix, 4, 3); });
  check("dw", plain.dw, dy, matrix, [&](const Vector& v) { return reference::linear(x, v, 4, 3); });
}

TEST_CASE("reference gradients of norms agree with central differences") {
  const Vector x = random_values("x", 3 * 5);
  const Vector w = random_values("w", 5);
  const Vector dy = random_values("dy", 3 * 5);
  const auto gradients = reference::rms_norm_backward(x, w, 1e-2, dy);
  check("dx", gradients.dx, dy, x, [&](const Vector& v) { return reference::rms_norm(v, w, 1e-2).y; });
  check("dw", gradients.dw, dy, w, [&](const Vector& v) { return reference::rms_norm(x, v, 1e-2).y; });
  const Vector dnorms = random_values("dnorms", 3);
  check("row norms", reference::row_norms_backward(x, 5, dnorms), dnorms, x,
        [&](const Vector& v) { return reference::row_norms(v, 5); });
}

TEST_CASE("reference gradients of rotary embedding agree with central differences, with and without norms") {
  const AttentionShape shape{2, 3, 4, 2, 4};
  const Vector qkv = random_values("qkv", 6 * 8 * 4);
  const Vector table = reference::rope_table(3, 4, 10.0);
  const Vector dy = random_values("dy", qkv.size());
  for (const bool normed : {false, true}) {
    INFO("norms " << normed);
    const Vector q_norm = normed ? random_values("q_norm", 4) : Vector();
    const Vector k_norm = normed ? random_values("k_norm", 4) : Vector();
    const auto gradients = reference::rope_backward(dy, table, shape, qkv, q_norm, k_norm, 1e-2);
    check("dqkv", gradients.dqkv, dy, qkv,
          [&](const Vector& v) { return reference::rope(v, table, shape, q_norm, k_norm, 1e-2).y; });
    if (!normed) continue;
    check("dq_norm", gradients.dq_norm, dy, q_norm,
          [&](const Vector& v) { return reference::rope(qkv, table, shape, v, k_norm, 1e-2).y; });
    check("dk_norm", gradients.dk_norm, dy, k_norm,
          [&](const Vector& v) { return reference::rope(qkv, table, shape, q_norm, v, 1e-2).y; });
  }
}

TEST_CASE("reference gradients of attention agree with central differences") {
  const AttentionShape shape{2, 4, 4, 2, 4};
  const Vector qkv = random_values("qkv", 8 * 8 * 4);
  const Vector dy = random_values("dy", 8 * 4 * 4);
  const Vector y = reference::attention(qkv, shape).y;
  check("dqkv", reference::attention_backward(qkv, y, dy, shape), dy, qkv,
        [&](const Vector& v) { return reference::attention(v, shape).y; });
  const reference::Starts starts = {0, 0, 2, 2, 0, 1, 1, 3};
  const auto within = [&](const Vector& v) { return reference::attention(v, shape, reference::term_itself, starts).y; };
  check("dqkv within documents",
        reference::attention_backward(qkv, within(qkv), dy, shape, reference::term_itself, starts), dy, qkv, within);
}

TEST_CASE("reference gradients of SwiGLU agree with central differences") {
  const Vector gate_up = random_values("gate_up", 3 * 2 * 4);
  const Vector weights = random_values("weights", 3);
  const Vector dhidden = random_values("dhidden", 3 * 4);
  const auto weighted = reference::swiglu_backward(gate_up, weights, 4, dhidden);
  check("dgate_up", weighted.dgate_up, dhidden, gate_up,
        [&](const Vector& v) { return reference::swiglu(v, weights, 4); });
  check("dweights", weighted.dweights, dhidden, weights,
        [&](const Vector& v) { return reference::swiglu(gate_up, v, 4); });
  check("dgate_up without weights", reference::swiglu_backward(gate_up, {}, 4, dhidden).dgate_up, dhidden, gate_up,
        [&](const Vector& v) { return reference::swiglu(v, {}, 4); });
}

TEST_CASE("reference gradients of routing agree with central differences") {
  const Vector scores = random_values("scores", 4 * 5);
  const Vector dweights = random_values("dweights", 4 * 2);
  const Vector balance = random_values("balance", 2 * 5);
  for (const bool norm_topk_prob : {false, true}) {
    for (const bool with_weights : {false, true}) {
      for (const reference::Auxiliary& auxiliary :
           {reference::Auxiliary{}, reference::Auxiliary{balance, 2, 0.0}, reference::Auxiliary{balance, 2, 0.3}}) {
        if (!with_weights && auxiliary.balance.empty()) continue;
        INFO("norm_topk_prob " << norm_topk_prob << ", weights " << with_weights << ", z " << auxiliary.z_scale);
        const TopKOptions options{2, norm_topk_prob, 1.7F};
        const Ids ids = reference::top_k(scores, 5, 2);
        const Vector used = with_weights ? dweights : Vector();
        const auto loss = [&](const Vector& v) {
          const reference::Routing routing = reference::route(v, 5, ids, options);
          return (with_weights ? dot(dweights, routing.weights) : 0.0) +
                 reference::auxiliary_loss(routing, 5, auxiliary);
        };
        expect_gradient("dscores", reference::route_backward(scores, 5, ids, used, options, auxiliary),
                        numeric_gradient(loss, scores));
      }
    }
  }
}

void check_uoe(const BidOptions& options, bool with_weights, const reference::Auxiliary& auxiliary) {
  constexpr std::size_t num_tokens = 4, num_experts = 5, neurons = 3;
  const Vector gate_up = random_values("gate_up", num_tokens * num_experts * 2 * neurons);
  const Vector dhidden = random_values("dhidden", num_tokens * num_experts * neurons);
  const Vector dweights = random_values("dweights", num_tokens * 2);
  const Ids ids = reference::top_k(reference::uoe_bids(gate_up, num_experts, neurons, options), num_experts, 2);
  const auto loss = [&](const Vector& v) {
    const reference::Uoe forward = reference::uoe(v, num_experts, neurons, ids, options);
    return dot(dhidden, forward.hidden) + (with_weights ? dot(dweights, forward.routing.weights) : 0.0) +
           reference::auxiliary_loss(forward.routing, num_experts, auxiliary);
  };
  const Vector analytic = reference::uoe_backward(gate_up, num_experts, neurons, ids,
                                                  with_weights ? dweights : Vector(), dhidden, options, auxiliary);
  expect_gradient("dgate_up", analytic, numeric_gradient(loss, gate_up));
}

TEST_CASE("reference gradients of UoE agree with central differences for every combination of keys") {
  const Vector balance = random_values("balance", 2 * 5);
  for (const RoutingSignal signal : {RoutingSignal::gate, RoutingSignal::gate_preactivation, RoutingSignal::glu}) {
    for (const RoutingNorm norm : {RoutingNorm::l2, RoutingNorm::l1, RoutingNorm::linf}) {
      for (const int uv : {1, 2, 3}) {
        for (const bool norm_topk_prob : {false, true}) {
          for (const float scale : {1.0F, 1.6F}) {
            BidOptions options;
            options.top_k = {2, norm_topk_prob, scale == 1.0F ? 1.0F : 2.3F};
            options.signal = signal;
            options.norm = norm;
            options.routed_includes_routing_neurons = (uv & 1) != 0;
            options.virtual_shared_expert = (uv & 2) != 0;
            options.score_scale = scale;
            INFO("signal " << static_cast<int>(signal) << " norm " << static_cast<int>(norm) << " u " << (uv & 1)
                           << " v " << (uv & 2) / 2 << " norm_topk_prob " << norm_topk_prob << " scale " << scale);
            check_uoe(options, true, {balance, 2, 0.4});
            check_uoe(options, true, {});
            check_uoe(options, false, {balance, 3, 0.0});
          }
        }
      }
    }
  }
}

TEST_CASE("reference gradients of moved rows agree with central differences") {
  const Ids index{3, 0, 3, 1};
  const Vector x = random_values("x", 5 * 2);
  const Vector dy = random_values("dy", 4 * 2);
  check("gather", reference::scatter_add_rows(dy, index, Vector(x.size(), 0.0), 2), dy, x,
        [&](const Vector& v) { return reference::gather_rows(v, index, 2); });
}

TEST_CASE("reference gradients of cross-entropy agree with central differences") {
  const Vector logits = random_values("logits", 3 * 6);
  const Ids targets{5, 0, 2};
  const Vector dlosses = random_values("dlosses", 3);
  check("dlogits", reference::cross_entropy_backward(logits, targets, 6, dlosses), dlosses, logits,
        [&](const Vector& v) { return reference::cross_entropy(v, targets, 6); });
}

TEST_CASE("the first AdamW step of the reference moves by the learning rate against the sign of the gradient") {
  AdamWOptions options;
  options.lr = 0.25F;
  options.eps = 0.0F;
  const auto plain = reference::adamw({3.0, -0.01}, 0.5, options, {{1.0, 1.0}, {0.0, 0.0}, {0.0, 0.0}});
  expect_close("master", plain.master, {0.75, 1.25}, {1e-12, 0.0});
  expect_close("exp_avg", plain.exp_avg, {0.15, -0.0005}, {1e-7, 0.0});
  expect_close("exp_avg_sq", plain.exp_avg_sq, {0.1125, 1.25e-6}, {1e-7, 0.0});
  options.weight_decay = 0.5F;
  const auto decayed = reference::adamw({3.0}, 1.0, options, {{1.0}, {0.0}, {0.0}});
  expect_close("master", decayed.master, {1.0 - 0.125 - 0.25}, {1e-12, 0.0});
}

}  // namespace
}  // namespace artel

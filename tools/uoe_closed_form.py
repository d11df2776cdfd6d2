"""The backward of a Union-of-Experts layer written out by hand in float64, compared with autograd.

It shares no code with torch_moe.py beyond the parameters: both must be wrong in the same way to agree.
"""
import itertools

import torch
import torch.nn.functional as F

from model_config import ModelConfig
from torch_model import balance_loss
from torch_moe import UoeMoe

TOKENS, SEQUENCES, NUM_LAYERS = 12, 3, 4  # NUM_LAYERS: the auxiliary losses are means over layers
AUX_COEF, Z_COEF = 0.3, 0.2  # large, so that a mistake in them shows


def silu_slope(z):
    sigma = z.sigmoid()
    return sigma * (1 + z * (1 - sigma))


def bid_slope(node, norm):
    """d(bid before scaling)/d(node), [T, N, S]; 0 where the bid is 0."""
    if norm == "l2":
        size = node.square().sum(dim=-1, keepdim=True).sqrt()
        return torch.where(size > 0, node / size, 0.0)
    if norm == "l1":
        return node.sign()
    first = node.abs().argmax(dim=-1, keepdim=True)
    return torch.zeros_like(node).scatter(-1, first, 1.0) * node.sign()


def closed_form(layer, x, dy):
    """Gradients of <dy, y> + auxiliary losses of one of NUM_LAYERS layers; x and dy [T, d]."""
    config, uoe = layer.config, layer.config.routing.uoe
    top_k, n, scaling = config.num_experts_per_tok, config.num_experts, config.routed_scaling_factor
    gate_r, up_r = layer.routing_gate_up.detach()  # each [N, S, d]
    down_r = layer.routing_down.detach()  # [d, N, S]
    gate_e, up_e, down_e = (p.detach() for p in (layer.experts.gate, layer.experts.up, layer.experts.down))

    g, p_r = torch.einsum("td,nsd->tns", x, gate_r), torch.einsum("td,nsd->tns", x, up_r)
    a = g * g.sigmoid()
    h = a * p_r
    node = {"gate": a, "gate_preactivation": g, "glu": h}[uoe.routing_signal]
    order = {"l2": 2, "l1": 1, "linf": float("inf")}[uoe.routing_norm]
    bid = torch.linalg.vector_norm(node, ord=order, dim=-1) * uoe.score_scale
    p = bid.softmax(dim=-1)
    chosen = torch.zeros_like(p).scatter(1, bid.topk(top_k).indices, 1.0)
    w = p * chosen
    if config.norm_topk_prob:
        w = w / w.sum(dim=-1, keepdim=True)
    c = float(uoe.virtual_shared_expert) + float(uoe.routed_includes_routing_neurons) * scaling * w

    grads = {name: torch.zeros_like(value) for name, value in (("gate", gate_e), ("up", up_e), ("down", down_e))}
    dx, dw = torch.zeros_like(x), torch.zeros_like(w)
    for i in range(n):
        rows = chosen[:, i].nonzero().squeeze(1)
        weight = (w[rows, i] * scaling).unsqueeze(1)
        gi, pi = x[rows] @ gate_e[i].T, x[rows] @ up_e[i].T
        hidden = F.silu(gi) * pi
        dhu = dy[rows] @ down_e[i]
        dw[rows, i] += (dhu * hidden).sum(dim=-1)
        grads["down"][i] += dy[rows].T @ (weight * hidden)
        dhidden = weight * dhu
        dgi, dpi = dhidden * pi * silu_slope(gi), dhidden * F.silu(gi)
        grads["gate"][i] += dgi.T @ x[rows]
        grads["up"][i] += dpi.T @ x[rows]
        dx[rows] += dgi @ gate_e[i] + dpi @ up_e[i]

    dhr = torch.einsum("td,dns->tns", dy, down_r)
    grads["routing_down"] = torch.einsum("td,tns->dns", dy, c.unsqueeze(-1) * h)
    dh = c.unsqueeze(-1) * dhr
    if uoe.routed_includes_routing_neurons:
        dw += (dhr * h).sum(dim=-1) * chosen
    dw *= scaling
    if config.norm_topk_prob:
        ds = w * (dw - (w * dw).sum(dim=-1, keepdim=True))
    else:
        ds = p * (dw * chosen - (p * dw * chosen).sum(dim=-1, keepdim=True))
    groups = SEQUENCES if config.router_aux_loss_scope == "sequence" else 1
    share = chosen.view(groups, -1, n).mean(dim=1, keepdim=True).expand(-1, TOKENS // groups, -1).reshape(TOKENS, n) / top_k
    q = AUX_COEF * n * share / (NUM_LAYERS * TOKENS)
    ds += p * (q - (p * q).sum(dim=-1, keepdim=True))
    ds += 2 * Z_COEF / (NUM_LAYERS * TOKENS) * bid.logsumexp(dim=-1, keepdim=True) * p
    dnode = (ds * uoe.score_scale).unsqueeze(-1) * bid_slope(node, uoe.routing_norm)

    if uoe.routing_signal == "glu":
        dh = dh + dnode
    dp, da = dh * a, dh * p_r
    if uoe.routing_signal == "gate":
        da = da + dnode
    dg = da * silu_slope(g)
    if uoe.routing_signal == "gate_preactivation":
        dg = dg + dnode
    grads["routing_gate_up"] = torch.stack([torch.einsum("tns,td->nsd", dg, x), torch.einsum("tns,td->nsd", dp, x)])
    grads["x"] = dx + torch.einsum("tns,nsd->td", dg, gate_r) + torch.einsum("tns,nsd->td", dp, up_r)
    return grads


def automatic(layer, x, dy):
    layer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y, routing = layer(x)
    aux = balance_loss(routing, layer.config, SEQUENCES) / NUM_LAYERS
    z = routing.scores.logsumexp(dim=-1).square().mean() / NUM_LAYERS
    ((dy * y).sum() + AUX_COEF * aux + Z_COEF * z).backward()
    return {"x": x.grad, "gate": layer.experts.gate.grad, "up": layer.experts.up.grad, "down": layer.experts.down.grad,
            "routing_down": layer.routing_down.grad, "routing_gate_up": layer.routing_gate_up.grad}


def check_closed_form():
    """Compares both in all combinations of signal, norm, renormalisation and the routing neurons' two uses."""
    generator = torch.Generator().manual_seed(3)
    worst, count = 0.0, 0
    uses = [(True, True), (True, False), (False, True)]
    for signal, norm, renormalise, (virtual, routed) in itertools.product(
            ("gate", "gate_preactivation", "glu"), ("l2", "l1", "linf"), (True, False), uses):
        config = ModelConfig.from_dict({
            "hidden_size": 10, "num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 9,
            "norm_topk_prob": renormalise, "routed_scaling_factor": 1.3,
            "router_aux_loss_scope": "sequence" if count % 2 else "micro",
            "routing": {"type": "uoe", "uoe": {"routing_neurons": 4, "routing_signal": signal, "routing_norm": norm,
                                               "virtual_shared_expert": virtual, "score_scale": 0.7,
                                               "routed_includes_routing_neurons": routed}}})
        layer = UoeMoe(config, "loop").double()
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.5, generator=generator)
        x, dy = torch.randn(2, TOKENS, 10, generator=generator, dtype=torch.float64)
        required, found = closed_form(layer, x, dy), automatic(layer, x, dy)
        for name, value in required.items():
            difference = (found[name] - value).abs().max().item() / value.abs().max().item()
            if not difference < 1e-12:
                raise RuntimeError(f"closed form: {name} differs by {difference:.1e} with norm_topk_prob {renormalise}, "
                                   f"scope {config.router_aux_loss_scope}, {config.routing.uoe}")
            worst = max(worst, difference)
        count += 1
    print(f"closed-form UoE backward: {count} combinations, worst relative difference {worst:.1e}")


if __name__ == "__main__":
    check_closed_form()

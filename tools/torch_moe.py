"""The mixture-of-experts layers of the Artel model in PyTorch: softmax routing, Union-of-Experts, Autonomy-of-Experts.

Shapes: B sequences, C their length, T = B*C tokens, d hidden_size, N experts, K experts per token,
D moe_intermediate_size, S routing neurons per expert, E = D - S, A = T*K rows given to experts,
r d_low and w expert_width of AoE.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


def full(x):
    """At least fp32: bf16 and fp16 go up, fp32 and fp64 stay."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def compute_dtype(x):
    """The type of matrix products: autocast's where it is on, else the type of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class SwiGLU(nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def stacked(*shape):
    return nn.Parameter(torch.zeros(*shape))

@dataclass
class Routing:
    """What one layer decided. `scores` are logits or bids [T, N], `probs` their softmax over all experts."""
    scores: torch.Tensor
    probs: torch.Tensor
    expert_ids: torch.Tensor  # [T, K], best first
    weights: torch.Tensor  # [T, K]


def select(scores, config):
    """Softmax over all N, the best K (ties to the lower index), their weights. scores [T, N], at least fp32."""
    probs = scores.softmax(dim=-1)
    order = scores.detach().sort(dim=-1, descending=True, stable=True).indices
    expert_ids = order[:, : config.num_experts_per_tok].contiguous()
    weights = probs.gather(1, expert_ids)
    if config.norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return Routing(scores, probs, expert_ids, weights * config.routed_scaling_factor)


class Permute(torch.autograd.Function):
    """Rows of x by index; the backward gathers each token's K rows in slot order instead of scattering."""

    @staticmethod
    def forward(ctx, x, source, inverse):  # x [T, d], source [A] token of each row, inverse [T, K] row of each slot
        ctx.save_for_backward(source, inverse)
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx, grad):
        _, inverse = ctx.saved_tensors
        return sum_slots(grad, inverse), None, None


class Unpermute(torch.autograd.Function):
    """Sums the K rows of each token; the backward is a plain gather."""

    @staticmethod
    def forward(ctx, rows, source, inverse):  # rows [A, d] -> [T, d]
        ctx.save_for_backward(source)
        return sum_slots(rows, inverse)

    @staticmethod
    def backward(ctx, grad):
        (source,) = ctx.saved_tensors
        return grad.index_select(0, source), None, None


def sum_slots(rows, inverse):  # rows [A, d], inverse [T, K] -> [T, d]
    return F.embedding_bag(inverse, rows, mode="sum")


def padded(size, mode):
    """Grouped products need strides that are multiples of 16 bytes. Neurons added for that are zero and stay zero:
    their gradients are products with each other's zeros."""
    return -(-size // 8) * 8 if mode == "grouped" else size


class Experts(nn.Module):
    """N SwiGLU experts over rows sorted by expert. The gate may read other rows than x (AoE)."""

    def __init__(self, num, hidden, width, gate_input=None, mode="loop"):
        super().__init__()
        self.width, self.gate_input, self.mode = width, gate_input or hidden, mode
        self.gate = stacked(num, padded(width, mode), padded(self.gate_input, mode))
        self.up = stacked(num, padded(width, mode), hidden)
        self.down = stacked(num, hidden, padded(width, mode))

    def pieces(self, i):
        """The (parameter, index) of expert i's gate, up and down matrices."""
        rows = slice(self.width)
        return (self.gate, (i, rows, slice(self.gate_input))), (self.up, (i, rows)), (self.down, (i, slice(None), rows))

    def mlp(self, x, gate_x, weights, counts):
        """x [A, hidden], gate_x [A, gate_input], weights [A, 1] of the rows, counts [N] -> [A, hidden]"""
        if self.mode == "grouped":
            ends = counts.cumsum(0).to(torch.int32)
            product = lambda rows, matrix: F.grouped_mm(rows, matrix.to(rows.dtype).transpose(1, 2), offs=ends)
            hidden = F.silu(product(gate_x, self.gate)) * product(x, self.up)
            return product(hidden * weights, self.down)
        sizes = counts.tolist()
        gate_rows = x.split(sizes) if gate_x is x else gate_x.split(sizes)
        out = []
        for rows, gate_in, weight, gate, up, down in zip(x.split(sizes), gate_rows, weights.split(sizes),
                                                         self.gate.unbind(0), self.up.unbind(0), self.down.unbind(0)):
            hidden = F.silu(F.linear(gate_in, gate)) * F.linear(rows, up)
            out.append(F.linear(hidden * weight, down))
        return torch.cat(out)

    def forward(self, x, routing, travelling=None):
        """x [T, hidden]; travelling [T, N, gate_input] or None -> the weighted sum over each token's experts"""
        flat = routing.expert_ids.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.gate.shape[0])
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        inverse = inverse.view_as(routing.expert_ids)
        source = order // routing.expert_ids.shape[1]
        rows = Permute.apply(x, source, inverse)
        weights = routing.weights.flatten()[order].unsqueeze(1).to(x.dtype)
        gate_rows = rows if travelling is None else travelling[source, flat[order]]
        return Unpermute.apply(self.mlp(rows, gate_rows, weights, counts), source, inverse)


class MoeLayer(nn.Module):
    """What all methods share: a real shared expert, the order of the sum, the checkpoint's names."""
    has_real_shared_expert = True

    def __init__(self, config, expert_mode):
        super().__init__()
        self.config = config
        width = config.shared_expert_intermediate_size if self.has_real_shared_expert else 0
        self.shared_expert = SwiGLU(config.hidden_size, width) if width else None

    def route(self, x):
        """x [T, d] -> Routing, rows that travel to the experts [T, N, r] or None, an additional output [T, d] or None"""
        raise NotImplementedError

    def forward(self, x):  # [T, d]
        x = x.to(compute_dtype(x))
        routing, travelling, extra = self.route(x)
        y = self.experts(x, routing, travelling)
        if extra is not None:
            y = y + extra
        if self.shared_expert is not None:
            y = y + self.shared_expert(x)
        return y, routing

    def expert_pieces(self, i):
        """For expert i: name -> (pieces, dimension along which they are joined); a piece is (parameter, index)."""
        gate, up, down = self.experts.pieces(i)
        return {"gate_proj": ([gate], 0), "up_proj": ([up], 0), "down_proj": ([down], 0)}

    def named_pieces(self):
        for i in range(self.config.num_experts):
            for name, pieces in self.expert_pieces(i).items():
                yield f"experts.{i}.{name}.weight", pieces
        if self.shared_expert is not None:
            for name, parameter in self.shared_expert.named_parameters():
                yield f"shared_expert.{name}", ([(parameter, ...)], 0)


class SoftmaxMoe(MoeLayer):
    """A linear router."""

    def __init__(self, config, expert_mode):
        super().__init__(config, expert_mode)
        self.gate = stacked(config.num_experts, config.hidden_size)
        self.experts = Experts(config.num_experts, config.hidden_size, config.moe_intermediate_size, mode=expert_mode)

    def route(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return select(F.linear(full(x), full(self.gate)), self.config), None, None

    def named_pieces(self):
        yield "gate.weight", ([(self.gate, ...)], 0)
        yield from super().named_pieces()


class UoeMoe(MoeLayer):
    """Union-of-Experts: the first S neurons of every expert bid for the token and form the virtual shared expert."""
    has_real_shared_expert = False

    def __init__(self, config, expert_mode):
        super().__init__(config, expert_mode)
        n, d, s = config.num_experts, config.hidden_size, config.routing_neurons()
        if not (config.routing.uoe.virtual_shared_expert or config.routing.uoe.routed_includes_routing_neurons):
            raise ValueError("[model.routing.uoe] the routing neurons must reach the output in at least one way")
        self.routing_gate_up = stacked(2, n, s, d)
        self.routing_down = stacked(d, n, s)
        self.experts = Experts(n, d, config.moe_intermediate_size - s, mode=expert_mode)

    def bids(self, gate, activation, product):  # each [T, N, S] -> [T, N]
        uoe = self.config.routing.uoe
        node = {"gate": activation, "gate_preactivation": gate, "glu": product}[uoe.routing_signal]
        if uoe.routing_norm == "linf":
            score = node.abs().max(dim=-1).values
        else:
            score = torch.linalg.vector_norm(node, ord={"l2": 2, "l1": 1}[uoe.routing_norm], dim=-1)
        return score * uoe.score_scale

    def route(self, x):
        uoe = self.config.routing.uoe
        _, n, s, d = self.routing_gate_up.shape
        stored = F.linear(x, self.routing_gate_up.view(2 * n * s, d)).view(-1, 2, n, s)
        with torch.autocast(x.device.type, enabled=False):
            gate, up = full(stored).unbind(1)
            activation = F.silu(gate)
            product = activation * up
            routing = select(self.bids(gate, activation, product), self.config)
            share = torch.full_like(routing.probs, float(uoe.virtual_shared_expert))
            if uoe.routed_includes_routing_neurons:
                share = share + torch.zeros_like(routing.probs).scatter(1, routing.expert_ids, routing.weights)
            mixed = (share.unsqueeze(-1) * product).flatten(1).to(x.dtype)
        return routing, None, F.linear(mixed, self.routing_down.view(d, n * s))

    def expert_pieces(self, i):
        gate, up, down = self.experts.pieces(i)
        return {"gate_proj": ([(self.routing_gate_up, (0, i)), gate], 0),
                "up_proj": ([(self.routing_gate_up, (1, i)), up], 0),
                "down_proj": ([(self.routing_down, (slice(None), i)), down], 1)}


class AoeMoe(MoeLayer):
    """Autonomy-of-Experts: a factorised gate; the norm of its low-rank activation is the expert's score."""

    def __init__(self, config, expert_mode):
        super().__init__(config, expert_mode)
        low, width = config.aoe_sizes()
        self.gate_down = stacked(config.num_experts, padded(low, expert_mode), config.hidden_size)
        self.experts = Experts(config.num_experts, config.hidden_size, width, gate_input=low, mode=expert_mode)

    def route(self, x):
        n, low, d = self.gate_down.shape
        travelling = F.linear(x, self.gate_down.view(n * low, d)).view(-1, n, low)
        with torch.autocast(x.device.type, enabled=False):
            routing = select(torch.linalg.vector_norm(full(travelling), dim=-1), self.config)
        return routing, travelling, None

    def expert_pieces(self, i):
        pieces = super().expert_pieces(i)
        pieces["gate_up_proj"] = pieces.pop("gate_proj")
        return {"gate_down_proj": ([(self.gate_down, (i, slice(self.experts.gate_input)))], 0), **pieces}


MOE_LAYERS = {"softmax": SoftmaxMoe, "uoe": UoeMoe, "aoe": AoeMoe}

"""The Artel model in PyTorch, written from its published definition and independent of the C++ code.

It reads the `model` block of an Artel YAML (as a dict), uses the checkpoint's tensor names, and leaves every
gradient to autograd. make_goldens.py and bench_vs_pytorch.py are built on it.

Shapes: B sequences, C their length, T = B*C tokens, d hidden_size, N experts, K experts per token,
D moe_intermediate_size, S routing neurons per expert, E = D - S, A = T*K rows given to experts,
r d_low and w expert_width of AoE.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from torch_moe import MOE_LAYERS, MoeLayer, SwiGLU, compute_dtype, full


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):  # [..., size]
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rope_tables(length, head_dim, theta, dtype, device):
    """cos and sin, each [length, head_dim]; angles in float64."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim)
    angles = torch.arange(length, dtype=torch.float64, device=device)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x, cos, sin):  # x [B, heads, C, head_dim]
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, self.head_dim = config.hidden_size, config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = nn.Linear(d, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, d, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x, cos, sin):  # x [B, C, d]
        split = (*x.shape[:2], -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(split)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(split)).transpose(1, 2)
        v = self.v_proj(x).view(split).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config, expert_mode):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.num_experts:
            self.mlp = MOE_LAYERS[config.routing.type](config, expert_mode)
        else:
            self.mlp = SwiGLU(config.hidden_size, config.intermediate_size)

    def forward(self, h, cos, sin):  # h [B, C, d]
        h = h + self.self_attn(self.input_layernorm(h), cos, sin)
        x = self.post_attention_layernorm(h)
        if not isinstance(self.mlp, MoeLayer):
            return h + self.mlp(x), None
        y, routing = self.mlp(x.flatten(0, 1))
        return h + y.view_as(x), routing


@dataclass
class Losses:
    """loss: mean cross-entropy. aux_loss, z_loss: means over layers, without coefficient. total: what is differentiated."""
    loss: torch.Tensor
    aux_loss: torch.Tensor
    z_loss: torch.Tensor
    total: torch.Tensor
    logits: torch.Tensor
    routings: list


class ArtelModel(nn.Module):
    def __init__(self, config, expert_mode="loop", seed=None):
        """`expert_mode`: "loop" (one expert after the other) or "grouped" (torch's grouped product)."""
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, expert_mode) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if not self.embed_tokens.weight.is_meta:
            initialise(self, config.initializer_range, seed)

    def forward(self, tokens):
        """tokens [B, C] -> logits [B, C, V], one Routing per MoE layer"""
        h = self.embed_tokens(tokens)
        cos, sin = rope_tables(tokens.shape[1], self.config.head_dim, self.config.rope_theta, compute_dtype(h), h.device)
        routings = []
        for layer in self.layers:
            h, routing = layer(h, cos, sin)
            if routing is not None:
                routings.append(routing)
        head = self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(self.norm(h), head), routings

    def losses(self, tokens, targets, step_tokens=None):
        """tokens, targets [B, C]. `step_tokens`: tokens of the whole optimizer step (default: of this call);
        the totals of its micro-batches then sum to the step's loss."""
        logits, routings = self(tokens)
        share = tokens.numel() / (step_tokens or tokens.numel())
        loss = F.cross_entropy(full(logits).flatten(0, 1), targets.flatten()) * share
        aux, z = loss.new_zeros(()), loss.new_zeros(())
        for routing in routings:
            aux = aux + balance_loss(routing, self.config, len(tokens)) * share / len(routings)
            z = z + routing.scores.logsumexp(dim=-1).square().mean() * share / len(routings)
        total = loss + self.config.router_aux_loss_coef * aux + self.config.router_z_loss_coef * z
        return Losses(loss, aux, z, total, logits, routings)


def balance_loss(routing, config, num_sequences):
    """N * sum_i f_i * mean_t p_ti with f counted over each sequence or over all tokens given. f has no gradient.
    In one process `global` is `micro`."""
    tokens, n = routing.probs.shape
    groups = num_sequences if config.router_aux_loss_scope == "sequence" else 1
    chosen = torch.zeros_like(routing.probs).scatter_(1, routing.expert_ids, 1.0).view(groups, -1, n)
    share = chosen.mean(dim=1) / config.num_experts_per_tok
    return n * (share * routing.probs.view(groups, -1, n).sum(dim=1)).sum() / tokens


# --- weights under their checkpoint names

def checkpoint_pieces(model):
    """Yields (checkpoint name, (pieces, dimension)) for every tensor; see MoeLayer.expert_pieces."""
    yield "model.embed_tokens.weight", ([(model.embed_tokens.weight, ...)], 0)
    for l, block in enumerate(model.layers):
        prefix = f"model.layers.{l}."
        for name, parameter in block.named_parameters():
            if not (name.startswith("mlp.") and isinstance(block.mlp, MoeLayer)):
                yield prefix + name, ([(parameter, ...)], 0)
        if isinstance(block.mlp, MoeLayer):
            for name, pieces in block.mlp.named_pieces():
                yield f"{prefix}mlp.{name}", pieces
    yield "model.norm.weight", ([(model.norm.weight, ...)], 0)
    if model.lm_head is not None:
        yield "lm_head.weight", ([(model.lm_head.weight, ...)], 0)


def named_tensors(model, of=lambda parameter: parameter.detach()):
    """Checkpoint name -> tensor. `of` picks what is shown, such as `lambda p: p.grad`."""
    return {name: torch.cat([of(parameter)[index] for parameter, index in pieces], dim=dim)
            for name, (pieces, dim) in checkpoint_pieces(model)}


@torch.no_grad()
def initialise(model, deviation, seed=None):
    """Matrices normal(0, deviation), norms 1."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for _, (pieces, _) in checkpoint_pieces(model):
        for parameter, index in pieces:
            if parameter.ndim > 1:
                parameter[index] = torch.randn(parameter[index].shape, generator=generator) * deviation


@torch.no_grad()
def load_named_tensors(model, tensors):
    """Fills the model; every tensor must be there with its shape, and none may be left over."""
    left = set(tensors)
    for name, (pieces, dim) in checkpoint_pieces(model):
        if name not in tensors:
            raise ValueError(f"[checkpoint] {name} is required and missing")
        left.discard(name)
        targets = [parameter[index] for parameter, index in pieces]
        shape = list(targets[0].shape)
        shape[dim] = sum(target.shape[dim] for target in targets)
        if list(tensors[name].shape) != shape:
            raise ValueError(f"[checkpoint] {name}: {shape} is required, found {list(tensors[name].shape)}")
        parts = tensors[name].split([target.shape[dim] for target in targets], dim=dim)
        for target, part in zip(targets, parts):
            target.copy_(part)
    if left:
        raise ValueError(f"[checkpoint] the model has no place for {', '.join(sorted(left)[:5])}")


# --- training

def make_adamw(parameters, settings, **how):
    """AdamW with decay on matrices and embeddings only. `settings` is the `optimizer:` block of a config."""
    parameters = list(parameters)
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": float(settings["weight_decay"])},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=float(settings["lr"]), betas=tuple(map(float, settings["betas"])),
                             eps=float(settings["eps"]), **how)


def train_step(model, optimizer, tokens, targets, grad_clip):
    """One whole step on one batch; returns its Losses and the gradient norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    losses = model.losses(tokens, targets)
    losses.total.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return losses, norm

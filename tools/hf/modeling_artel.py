"""Models that Artel trained, in plain PyTorch: dense, softmax top-K, Union-of-Experts, Autonomy-of-Experts.

For inference and for comparisons: experts run one after the other. Parameters have the names of the checkpoint.

Shapes: B sequences, Q new positions, L positions in all, T = B*Q tokens, d hidden_size, H and J query and key/value
heads of size h, N experts, K experts per token, D width of an expert, S routing neurons per expert, r d_low,
w expert_width.
"""
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

try:
    from .configuration_artel import ArtelConfig
except ImportError:  # the file used on its own
    from configuration_artel import ArtelConfig

KNOWN_ROUTING = ("softmax", "uoe", "aoe")


class ArtelRMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):  # [..., size]
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(dim=-1, keepdim=True) + self.eps)
        return (y * self.weight.float()).to(x.dtype)


def rope(positions, head_dim, theta):
    """positions [B, Q] -> cos, sin, each [B, 1, Q, h]; angles in float64."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64, device=positions.device) / head_dim
    angles = positions.to(torch.float64)[..., None] * theta ** -exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):  # x [B, heads, Q, h]
    left, right = x.float().chunk(2, dim=-1)
    return (x * cos + torch.cat([-right, left], dim=-1) * sin).to(x.dtype)


class ArtelAttention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        self.groups = config.num_attention_heads // config.num_key_value_heads
        d, queries, keys = config.hidden_size, config.num_attention_heads * config.head_dim, \
            config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(d, queries, bias=False)
        self.k_proj = nn.Linear(d, keys, bias=False)
        self.v_proj = nn.Linear(d, keys, bias=False)
        self.o_proj = nn.Linear(queries, d, bias=False)
        if config.qk_norm:
            self.q_norm = ArtelRMSNorm(config.head_dim, config.rms_norm_eps)
            self.k_norm = ArtelRMSNorm(config.head_dim, config.rms_norm_eps)
        else:
            self.q_norm = self.k_norm = nn.Identity()

    def forward(self, x, cos, sin, mask, cache):  # x [B, Q, d], mask [B, 1, Q, L] true where seen
        heads = (*x.shape[:2], -1, self.head_dim)
        q = rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        k, v = (y.repeat_interleave(self.groups, dim=1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class ArtelMLP(nn.Module):
    """SwiGLU."""

    def __init__(self, hidden, width):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class ArtelAoeExpert(nn.Module):
    """SwiGLU whose gate is factorised: gate_up_proj(gate_down_proj(x))."""

    def __init__(self, hidden, low, width):
        super().__init__()
        self.gate_down_proj = nn.Linear(hidden, low, bias=False)
        self.gate_up_proj = nn.Linear(low, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)


class ArtelMoE(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.kind = config.routing["type"]
        if self.kind not in KNOWN_ROUTING:
            raise ValueError(f"routing.type: one of {', '.join(KNOWN_ROUTING)} is required, found {self.kind}")
        d, n = config.hidden_size, config.num_experts
        if self.kind == "aoe":
            aoe = config.routing["aoe"]
            experts = (ArtelAoeExpert(d, aoe["d_low"], aoe["expert_width"]) for _ in range(n))
        else:
            experts = (ArtelMLP(d, config.moe_intermediate_size) for _ in range(n))
        self.experts = nn.ModuleList(experts)
        if self.kind == "softmax":
            self.gate = nn.Linear(d, n, bias=False)
        shared = 0 if self.kind == "uoe" else config.shared_expert_intermediate_size
        self.shared_expert = ArtelMLP(d, shared) if shared else None

    def select(self, scores):  # [T, N] fp32 -> ids and weights [T, K]; ties to the lower index
        probs = scores.softmax(dim=-1)
        ids = scores.sort(dim=-1, descending=True, stable=True).indices[:, : self.config.num_experts_per_tok]
        weights = probs.gather(1, ids)
        if self.config.norm_topk_prob:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return ids, weights * self.config.routed_scaling_factor

    def add_routed(self, y, ids, weights, expert_output):
        """y [T, d] fp32 += the weighted outputs; expert_output(expert, index, tokens, weights [A, 1]) -> [A, d]."""
        for index, expert in enumerate(self.experts):
            tokens, slots = (ids == index).nonzero(as_tuple=True)
            if tokens.numel():
                rows = expert_output(expert, index, tokens, weights[tokens, slots, None])
                y.index_add_(0, tokens, rows.float())

    def softmax(self, x, y):
        ids, weights = self.select(F.linear(x.float(), self.gate.weight.float()))

        def output(expert, _, tokens, weight):
            hidden = F.silu(expert.gate_proj(x[tokens])) * expert.up_proj(x[tokens])
            return expert.down_proj((hidden * weight).to(x.dtype))

        self.add_routed(y, ids, weights, output)

    def aoe(self, x, y):
        low = torch.stack([F.linear(x, expert.gate_down_proj.weight) for expert in self.experts], dim=1)  # [T, N, r]
        ids, weights = self.select(torch.linalg.vector_norm(low.float(), dim=-1))

        def output(expert, index, tokens, weight):
            hidden = F.silu(expert.gate_up_proj(low[tokens, index])) * expert.up_proj(x[tokens])
            return expert.down_proj((hidden * weight).to(x.dtype))

        self.add_routed(y, ids, weights, output)

    def bids(self, gate, activation, product):  # each [T, N, S] -> [T, N]
        uoe = self.config.routing["uoe"]
        node = {"gate": activation, "gate_preactivation": gate, "glu": product}[uoe["routing_signal"]]
        order = {"l2": 2, "l1": 1, "linf": float("inf")}[uoe["routing_norm"]]
        return torch.linalg.vector_norm(node, ord=order, dim=-1) * uoe["score_scale"]

    def uoe(self, x, y):
        uoe = self.config.routing["uoe"]
        s = uoe["routing_neurons"]
        gate = torch.stack([F.linear(x, e.gate_proj.weight[:s]) for e in self.experts], dim=1).float()  # [T, N, S]
        up = torch.stack([F.linear(x, e.up_proj.weight[:s]) for e in self.experts], dim=1).float()
        activation = F.silu(gate)
        product = activation * up
        ids, weights = self.select(self.bids(gate, activation, product))
        share = torch.full(product.shape[:2], float(uoe["virtual_shared_expert"]), device=x.device)
        if uoe["routed_includes_routing_neurons"]:
            share = share.scatter_add(1, ids, weights)
        down = torch.cat([e.down_proj.weight[:, :s] for e in self.experts], dim=1)  # [d, N * S]
        y += F.linear((share[..., None] * product).flatten(1).to(x.dtype), down).float()

        def output(expert, _, tokens, weight):
            hidden = F.silu(F.linear(x[tokens], expert.gate_proj.weight[s:])) * \
                F.linear(x[tokens], expert.up_proj.weight[s:])
            return F.linear((hidden * weight).to(x.dtype), expert.down_proj.weight[:, s:])

        self.add_routed(y, ids, weights, output)

    def forward(self, hidden):  # [B, Q, d]
        x = hidden.flatten(0, 1)
        y = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        getattr(self, self.kind)(x, y)
        if self.shared_expert is not None:
            y += self.shared_expert(x).float()
        return y.to(x.dtype).view_as(hidden)


class ArtelDecoderLayer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.input_layernorm = ArtelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = ArtelAttention(config, layer)
        self.post_attention_layernorm = ArtelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = ArtelMoE(config) if config.num_experts else ArtelMLP(config.hidden_size, config.intermediate_size)

    def forward(self, h, cos, sin, mask, cache):
        h = h + self.self_attn(self.input_layernorm(h), cos, sin, mask, cache)
        return h + self.mlp(self.post_attention_layernorm(h))


class ArtelPreTrainedModel(PreTrainedModel):
    config_class = ArtelConfig
    base_model_prefix = "model"
    _no_split_modules = ["ArtelDecoderLayer"]
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, ArtelRMSNorm):
            nn.init.ones_(module.weight)


class ArtelModel(ArtelPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(ArtelDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = ArtelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, use_cache=None, output_hidden_states=None, **_):
        """attention_mask [B, L]: 0 for padding; further arguments of generate() are not needed."""
        h = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        rows, new = h.shape[:2]
        places = torch.arange(past, past + new, device=h.device)
        mask = (torch.arange(past + new, device=h.device) <= places[:, None])[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, : past + new].bool()
            mask = mask | torch.eye(past + new, dtype=torch.bool, device=h.device)[past:]  # padding sees itself
            if position_ids is None:
                position_ids = (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)[:, past : past + new]
        elif position_ids is None:
            position_ids = places.expand(rows, new)
        cos, sin = rope(position_ids, self.config.head_dim, self.config.rope_theta)
        states = (h,)
        for layer in self.layers:
            h = layer(h, cos, sin, mask, past_key_values)
            states += (h,)
        h = self.norm(h)
        return BaseModelOutputWithPast(last_hidden_state=h, past_key_values=past_key_values if use_cache else None,
                                       hidden_states=states[:-1] + (h,) if output_hidden_states else None)


TIED_FROM_5 = int(transformers.__version__.split(".")[0]) >= 5


class ArtelForCausalLM(ArtelPreTrainedModel, GenerationMixin):
    # Which weight is which other one: a mapping from version 5 on, a list before.
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"} if TIED_FROM_5 else ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = ArtelModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_hidden_states=None, logits_to_keep=0, **_):
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
                         output_hidden_states=output_hidden_states)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept]).float()
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=out.past_key_values,
                                      hidden_states=out.hidden_states)

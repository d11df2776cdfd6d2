"""The `model` block of an Artel config as dataclasses: keys, defaults, and the sizes that `auto` stands for."""
from dataclasses import dataclass, field, fields

ROUTINGS = ("softmax", "uoe", "aoe")


def read_block(cls, block, where):
    """Builds the dataclass `cls` from a dict, refusing unknown keys and converting to the field's type."""
    known = {f.name: f for f in fields(cls)}
    for key in block:
        if key not in known:
            raise ValueError(f"[{where}] unknown key {key}; known: {', '.join(known)}")
    values = {}
    for key, value in block.items():
        kind = known[key].type
        if kind in (int, float) and value is not None and not isinstance(value, bool):
            value = kind(value)
        values[key] = value
    return cls(**values)


@dataclass
class UoeConfig:
    routing_neurons: object = "auto"
    routing_signal: str = "gate"
    routing_norm: str = "l2"
    routed_includes_routing_neurons: bool = True
    virtual_shared_expert: bool = True
    score_scale: float = 1.0


@dataclass
class AoeConfig:
    d_low: object = "auto"
    expert_width: object = "auto"


@dataclass
class RoutingConfig:
    type: str = "uoe"
    uoe: UoeConfig = field(default_factory=UoeConfig)
    aoe: AoeConfig = field(default_factory=AoeConfig)


@dataclass
class ModelConfig:
    vocab_size: int = 256
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = None
    head_dim: int = None
    max_position_embeddings: int = 256
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    qk_norm: bool = False
    num_experts: int = 16
    num_experts_per_tok: int = 2
    moe_intermediate_size: int = 256
    shared_expert_intermediate_size: int = 256
    intermediate_size: int = None
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    router_aux_loss_coef: float = 0.01
    router_aux_loss_scope: str = "micro"
    router_z_loss_coef: float = 0.0
    routing: RoutingConfig = field(default_factory=RoutingConfig)

    @classmethod
    def from_dict(cls, model):
        """`model` is the `model:` block of a config. Routing blocks of other methods are allowed and ignored."""
        model = dict(model)
        routing = dict(model.pop("routing", {}))
        parsed = RoutingConfig(type=routing.pop("type", "uoe"))
        if "uoe" in routing:
            parsed.uoe = read_block(UoeConfig, routing.pop("uoe"), "model.routing.uoe")
        if "aoe" in routing:
            parsed.aoe = read_block(AoeConfig, routing.pop("aoe"), "model.routing.aoe")
        config = read_block(cls, model, "model")
        config.routing = parsed
        if config.num_key_value_heads is None:
            config.num_key_value_heads = config.num_attention_heads
        if config.head_dim is None:
            config.head_dim = config.hidden_size // config.num_attention_heads
        config.check()
        return config

    def check(self):
        if self.num_experts == 0:
            if not self.intermediate_size:
                raise ValueError("[model] num_experts: 0 needs intermediate_size")
            return
        if self.routing.type not in ROUTINGS:
            raise ValueError(f"[model.routing] type must be one of {', '.join(ROUTINGS)}, found {self.routing.type}")
        if self.num_experts_per_tok == 1 and self.norm_topk_prob:
            raise ValueError("[model] num_experts_per_tok: 1 with norm_topk_prob gives the router no gradient")
        if self.router_aux_loss_scope not in ("sequence", "micro", "global"):
            raise ValueError("[model] router_aux_loss_scope must be sequence, micro or global")

    def routing_neurons(self):
        """S: what makes N*S + K*(D - S) = K*D + D_shared, rounded to nearest, ties up; or the given number."""
        neurons = self.routing.uoe.routing_neurons
        if neurons == "auto":
            spare = self.num_experts - self.num_experts_per_tok
            if spare == 0 or self.shared_expert_intermediate_size == 0:
                raise ValueError("[model.routing.uoe] routing_neurons: auto needs N > K and a shared width > 0")
            neurons = (2 * self.shared_expert_intermediate_size + spare) // (2 * spare)
        if not 1 <= int(neurons) < self.moe_intermediate_size:
            raise ValueError(f"[model.routing.uoe] routing_neurons must be in 1..D-1, found {neurons}")
        return int(neurons)

    def aoe_sizes(self):
        """(r, w): r = d/3 rounded to nearest; w keeps the parameters of an expert of three [d, D] matrices."""
        d, width = self.hidden_size, self.moe_intermediate_size
        low, wide = self.routing.aoe.d_low, self.routing.aoe.expert_width
        low = (2 * d + 3) // 6 if low == "auto" else int(low)
        if wide == "auto":
            above, below = 3 * d * width - low * d, low + 2 * d
            wide = (2 * above + below) // (2 * below)
        return low, int(wide)

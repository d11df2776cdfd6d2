"""Configuration of models that Artel trained; keys and meanings are those of the `model` block of its YAML files."""
from transformers import PretrainedConfig

ROUTING = {
    "type": "softmax",
    "uoe": {"routing_neurons": "auto", "routing_signal": "gate", "routing_norm": "l2",
            "routed_includes_routing_neurons": True, "virtual_shared_expert": True, "score_scale": 1.0},
    "aoe": {"d_low": "auto", "expert_width": "auto"},
}


class ArtelConfig(PretrainedConfig):
    model_type = "artel"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=256, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                 num_key_value_heads=4, head_dim=None, max_position_embeddings=256, rope_theta=10000.0,
                 rms_norm_eps=1e-5, initializer_range=0.02, qk_norm=False, intermediate_size=0, num_experts=16,
                 num_experts_per_tok=2, moe_intermediate_size=256, shared_expert_intermediate_size=0,
                 norm_topk_prob=True, routed_scaling_factor=1.0, router_aux_loss_coef=0.01,
                 router_aux_loss_scope="micro", router_z_loss_coef=0.0, routing=None, use_cache=True,
                 tie_word_embeddings=False, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta = rope_theta
        self.rms_norm_eps = rms_norm_eps
        self.initializer_range = initializer_range
        self.qk_norm = qk_norm
        self.intermediate_size = intermediate_size
        self.num_experts = num_experts
        self.num_experts_per_tok = num_experts_per_tok
        self.moe_intermediate_size = moe_intermediate_size
        self.shared_expert_intermediate_size = shared_expert_intermediate_size
        self.norm_topk_prob = norm_topk_prob
        self.routed_scaling_factor = routed_scaling_factor
        self.router_aux_loss_coef = router_aux_loss_coef
        self.router_aux_loss_scope = router_aux_loss_scope
        self.router_z_loss_coef = router_z_loss_coef
        given = routing or {}
        self.routing = {"type": given.get("type", ROUTING["type"]),
                        "uoe": {**ROUTING["uoe"], **given.get("uoe", {})},
                        "aoe": {**ROUTING["aoe"], **given.get("aoe", {})}}
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

"""Writes tests/golden: small models with logits, loss and every gradient, ten AdamW steps, ten training steps.

Everything is computed in float64 from float32 inputs and rounded once. See README.md for the layout of the files.

    python3 tools/make_goldens.py            write tests/golden
    python3 tools/make_goldens.py --check    compare the committed files with a fresh computation
"""
import argparse
import copy
import json
import math
from pathlib import Path
import sys

import torch

import safetensors_io
from model_config import ModelConfig
from torch_model import ArtelModel, load_named_tensors, make_adamw, named_tensors, train_step
from uoe_closed_form import check_closed_form

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
BATCH, LENGTH = 2, 16
MIN_MARGIN = 4e-3  # between the last chosen and the first refused score: far above fp32 rounding
ADAMW = {"lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0}

SIZES = {"vocab_size": 48, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 8, "max_position_embeddings": LENGTH, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
         "tie_word_embeddings": False, "qk_norm": False}
MOE = {**SIZES, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
       "shared_expert_intermediate_size": 10, "norm_topk_prob": True, "routed_scaling_factor": 1.0,
       "router_aux_loss_coef": 0.01, "router_aux_loss_scope": "micro", "router_z_loss_coef": 0.0}
UOE = {"routing_neurons": "auto", "routing_signal": "gate", "routing_norm": "l2",
       "routed_includes_routing_neurons": True, "virtual_shared_expert": True, "score_scale": 1.0}

CASES = {
    "softmax_shared": {**MOE, "routing": {"type": "softmax"}},
    "softmax_no_shared_no_norm": {
        **MOE, "shared_expert_intermediate_size": 0, "norm_topk_prob": False, "router_aux_loss_scope": "sequence",
        "router_z_loss_coef": 0.001, "qk_norm": True, "routing": {"type": "softmax"}},
    "uoe_default": {**MOE, "routing": {"type": "uoe", "uoe": UOE}},
    "uoe_glu_l1_scaled": {
        **MOE, "routed_scaling_factor": 1.25, "router_aux_loss_scope": "sequence", "routing": {"type": "uoe", "uoe": {
            **UOE, "routing_neurons": 4, "routing_signal": "glu", "routing_norm": "l1", "score_scale": 0.5,
            "routed_includes_routing_neurons": False}}},
    "uoe_no_norm": {
        **MOE, "norm_topk_prob": False, "router_z_loss_coef": 0.001, "routing": {"type": "uoe", "uoe": {
            **UOE, "routing_neurons": 5, "routing_signal": "gate_preactivation", "routing_norm": "linf",
            "virtual_shared_expert": False}}},
    "aoe_norm": {**MOE, "rope_theta": 500.0, "routing": {"type": "aoe", "aoe": {"d_low": 9, "expert_width": 15}}},
    "aoe_no_norm": {
        **MOE, "norm_topk_prob": False, "shared_expert_intermediate_size": 0, "router_aux_loss_scope": "sequence",
        "routing": {"type": "aoe", "aoe": {"d_low": "auto", "expert_width": "auto"}}},
    "dense_qknorm_tied": {**SIZES, "num_key_value_heads": 1, "num_experts": 0, "intermediate_size": 40,
                          "qk_norm": True, "tie_word_embeddings": True},
}


def draw(config, seed):
    """A float64 model whose weights are exact in float32, and tokens and targets [B, C]."""
    generator = torch.Generator().manual_seed(seed)
    model = ArtelModel(config).double()
    weights = {}
    for name, tensor in named_tensors(model).items():
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        weight = 1.0 + 0.2 * noise if tensor.ndim == 1 else noise * (0.5 if "embed" in name else 0.3)
        weights[name] = weight.float().double()
    load_named_tensors(model, weights)
    stream = torch.randint(config.vocab_size, (BATCH, LENGTH + 1), generator=generator)
    return model, stream[:, :-1], stream[:, 1:]


def margin(losses, config):
    """The smallest gap between a chosen and a refused score over layers and tokens."""
    gaps = [math.inf]
    for routing in losses.routings:
        ordered = routing.scores.detach().sort(dim=-1, descending=True).values
        gaps.append((ordered[:, config.num_experts_per_tok - 1] - ordered[:, config.num_experts_per_tok]).min().item())
    return min(gaps)


def evaluate(model, tokens, targets):
    """-> name -> float64 tensor of everything that depends on the weights, and the Losses"""
    model.zero_grad(set_to_none=True)
    losses = model.losses(tokens, targets)
    losses.total.backward()
    out = {"logits": losses.logits.detach(), "loss": losses.loss.detach().view(1),
           "aux_loss": losses.aux_loss.detach().view(1), "z_loss": losses.z_loss.detach().view(1)}
    for layer, routing in enumerate(losses.routings):
        out[f"routing.{layer}.scores"] = routing.scores.detach()
        out[f"routing.{layer}.weights"] = routing.weights.detach()
        out[f"routing.{layer}.expert_ids"] = routing.expert_ids
    for name, grad in named_tensors(model, lambda p: torch.zeros_like(p) if p.grad is None else p.grad).items():
        out[f"grads.{name}"] = grad.clone()
    return out, losses


def stored(tensor):
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int32)


def deviation(found, required):
    """The largest difference of any tensor, relative to that tensor's largest value."""
    worst = 0.0
    for name, value in required.items():
        if not value.is_floating_point():
            assert torch.equal(found[name].long(), value.long()), f"{name} differs"
            continue
        assert not found[name].isnan().any(), f"{name} has NaN"
        scale = max(value.abs().max().item(), 1e-30)
        worst = max(worst, (found[name].double() - value.double()).abs().max().item() / scale)
    return worst


def model_golden(name, model_keys):
    """-> tensors to store, the float64 model, tokens, targets; the first seed whose routing is decisive is taken"""
    config = ModelConfig.from_dict(model_keys)
    for seed in range(1000):
        model, tokens, targets = draw(config, seed)
        values, losses = evaluate(model, tokens, targets)
        if margin(losses, config) >= MIN_MARGIN:
            break
    else:
        raise RuntimeError(f"{name}: no seed gives a margin of {MIN_MARGIN}")
    weights = {f"weights.{key}": value for key, value in named_tensors(model).items()}
    silent = [key for key, value in values.items() if key.startswith("grads.") and value.abs().max() < 1e-7]
    if silent:
        raise RuntimeError(f"{name}: no gradient in {silent}")
    report = [f"seed {seed}", f"margin {margin(losses, config):.1e}", f"loss {losses.loss.item():.6f}"]
    for mode in ("loop", "grouped"):
        single = ArtelModel(config, mode)
        load_named_tensors(single, {key: value.float() for key, value in named_tensors(model).items()})
        report.append(f"fp32 {mode} {deviation(evaluate(single, tokens, targets)[0], values):.1e}")
    print(f"{name}: {', '.join(report)}")
    tensors = {"tokens": tokens, "targets": targets, **values, **weights}
    return {key: stored(value) for key, value in tensors.items()}, model, tokens, targets


def ten_training_steps(model, tokens, targets):
    """Ten steps on one batch from the weights of `model`; losses, auxiliary losses, gradient norms before clipping."""
    optimizer = make_adamw(model.parameters(), ADAMW)
    rows = {"loss": [], "aux_loss": [], "grad_norm": []}
    for _ in range(10):
        losses, norm = train_step(model, optimizer, tokens, targets, ADAMW["grad_clip"])
        for key, value in zip(rows, (losses.loss, losses.aux_loss, norm)):
            rows[key].append(value.item())
    return rows


def training_golden(model, tokens, targets):
    rows = ten_training_steps(copy.deepcopy(model), tokens, targets)
    single = ten_training_steps(copy.deepcopy(model).float(), tokens, targets)
    worst = max(abs(a - b) for key in rows for a, b in zip(rows[key], single[key]))
    print(f"train10_uoe: loss {rows['loss'][0]:.4f} -> {rows['loss'][-1]:.4f}, fp32 differs by {worst:.1e}")
    return {"start": "uoe_default", "optimizer": ADAMW, "schedule": "constant", "decay": "parameters of 2 dimensions",
            "float32_deviation": worst, **rows}


def adamw_golden():
    """Ten steps of torch.optim.AdamW on given gradients, computed in float64 and, apart, in float32."""
    generator = torch.Generator().manual_seed(7)
    shapes = {"matrix": (5, 7), "tall": (11, 3), "vector": (13,)}
    learning_rates = [1e-2 * min(1.0, step / 3) * (0.55 + 0.45 * math.cos(math.pi * step / 10)) for step in range(1, 11)]
    scales = [0.05, 2.0, 0.1, 0.5, 1e-3, 3.0, 0.08, 0.0, 0.02, 1.0]  # some steps are clipped, one has no gradient
    tensors = {"learning_rates": torch.tensor(learning_rates)}
    for name, shape in shapes.items():
        tensors[f"{name}.initial"] = torch.randn(shape, generator=generator)
        noise = torch.randn(10, *shape, generator=generator)
        tensors[f"{name}.gradients"] = noise * torch.tensor(scales).view(-1, *[1] * len(shape))
    for dtype, suffix in ((torch.float64, ""), (torch.float32, "_float32")):
        parameters = {name: tensors[f"{name}.initial"].to(dtype, copy=True).requires_grad_() for name in shapes}
        optimizer = make_adamw(parameters.values(), ADAMW, foreach=False)
        after, norms = {name: [] for name in shapes}, []
        for step in range(10):
            for group in optimizer.param_groups:
                group["lr"] = tensors["learning_rates"][step].item()
            for name, parameter in parameters.items():
                parameter.grad = tensors[f"{name}.gradients"][step].to(dtype, copy=True)
            norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), ADAMW["grad_clip"]))
            optimizer.step()
            for name, parameter in parameters.items():
                after[name].append(parameter.detach().clone())
        tensors[f"gradient_norms{suffix}"] = torch.stack(norms)
        tensors.update({f"{name}.after{suffix}": torch.stack(values) for name, values in after.items()})
    worst = max((tensors[f"{n}.after"] - tensors[f"{n}.after_float32"]).abs().max().item() for n in shapes)
    print(f"adamw: fp32 differs by {worst:.1e}, norms {tensors['gradient_norms'].min():.2g}..{tensors['gradient_norms'].max():.2g}")
    return {key: stored(value) for key, value in tensors.items()}


def build():
    """-> file name -> tensors (safetensors) or dict (json)"""
    files = {}
    for name, model_keys in CASES.items():
        tensors, model, tokens, targets = model_golden(name, model_keys)
        files[f"{name}.safetensors"] = tensors
        files[f"{name}.json"] = {"model": model_keys}
        if name == "uoe_default":
            files["train10_uoe.json"] = training_golden(model, tokens, targets)
    files["adamw.safetensors"] = adamw_golden()
    files["adamw.json"] = {**{key: value for key, value in ADAMW.items() if key != "lr"}, "decay": ["matrix", "tall"]}
    return files


def check(files):
    """Exits with an error unless every committed file holds what `build` computes, to float32 rounding."""
    for name, required in files.items():
        path = GOLDEN / name
        if name.endswith(".json"):
            found = json.loads(path.read_text())
            same = all(found.get(key) == value or key == "float32_deviation" or isinstance(value, list) and
                       all(abs(a - b) <= 1e-9 * abs(b) for a, b in zip(found[key], value)) for key, value in required.items())
            if not same:
                sys.exit(f"{path} differs")
            continue
        found = safetensors_io.load(path)
        if found.keys() != required.keys() or not deviation(found, required) < 1e-6:
            sys.exit(f"{path} differs")
    print(f"{len(files)} files agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    check_closed_form()
    files = build()
    if arguments.check:
        return check(files)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name.endswith(".json"):
            (GOLDEN / name).write_text(json.dumps(content, indent=1) + "\n")
        else:
            safetensors_io.save(GOLDEN / name, content)
    print(f"{sum(path.stat().st_size for path in GOLDEN.iterdir())} bytes in {GOLDEN.name}")


if __name__ == "__main__":
    main()

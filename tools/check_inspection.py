#!/usr/bin/env python3
"""Computes the figures of `artel inspect routing --json` in PyTorch, in float64, and compares.

    python3 tools/check_inspection.py INSPECT.json --batches N --dense-tokens N

--batches and --dense-tokens are those that the JSON was made with; checkpoint and texts are those that it names. What is
compared: losses with and without the shared expert, loads, entropies, margins, pairs, rank correlations, strongest
experts, norms of the shared part. Loads may differ by choices that fp32 decides otherwise.
"""
import argparse
import copy
import json
import math
from pathlib import Path
import sys

import torch
import torch.nn.functional as F

from checkpoint_loss import read_checkpoint, read_tokens
from model_config import ModelConfig
from run_config import DEFAULTS, merge
from torch_model import ArtelModel, load_named_tensors


def load(manifest, tensors, **uoe):
    config = merge(DEFAULTS, manifest["config"])
    model_config = copy.deepcopy(config["model"])
    model_config["routing"]["uoe"].update(uoe)
    model = ArtelModel(ModelConfig.from_dict(model_config)).double()
    load_named_tensors(model, {name: tensor.double() for name, tensor in tensors.items()})
    return config, model


def without_shared(manifest, tensors):
    uoe = manifest["config"]["model"]["routing"]["type"] == "uoe"
    if uoe:
        return load(manifest, tensors, virtual_shared_expert=False)[1]
    tensors = {name: torch.zeros_like(t) if ".shared_expert.down_proj" in name else t for name, t in tensors.items()}
    return load(manifest, tensors)[1]


def dense(tensors, prefix, count, x, bidding):
    """Norms [T, N] by target, and what every token gets [T, d], from the checkpoint's tensors."""
    matrix = lambda name: tensors[prefix + name + ".weight"].double()
    norms = {"gate_activation": [], "activation": [], "output": [], "gate_activation_of_the_rest": []}
    shared = torch.zeros_like(x)
    for i in range(count):
        name = f"experts.{i}."
        if prefix + name + "gate_down_proj.weight" in tensors:
            gate = F.silu(x @ matrix(name + "gate_down_proj").T @ matrix(name + "gate_up_proj").T)
        else:
            gate = F.silu(x @ matrix(name + "gate_proj").T)
        hidden = gate * (x @ matrix(name + "up_proj").T)
        down = matrix(name + "down_proj")
        for target, value in zip(norms, (gate, hidden, hidden @ down.T, gate[:, bidding:])):
            norms[target].append(value.norm(dim=-1))
        shared += hidden[:, :bidding] @ down[:, :bidding].T
    if prefix + "shared_expert.down_proj.weight" in tensors:
        hidden = F.silu(x @ matrix("shared_expert.gate_proj").T) * (x @ matrix("shared_expert.up_proj").T)
        shared = hidden @ matrix("shared_expert.down_proj").T
    return {target: torch.stack(values, dim=1) for target, values in norms.items()}, shared


def rank_correlation(a, b):
    """Mean over rows of Spearman's correlation, for rows without ties."""
    ranks = [v.argsort(dim=1).argsort(dim=1).double() for v in (a, b)]
    centred = [r - r.mean(dim=1, keepdim=True) for r in ranks]
    return ((centred[0] * centred[1]).sum(dim=1) / centred[0].square().sum(dim=1)).mean().item()


class Sums:
    """What is added up over the texts for one layer."""

    def __init__(self, experts):
        self.load = torch.zeros(experts)
        self.pairs = torch.zeros(experts, experts)
        self.entropy = self.margin = 0.0
        self.tokens = 0
        self.sample = []  # per text: x, probs, ids, y

    def add(self, routing):
        chosen = torch.zeros_like(routing.probs).scatter(1, routing.expert_ids, 1.0)
        self.load += chosen.sum(dim=0)
        self.pairs += (chosen.T @ chosen)
        self.entropy -= torch.special.xlogy(routing.probs, routing.probs).sum().item()
        best = routing.probs.sort(dim=1, descending=True).values
        count = routing.expert_ids.shape[1]
        self.margin += (best[:, count - 1] - best[:, count]).sum().item()
        self.tokens += len(routing.probs)


@torch.no_grad()
def compute(found, batches, dense_tokens):
    manifest, tensors = read_checkpoint(found["checkpoint"])
    config, model = load(manifest, tensors)
    reduced = without_shared(manifest, tensors)
    sums = [Sums(found["experts"]) for _ in model.layers]
    seen = {}
    for layer, block in enumerate(model.layers):
        block.mlp.register_forward_hook(
            lambda _, inputs, output, layer=layer: seen.__setitem__(layer, (inputs[0], output[0], output[1])))
    window, size = model.config.max_position_embeddings + 1, config["train"]["micro_batch_size"]
    per_text = math.ceil(dense_tokens / len(found["sets"]))
    losses = []
    for text in found["sets"]:
        tokens = read_tokens(text["path"], model.config.vocab_size)
        count = len(tokens) // window
        count = min(count, batches * size) if batches else count
        windows = tokens[: count * window].view(count, window)
        total = other = 0.0
        for index, part in enumerate(windows.split(size)):
            total += model.losses(part[:, :-1], part[:, 1:]).loss.item() * len(part)
            for layer, (x, y, routing) in seen.items():
                sums[layer].add(routing)
                if index == 0:
                    take = min(per_text, len(x))
                    rows = torch.arange(take) * len(x) // take
                    sums[layer].sample.append((x[rows], routing.probs[rows], routing.expert_ids[rows], y[rows]))
            other += reduced.losses(part[:, :-1], part[:, 1:]).loss.item() * len(part)
        losses.append((total / count, other / count))
    return model, tensors, sums, losses


def differences(found, model, tensors, sums, losses):
    """Yields (name, found, expected, tolerance)."""
    for text, (loss, other) in zip(found["sets"], losses):
        yield f"{text['name']} loss", text["loss"], loss, 2e-5
        if text["loss_without_shared_expert"] is not None:
            yield f"{text['name']} loss without", text["loss_without_shared_expert"], other, 1e-4
    uoe = model.config.routing.type == "uoe"
    bidding = model.config.routing_neurons() if uoe else 0
    for index, (layer, total) in enumerate(zip(found["layers"], sums)):
        name = f"layer {index} "
        few = 3e-4 * total.tokens  # choices that the last digits decide
        yield name + "load", 0.0, (torch.tensor(layer["load"]) - total.load).abs().max().item(), few
        yield name + "pairs", 0.0, (torch.tensor(layer["coactivation"]) - total.pairs).abs().max().item(), few
        yield name + "choice entropy", layer["choice_entropy"], total.entropy / total.tokens / math.log(found["experts"]), 1e-5
        yield name + "margin", layer["margin"], total.margin / total.tokens, 1e-5
        x, probs, ids, y = (torch.cat(parts) for parts in zip(*total.sample))
        norms, shared = dense(tensors, f"model.layers.{index}.mlp.", found["experts"], x, bidding)
        for target, agreement in layer["scores_against"].items():
            values = norms[target]
            yield name + target, agreement["rank_correlation"], rank_correlation(probs, values), 2e-4
            strongest = values.topk(ids.shape[1], dim=1).indices
            share = (ids.unsqueeze(2) == strongest.unsqueeze(1)).any(dim=2).double().mean().item()
            yield name + target + " strongest", agreement["chosen_among_strongest"], share, 1e-3
        part = layer["shared_expert"]
        if part["kind"] != "none":
            yield name + "shared norm", part["norm"], shared.norm(dim=1).mean().item(), 1e-4 * part["norm"]
            yield name + "other norm", part["other_norm"], (y - shared).norm(dim=1).mean().item(), 1e-3 * part["norm"]
        yield name + "output norm", part["output_norm"], y.norm(dim=1).mean().item(), 1e-3 * part["output_norm"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--dense-tokens", type=int, default=2048)
    options = parser.parse_args()
    found = json.loads(options.json.read_text())
    num_wrong = num_values = 0
    for name, value, expected, tolerance in differences(found, *compute(found, options.batches, options.dense_tokens)):
        wrong = not abs(value - expected) <= tolerance
        num_wrong += wrong
        num_values += 1
        print(f"{'WRONG' if wrong else 'ok':6}{name:45}{value:14.6f}{expected:14.6f}")
    print(f"{num_values} values, {num_wrong} wrong")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Reads an Artel YAML (with `extends`) far enough for the tools here. Artel itself checks every key."""
from pathlib import Path

import yaml

DEFAULTS = {
    "model": {},
    "data": {"train": [], "validation": []},
    "optimizer": {"type": "adamw", "lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0},
    "train": {"micro_batch_size": 16, "precision": "auto", "threads": "auto"},
    "validation": {"batches": 16},
}


def merge(below, above):
    """`above` wins; mappings are merged key by key, everything else is replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merge(below.get(key), value) for key, value in above.items()}}


def read_yaml(path):
    path = Path(path)
    own = yaml.safe_load(path.read_text()) or {}
    base = own.pop("extends", None)
    return own if base is None else merge(read_yaml(path.parent / base), own)


def load_config(path):
    return merge(DEFAULTS, read_yaml(path))


def native_bf16():
    """Whether this processor multiplies bf16 itself."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return bool(flags & {"avx512_bf16", "amx_bf16"})

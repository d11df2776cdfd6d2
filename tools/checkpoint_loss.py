"""Loads an Artel checkpoint into the PyTorch model and computes its loss on a token file.

A reader of its own of the checkpoint (manifest.json + safetensors slices) and of token files, so that `artel eval` can
be compared with something that shares no code with it.
"""
import json
import math
import mmap
from pathlib import Path
import struct

import torch

from model_config import ModelConfig
from run_config import DEFAULTS, merge
import safetensors_io
from torch_model import ArtelModel, load_named_tensors

LLM_C_TYPES = {20240520: torch.uint16, 20240801: torch.uint32}
TOKEN_TYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32}


def read_checkpoint(folder):
    """-> manifest, model tensors (name -> whole tensor). Slices must cover each tensor exactly once."""
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest.get("format") != "artel-checkpoint" or manifest.get("version") != 1:
        raise ValueError(f"{folder}: artel-checkpoint version 1 is required, found "
                         f"{manifest.get('format')} version {manifest.get('version')}")
    files, tensors = {}, {}
    for name, entry in manifest["tensors"].items():
        if not name.startswith(("model.", "lm_head.")):
            continue
        whole = torch.empty(entry["shape"], dtype=safetensors_io.DTYPES[entry["dtype"]])
        covered = torch.zeros(entry["shape"], dtype=torch.uint8)
        for part in entry["slices"]:
            if part["file"] not in files:
                files[part["file"]] = safetensors_io.load(folder / part["file"])
            place = tuple(slice(begin, end) for begin, end in zip(part["begin"], part["end"]))
            whole[place] = files[part["file"]][part["key"]].view(whole[place].shape)
            covered[place] += 1
        if not bool((covered == 1).all()):
            raise ValueError(f"{folder}: the slices of {name} do not cover it exactly once")
        tensors[name] = whole
    return manifest, tensors


def read_tokens(path, vocab_size, dtype="auto"):
    """-> int64 [count]. llm.c headers are recognised; otherwise the type follows the vocabulary."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic = struct.unpack_from("<i", data)[0] if len(data) >= 1024 else None
        if dtype != "auto":
            kind, begin = TOKEN_TYPES[dtype], 0
        elif magic in LLM_C_TYPES:
            kind, begin = LLM_C_TYPES[magic], 1024
        else:
            begin = 0
            kind = torch.uint8 if vocab_size <= 256 else torch.uint16 if vocab_size <= 65536 else torch.uint32
        tokens = torch.frombuffer(bytearray(data[begin:]), dtype=kind).to(torch.int64)
    if tokens.numel() and int(tokens.max()) >= vocab_size:
        raise ValueError(f"{path}: ids below {vocab_size} are required, found {int(tokens.max())}")
    return tokens


@torch.no_grad()
def checkpoint_loss(folder, data=None, batches=None):
    """Mean loss in nats over non-overlapping windows from the start of the file -> {loss, perplexity, tokens}.

    Windows hold max_position_embeddings + 1 tokens; a batch is micro_batch_size of them. Computed in fp32.
    """
    manifest, tensors = read_checkpoint(folder)
    config = merge(DEFAULTS, manifest["config"])
    model_config = ModelConfig.from_dict(config["model"])
    model = ArtelModel(model_config)
    load_named_tensors(model, tensors)
    kind = "auto"
    if data is None:
        source = config["data"]["validation"][0]
        data, kind = source["path"], source.get("dtype", "auto")
    tokens = read_tokens(data, model_config.vocab_size, kind)
    batches = int(config["validation"]["batches"]) if batches is None else batches
    window, batch = model_config.max_position_embeddings + 1, int(config["train"]["micro_batch_size"])
    count = tokens.numel() // window
    if batches:
        count = min(count, batches * batch)
    if count == 0:
        raise ValueError(f"{data}: {window} tokens are required, found {tokens.numel()}")
    windows = tokens[: count * window].view(count, window)
    total = sum(model.losses(part[:, :-1], part[:, 1:]).loss.double().item() * len(part) for part in windows.split(batch))
    return {"loss": total / count, "perplexity": math.exp(total / count), "tokens": count * (window - 1)}

#!/usr/bin/env python3
"""Trains small models with Artel, exports them, loads them with transformers and compares (docs/huggingface.md):

- logits in fp32, of `artel eval --logits` and of the loaded model, to 1e-4;
- text at temperature 0, of `artel generate` and of generate() with its key/value cache;
- ids of the exported tokenizer, and texts that come back from them;
- an import of the export, exported again: the same bytes;
- upcycled models: logits of the dense model where `artel import` says so;
- the modelling code against the independent goldens of tests/golden, with and without its cache.

Requires PyTorch and transformers 4.46 or later (`pip install torch transformers`); nothing is downloaded.
Prints a line per case and exits with 1 if one fails.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import safetensors_io
from model_config import ModelConfig

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4
LENGTH = 32
MOE = "num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 40"
UOE = f"{MOE}, shared_expert_intermediate_size: 24"
CASES = {  # name: (keys of the model, layout that auto chooses)
    "mixtral": (MOE, "mixtral"),
    "mixtral_tied": (f"{MOE}, tie_word_embeddings: true", "mixtral"),
    "qwen3_moe": (f"{MOE}, qk_norm: true", "qwen3_moe"),
    "qwen3_moe_no_norm": (f"{MOE}, qk_norm: true, norm_topk_prob: false", "qwen3_moe"),
    "qwen2_moe": (f"{MOE}, shared_expert_intermediate_size: 24", "qwen2_moe"),
    "llama": ("num_experts: 0, intermediate_size: 96", "llama"),
    "qwen3": ("num_experts: 0, intermediate_size: 96, qk_norm: true, tie_word_embeddings: true, head_dim: 24", "qwen3"),
    "softmax_shared_qk_norm": (f"{MOE}, shared_expert_intermediate_size: 24, qk_norm: true", "artel"),
    "softmax_scaled": (f"{MOE}, norm_topk_prob: false, routed_scaling_factor: 2.5", "artel"),
    "uoe": (f"{UOE}, routing: {{type: uoe}}", "artel"),
    "uoe_glu_l1": (f"{UOE}, norm_topk_prob: false, routing: {{type: uoe, uoe: {{routing_signal: glu, "
                   "routing_norm: l1, score_scale: 0.5, routed_includes_routing_neurons: false}}", "artel"),
    "uoe_pre_linf": (f"{UOE}, qk_norm: true, routing: {{type: uoe, uoe: {{routing_signal: gate_preactivation, "
                     "routing_norm: linf, virtual_shared_expert: false}}", "artel"),
    "aoe": (f"{MOE}, routing: {{type: aoe}}", "artel"),
    "aoe_shared": (f"{MOE}, shared_expert_intermediate_size: 24, norm_topk_prob: false, routing: {{type: aoe}}",
                   "artel"),
}
# Dense model, keys of the target, whether logits stay.
UPCYCLES = {
    "copies": ("llama", ["model.num_experts=4", "model.moe_intermediate_size=96"], True),
    "slices": ("llama", ["model.num_experts=8", "model.moe_intermediate_size=48", "model.num_experts_per_tok=4"], True),
    "uoe": ("qwen3", ["model.num_experts=8", "model.moe_intermediate_size=68", "model.routing.type=uoe",
                      "model.routing.uoe.routing_neurons=4",
                      "model.routing.uoe.routed_includes_routing_neurons=false"], True),
    "uoe_grouped": ("llama", ["model.num_experts=8", "model.moe_intermediate_size=12", "model.routing.type=uoe",
                              "model.routing.uoe.routing_neurons=2"], False),
}
GOLDENS = ["softmax_shared", "softmax_no_shared_no_norm", "dense_qknorm_tied", "uoe_default", "uoe_no_norm",
           "uoe_glu_l1_scaled", "aoe_norm", "aoe_no_norm"]
ROOT = Path(__file__).resolve().parent.parent
TEXT = "The artel met at noon. Each member named a task, and the task found its member: so the work was shared. "


def run(artel, *arguments):
    done = subprocess.run([artel, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"artel {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done


def import_model(artel, source, target, keys=()):
    """With the batches and the precision of the runs here, so that logits can be compared."""
    keys = [*keys, "train.precision=fp32", "train.device=cpu", "train.global_batch_size=8", "train.micro_batch_size=8"]
    run(artel, "import", "--from", source, "--output", target, *(f"--set={key}" for key in keys))


def write_config(folder, name, keys):
    path = folder / f"{name}.yaml"
    path.write_text(f"""run: {{name: {name}, directory: {folder}}}
model: {{vocab_size: 256, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
  max_position_embeddings: {LENGTH}, rope_theta: 5000.0, initializer_range: 0.05, {keys}}}
data: {{train: [{{path: {folder}/tokens.bin}}], validation: [{{path: {folder}/tokens.bin}}]}}
optimizer: {{lr: 0.003}}
train: {{steps: 30, global_batch_size: 8, micro_batch_size: 8, precision: fp32, device: cpu}}
validation: {{every: 0, sample_tokens: 0}}
checkpoint: {{every: 0}}
""")
    return path


def artel_logits(artel, run_directory, folder):
    path = folder / "logits.npy"
    run(artel, "eval", "--checkpoint", run_directory, "--data", folder / "tokens.bin", "--batches", 1, "--logits", path)
    logits = torch.from_numpy(numpy.load(path))
    tokens = numpy.frombuffer((folder / "tokens.bin").read_bytes(), dtype=numpy.uint8).astype(numpy.int64)
    windows = tokens[: len(logits) * (LENGTH + 1)].reshape(len(logits), LENGTH + 1)
    return torch.from_numpy(windows[:, :-1].copy()), logits


def load(path):
    model = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True)
    return model.to(torch.float32).eval()


@torch.no_grad()
def compare_logits(model, ids, expected):
    difference = (model(input_ids=ids).logits - expected).abs().max().item()
    if not difference <= TOLERANCE:
        raise RuntimeError(f"logits differ by {difference:.2e}")
    return difference


@torch.no_grad()
def compare_text(artel, model, tokenizer, run_directory):
    prompt, length = TEXT[:8], 20
    expected = run(artel, "generate", "--checkpoint", run_directory, "--prompt", prompt, "--temperature", 0,
                   "--tokens", length).stdout
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=length,
                         pad_token_id=0)
    found = tokenizer.decode(out[0, ids.shape[1]:])
    if found != expected:
        raise RuntimeError(f"text differs: artel {expected!r}, transformers {found!r}")
    # Beside a longer prompt, behind padding.
    long = tokenizer(TEXT[20:32], return_tensors="pt").input_ids
    pad = long.shape[1] - ids.shape[1]
    rows = torch.cat([torch.nn.functional.pad(ids, (pad, 0)), long])
    mask = torch.ones_like(rows)
    mask[0, :pad] = 0
    both = model.generate(rows, attention_mask=mask, do_sample=False, max_new_tokens=length, pad_token_id=0)
    if both[0, rows.shape[1]:].tolist() != out[0, ids.shape[1]:].tolist():
        raise RuntimeError("text differs behind padding")


def compare_tokenizer(tokenizer):
    for text in (TEXT, "naïve – 漢字 🙂\r\n\t\x00\x7f Ā Ġ  two  spaces ", "".join(map(chr, range(0x20, 0x250)))):
        ids = tokenizer(text).input_ids
        if ids != list(text.encode()):
            raise RuntimeError(f"ids differ for {text!r}")
        if tokenizer.decode(ids) != text:
            raise RuntimeError(f"text does not come back: {text!r}")


def compare_round_trip(artel, exported, folder, name):
    import_model(artel, exported, folder / f"{name}-in")
    again = folder / f"{name}-again"
    run(artel, "export", "--checkpoint", folder / f"{name}-in", "--output", again)
    for file in ("model.safetensors", "config.json"):
        if (exported / file).read_bytes() != (again / file).read_bytes():
            raise RuntimeError(f"{file} differs after import and export")


def check_case(artel, folder, name, keys, layout):
    run(artel, "train", "-c", write_config(folder, name, keys))
    exported = folder / f"{name}-hf"
    run(artel, "export", "--checkpoint", folder / name, "--output", exported)
    found = json.loads((exported / "config.json").read_text())["model_type"]
    if found != layout:
        raise RuntimeError(f"layout {found}, {layout} is required")
    ids, expected = artel_logits(artel, folder / name, folder)
    model, tokenizer = load(exported), AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    difference = compare_logits(model, ids, expected)
    compare_tokenizer(tokenizer)
    compare_text(artel, model, tokenizer, folder / name)
    compare_round_trip(artel, exported, folder, name)
    if layout != "artel":  # every model has Artel's own layout too
        own = folder / f"{name}-own"
        run(artel, "export", "--checkpoint", folder / name, "--layout", "artel", "--output", own)
        difference = max(difference, compare_logits(load(own), ids, expected))
    model.save_pretrained(folder / f"{name}-saved")  # as transformers writes it
    import_model(artel, folder / f"{name}-saved", folder / f"{name}-back")
    _, back = artel_logits(artel, folder / f"{name}-back", folder)
    if not torch.equal(back, expected):
        raise RuntimeError("logits differ after save_pretrained and import")
    return difference


def check_upcycle(artel, folder, name, dense, keys, keeps):
    ids, expected = artel_logits(artel, folder / dense, folder)
    target, exported = folder / f"up-{name}", folder / f"up-{name}-hf"
    import_model(artel, folder / f"{dense}-hf", target, keys)
    _, found = artel_logits(artel, target, folder)
    difference = (found - expected).abs().max().item()
    if keeps != (difference <= TOLERANCE):
        raise RuntimeError(f"logits differ from the dense model's by {difference:.2e}")
    run(artel, "export", "--checkpoint", target, "--output", exported)
    compare_logits(load(exported), ids, found)
    run(artel, "train", "-c", write_config(folder, f"up-{name}-run", "qk_norm: false"), "--set=train.steps=3",
        f"--set=train.init_from={target}", *(f"--set={key}" for key in keys),
        *(["--set=model.qk_norm=true", "--set=model.tie_word_embeddings=true", "--set=model.head_dim=24"]
          if dense == "qwen3" else []))
    return difference


@torch.no_grad()
def check_golden(folder, name):
    """tests/golden/NAME as a checkpoint of the artel layout."""
    model = json.loads((ROOT / f"tests/golden/{name}.json").read_text())["model"]
    tensors = safetensors_io.load(ROOT / f"tests/golden/{name}.safetensors")
    sizes = ModelConfig.from_dict(model)
    routing = model.setdefault("routing", {"type": "softmax"})
    if routing["type"] == "uoe":
        routing.setdefault("uoe", {})["routing_neurons"] = sizes.routing_neurons()
    if routing["type"] == "aoe":
        routing["aoe"] = dict(zip(("d_low", "expert_width"), sizes.aoe_sizes()))
    path = folder / f"golden_{name}"
    path.mkdir()
    for part in ("configuration", "modeling"):
        shutil.copy(ROOT / f"tools/hf/{part}_artel.py", path)
    auto_map = {"AutoConfig": "configuration_artel.ArtelConfig",
                "AutoModelForCausalLM": "modeling_artel.ArtelForCausalLM"}
    (path / "config.json").write_text(json.dumps({"model_type": "artel", "architectures": ["ArtelForCausalLM"],
                                                  "auto_map": auto_map, **model}))
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    loaded = load(path)
    ids = tensors["tokens"].long().view(tensors["logits"].shape[:2])
    difference = compare_logits(loaded, ids, tensors["logits"])
    texts = [loaded.generate(ids[:, :4], attention_mask=torch.ones_like(ids[:, :4]), do_sample=False, max_new_tokens=8,
                             pad_token_id=0, use_cache=cached).tolist() for cached in (True, False)]
    if texts[0] != texts[1]:
        raise RuntimeError("text differs with and without the cache")
    return difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artel", default="build/release/artel", help="the executable")
    parser.add_argument("--case", action="append", help="one of the cases (may be given again); default: all")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    artel = str(Path(arguments.artel).resolve())
    failed = False
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tokens.bin").write_bytes((TEXT * 30).encode())
        jobs = [(f"golden_{name}", lambda _, *rest: check_golden(*rest), ()) for name in GOLDENS]
        jobs += [(name, check_case, case) for name, case in CASES.items()]
        jobs += [(f"upcycle_{name}", lambda a, f, _, *rest, name=name: check_upcycle(a, f, name, *rest), case)
                 for name, case in UPCYCLES.items()]
        for name, check, case in jobs:
            if arguments.case and name not in arguments.case:
                continue
            try:
                difference = check(artel, folder, name.removeprefix("golden_"), *case)
                print(f"{name}: logits within {difference:.1e}", flush=True)
            except Exception as error:  # the other cases still count
                failed = True
                print(f"{name}: FAILED: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What a training step costs a GPU at best: tools/roofline.py CONFIG [--machine h100] [--json] [--markdown].

For every kernel that a step of the config calls: how often, the bytes that it must move (every operand read or written
once, whatever the caches could save), the floating-point operations (two a multiply-add, of what a causal mask leaves),
and the time below which the machine cannot stay: the larger of bytes / bandwidth and operations / rate, plus the time
that starting a kernel takes. `expected` divides bytes and operations by the shares of bandwidth and rate that well-made
kernels reach. One GPU, tokens spread evenly over the experts.

--each prints one call of every kernel instead, --check-calls ARTEL compares how often kernels are called with `artel
bench`. --check ARTEL compares parameters and operations with those of `artel describe`, which counts them on its own.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from model_config import ModelConfig
from run_config import load_config

# Dense rates of the data sheets. `reach`: the shares of them that large products and copies are known to get to.
MACHINES = {
    "h100": {"name": "H100 SXM 80 GB", "bf16": 989e12, "fp32": 67e12, "bandwidth": 3.35e12, "memory": 80e9},
    "h100-pcie": {"name": "H100 PCIe 80 GB", "bf16": 756e12, "fp32": 51e12, "bandwidth": 2.0e12, "memory": 80e9},
    "h200": {"name": "H200 SXM 141 GB", "bf16": 989e12, "fp32": 67e12, "bandwidth": 4.8e12, "memory": 141e9},
    "a100": {"name": "A100 SXM 80 GB", "bf16": 312e12, "fp32": 19.5e12, "bandwidth": 2.04e12, "memory": 80e9},
}
REACH_PRODUCTS = 0.6
REACH_MEMORY = 0.8
LAUNCH_SECONDS = 4e-6
LOGITS_PER_CHUNK = 1 << 28  # src/ops/ops.cpp, for GPUs
F64, F32, I32 = 8, 4, 4


@dataclass
class Call:
    """Calls of one kernel with equal operands; bytes and flops of one call."""
    name: str
    what: str
    calls: float
    bytes: float
    flops: float = 0.0
    unit: str = "bf16"  # what multiplies


class Step:
    """The kernel calls of one training step, micro-batches and recompute included."""

    def __init__(self, config, bf16=True):
        self.model = ModelConfig.from_dict(config["model"])
        train = config["train"]
        self.batch = int(train.get("global_batch_size", 16))
        self.micro = min(int(train.get("micro_batch_size", 16)), self.batch)
        self.recompute = train.get("recompute", "none") == "block"
        self.seq = self.model.max_position_embeddings
        self.tokens = self.micro * self.seq  # of a micro-batch: T
        self.num_micro = -(-self.batch // self.micro)
        self.act = 2 if bf16 else 4
        self.unit = "bf16" if bf16 else "fp32"
        self.calls = []
        self.build()

    # ---- building blocks; forward ones run twice where blocks are recomputed

    def add(self, name, what, moved, flops=0.0, times=1.0):
        self.calls.append(Call(name, what, times * self.num_micro, moved, flops, self.unit))

    def forward(self, name, what, moved, flops=0.0, times=1.0):
        self.add(name, what, moved, flops, times * (2 if self.recompute else 1))

    def not_kept(self, name, what, moved, times):
        """Made again in backward, whether blocks are recomputed or not."""
        self.add(name, what, moved, times=2 * times)

    def linear(self, what, rows, inner, out, times=1.0, result=None, prefix="", experts=1, add_dx=False):
        """A product, its data gradient and its weight gradient, which is added to an f32 arena."""
        a, result = self.act, result or self.act
        flops = 2.0 * rows * inner * out
        weights = experts * inner * out
        x, y, w = rows * inner * a, rows * out * result, weights * a
        self.forward(prefix + "linear", what, x + w + y, flops, times)
        self.add(prefix + "linear_backward_data", what, y + w + x * (2 if add_dx else 1), flops, times)
        self.add(prefix + "linear_backward_weight", what, x + y + 2 * F32 * weights, flops, times)

    # ---- the model

    def build(self):
        m, t, a = self.model, self.tokens, self.act
        d, layers = m.hidden_size, m.num_hidden_layers
        self.add("embedding", "", t * (2 * d * a + I32))
        self.add("embedding_backward", "", t * (d * a + 2 * d * F32 + I32))
        for what, times in (("before attention", layers), ("before experts", layers)):
            self.norm(what, times)
        if self.recompute:
            self.add("copy", "gradient of the residual stream", 2 * t * d * a, times=layers)
        self.attention(layers)
        if m.num_experts == 0:
            self.mlp("dense", t, m.intermediate_size, layers)
        else:
            self.experts(layers)
        self.add("rms_norm", "final", t * (4 * d * a + F32))
        self.add("rms_norm_backward", "final", t * (4 * d * a + F32))
        self.head()
        self.update()

    def norm(self, what, times):
        d, t, a = self.model.hidden_size, self.tokens, self.act
        self.forward("rms_norm", what, t * (4 * d * a + F32), times=times)  # x, delta, sum, y
        self.add("rms_norm_backward", what, t * (4 * d * a + F32), times=times)  # sum, dy, dx read and written

    def attention(self, times):
        m, t, a = self.model, self.tokens, self.act
        heads, kv, h = m.num_attention_heads, m.num_key_value_heads, m.head_dim
        qkv, y = t * (heads + 2 * kv) * h * a, t * heads * h * a
        lse = t * heads * F32
        pairs = 0.5 * self.micro * heads * self.seq * (self.seq + 1)
        self.linear("qkv", t, m.hidden_size, (heads + 2 * kv) * h, times)
        self.forward("rope", "", 2 * qkv, times=times)
        self.add("rope_backward", "", 2 * qkv, times=times)
        self.forward("attention", "", qkv + y + lse, 2 * 2 * pairs * h, times)
        self.add("attention_backward", "", 2 * qkv + 2 * y + lse, 5 * 2 * pairs * h, times)
        self.linear("output", t, heads * h, m.hidden_size, times)

    def mlp(self, what, rows, width, times):
        d, a = self.model.hidden_size, self.act
        self.linear(what + " gate, up", rows, d, 2 * width, times)
        self.not_kept("swiglu", what, rows * 3 * width * a, times)
        self.add("swiglu_backward", what, rows * 5 * width * a, times=times)
        self.linear(what + " down", rows, width, d, times)

    def experts(self, times):
        m, t, a = self.model, self.tokens, self.act
        d, n, k = m.hidden_size, m.num_experts, m.num_experts_per_tok
        rows = t * k
        width = m.moe_intermediate_size
        decision = t * (n * F32 + F32 + k * (I32 + F32))  # probs, lse, ids, weights
        routing = m.routing.type
        if routing == "uoe":
            width -= self.uoe(decision, times)
        elif routing == "softmax":
            self.linear("router", t, d, n, times, result=F32)
            self.route_top_k(decision, times)
        else:
            low, width = m.aoe_sizes()
            self.aoe(low, decision, times)
        if routing != "uoe" and m.shared_expert_intermediate_size > 0:
            self.mlp("shared expert", t, m.shared_expert_intermediate_size, times)
        # Counted once: recompute reuses plan and losses.
        self.add("expert_counts", "", (rows + t) * I32, times=times)
        self.add("set_sums", "", t * n * F32, times=times)
        self.add("sum_of_squares", "z", t * F32, times=times)
        self.add("load_balance", "", 2 * n * F32, times=times)
        self.add("routing_statistics", "", t * n * F32 + (rows + t) * I32, times=times)
        self.add("sort_by_expert", "", 3 * rows * I32, times=times)
        self.add("slot_rows", "token of slot", (t + rows) * I32, times=times)
        self.add("gather_rows", "token of row", 3 * rows * I32, times=times)
        self.not_kept("gather_rows", "tokens to experts", rows * (2 * d * a + I32), times)
        self.forward("gather_rows", "weights", rows * 3 * F32, times=times)
        self.add("gather_rows", "gradients of weights", rows * 3 * F32, times=times)
        if routing == "aoe":
            self.linear("gate", rows, low, width, times, prefix="grouped_", experts=n)
            self.linear("up", rows, d, width, times, prefix="grouped_", experts=n)
        else:
            self.linear("gate, up", rows, d, 2 * width, times, prefix="grouped_", experts=n)
        self.not_kept("swiglu", "experts", rows * (3 * width * a + F32), times)
        self.add("swiglu_backward", "experts", rows * (5 * width * a + 2 * F32), times=times)
        self.linear("down", rows, width, d, times, prefix="grouped_", experts=n)
        self.forward("sum_rows", "experts to tokens", rows * (d * a + I32) + 2 * t * d * a, times=times)
        self.add("gather_rows", "gradients to experts", rows * (2 * d * a + I32), times=times)
        self.add("sum_rows", "gradients to tokens", rows * (d * a + I32) + 2 * t * d * a, times=times)

    def uoe(self, decision, times):
        m, t, a = self.model, self.tokens, self.act
        d, n, neurons = m.hidden_size, m.num_experts, self.model.routing_neurons()
        gate_up, hidden = t * n * 2 * neurons * a, t * n * neurons * a
        packed = n * neurons * d
        self.linear("routing neurons", t, d, n * 2 * neurons, times)
        bids = t * n * F32
        self.forward("uoe_bids", "", gate_up + hidden + bids + decision, times=times)
        self.add("uoe_bids_backward", "", 2 * gate_up + hidden + bids + decision, times=times)
        self.forward("swap_leading", "routing neurons, down", 2 * packed * a, times=times)
        self.add("swap_leading", "its gradient", 3 * packed * F32, times=times)
        self.linear("virtual shared expert", t, n * neurons, d, times)
        return neurons

    def aoe(self, low, decision, times):
        m, t, a = self.model, self.tokens, self.act
        n, k = m.num_experts, m.num_experts_per_tok
        cached = t * n * low * a
        chosen = t * k * (2 * low * a + I32)
        self.linear("low-rank gates", t, m.hidden_size, n * low, times)
        self.forward("row_norms", "", cached + t * n * F32, times=times)
        self.add("row_norms_backward", "", 3 * cached + 2 * t * n * F32, times=times)
        self.forward("slot_rows", "chosen gates", (t + 2 * t * k) * I32, times=times)
        self.forward("gather_rows", "low-rank gates", chosen, times=times)
        self.add("fill", "their gradient", cached, times=times)
        self.add("scatter_add_rows", "their gradient", chosen + t * k * low * a, times=times)
        self.forward("gather_rows", "low-rank gates to experts", chosen, times=times)
        self.add("fill", "their gradient on the way back", t * k * low * a, times=times)
        self.add("scatter_add_rows", "their gradient on the way back", chosen + t * k * low * a, times=times)
        self.route_top_k(decision, times)

    def route_top_k(self, decision, times):
        scores = self.tokens * self.model.num_experts * F32
        self.forward("route_top_k", "", scores + decision, times=times)
        self.add("route_top_k_backward", "", scores + decision, times=times)

    def head(self):
        m, t, a = self.model, self.tokens, self.act
        d, v = m.hidden_size, m.vocab_size
        chunks = -(-t // max(64, LOGITS_PER_CHUNK // v))
        rows = t / chunks
        flops = 2.0 * rows * d * v
        logits, w, x = rows * v * F32, v * d * a, rows * d * a
        self.add("linear", "logits", x + w + logits, flops, chunks)
        self.add("cross_entropy", "", 2 * logits + rows * (I32 + F32), times=chunks)
        if a != F32:
            self.add("copy", "gradient of the logits", logits + rows * v * a, times=chunks)
        self.add("linear_backward_data", "logits", rows * v * a + w + x, flops, chunks)
        self.add("linear_backward_weight", "logits", rows * v * a + x + 2 * F32 * v * d, flops, chunks)
        self.add("sum", "losses", t * F32)
        self.add("add_up", "losses of micro-batches", 3 * F64)

    def update(self):
        count = self.parameters()
        once = 1.0 / self.num_micro
        self.add("fill", "gradients", count * F32, times=once)
        self.add("sum_of_squares", "gradients", count * F32, times=once)
        self.add("add_up", "sums of squares", 3 * F64, times=once)
        self.add("gradient_scale", "", 2 * F64 + F32, times=once)
        self.add("adamw", "", count * (7 * F32 + (self.act if self.act == 2 else 0)), times=once)

    def parameters(self):
        """Weights of the whole model."""
        m = self.model
        d, h = m.hidden_size, m.head_dim
        attention = d * (m.num_attention_heads + 2 * m.num_key_value_heads) * h + m.num_attention_heads * h * d
        if m.num_experts == 0:
            layer = 3 * d * m.intermediate_size
        elif m.routing.type == "aoe":
            low, width = m.aoe_sizes()
            layer = m.num_experts * (d * low + low * width + 2 * d * width)
        else:
            layer = m.num_experts * 3 * d * m.moe_intermediate_size
        if m.num_experts > 0 and m.routing.type != "uoe":
            layer += 3 * d * m.shared_expert_intermediate_size
            layer += m.num_experts * d if m.routing.type == "softmax" else 0
        norms = 2 * d + (2 * h if m.qk_norm else 0)
        tables = m.vocab_size * d * (1 if m.tie_word_embeddings else 2)
        return m.num_hidden_layers * (attention + layer + norms) + d + tables


def beside(step):
    """Kernels that no step of this config calls, or calls with other sizes: documents, generation, several ranks."""
    m, t, a = step.model, step.tokens, step.act
    heads, kv, h, seq = m.num_attention_heads, m.num_key_value_heads, m.head_dim, step.seq
    qkv, y, lse, starts = t * (heads + 2 * kv) * h * a, t * heads * h * a, t * heads * F32, t * I32
    length = min(seq, 512)
    pairs = 0.5 * t * heads * (length + 1)
    documents = f"documents of {length}"
    cache = seq * 2 * kv * h * a
    ranks, bucket = 8, 1 << 22  # src/train/trainer.cpp: elements of a bucket
    calls = [("attention", documents, qkv + y + lse + starts, 2 * 2 * pairs * h),
             ("attention_backward", documents, 2 * qkv + 2 * y + lse + starts, 5 * 2 * pairs * h),
             ("rope", documents, 2 * qkv + starts, 0),
             ("store_keys_values", "one token", 2 * 2 * kv * h * a, 0),
             ("cached_attention", f"one token behind {seq - 1}", cache + 2 * heads * h * a, 2 * 2 * heads * seq * h),
             ("reduce_rank_parts", f"a bucket of {bucket} f32, {ranks} ranks", (ranks + 1) * bucket // ranks * F32, 0),
             ("copy", "[T, d] act", 2 * t * m.hidden_size * a, 0),
             ("add", "[T, d] act", 3 * t * m.hidden_size * a, 0)]
    rstd = t * (heads + kv) * F32
    calls += [("rope", "qk_norm", 2 * qkv + rstd, 0), ("rope_backward", "qk_norm", 3 * qkv + rstd, 0)]
    return [Call(name, what, 1, moved, float(flops), step.unit) for name, what, moved, flops in calls]


def seconds(call, machine, reach_products=1.0, reach_memory=1.0):
    """Of one call."""
    moving = call.bytes / (machine["bandwidth"] * reach_memory)
    computing = call.flops / (machine[call.unit] * reach_products)
    return max(moving, computing) + LAUNCH_SECONDS


def rows_of(step, machine):
    """One row per kernel name: sums over its calls, largest time first."""
    rows = {}
    for call in step.calls:
        row = rows.setdefault(call.name, {"kernel": call.name, "calls": 0.0, "gigabytes": 0.0, "tera_operations": 0.0,
                                          "least_ms": 0.0, "expected_ms": 0.0})
        row["calls"] += call.calls
        row["gigabytes"] += call.calls * call.bytes / 1e9
        row["tera_operations"] += call.calls * call.flops / 1e12
        row["least_ms"] += call.calls * seconds(call, machine) * 1e3
        row["expected_ms"] += call.calls * seconds(call, machine, REACH_PRODUCTS, REACH_MEMORY) * 1e3
    return sorted(rows.values(), key=lambda row: -row["least_ms"])


def summary_of(step, machine, rows):
    total = {key: sum(row[key] for row in rows)
             for key in ("calls", "gigabytes", "tera_operations", "least_ms", "expected_ms")}
    tokens = step.num_micro * step.tokens
    return {"machine": machine["name"], "parameters": step.parameters(), "tokens_per_step": tokens,
            "micro_batches": step.num_micro, **total,
            "tokens_per_second_at_most": tokens / total["least_ms"] * 1e3,
            "tokens_per_second_expected": tokens / total["expected_ms"] * 1e3}


def print_each(step, others, machine):
    """One call of every kernel: of the step, of `others` what the step does not call, and of beside()."""
    calls = list(step.calls)
    names = {call.name for call in calls}
    for other in others:
        calls += [call for call in other.calls if call.name not in names]
        names |= {call.name for call in other.calls}
    calls += beside(step)
    print("| kernel | of | MB | GFLOP | least µs | expected µs |\n|---|---|---:|---:|---:|---:|")
    seen = set()
    for call in sorted(calls, key=lambda call: call.name):
        line = (f"| {call.name} | {call.what} | {call.bytes / 1e6:.4g} | {call.flops / 1e9:.4g} | "
                f"{seconds(call, machine) * 1e6:.1f} | "
                f"{seconds(call, machine, REACH_PRODUCTS, REACH_MEMORY) * 1e6:.1f} |")
        if line not in seen:
            print(line)
        seen.add(line)


CALLS_CONFIG = """
run: {{name: calls, directory: {folder}}}
model: {{vocab_size: 64, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  max_position_embeddings: 16, num_experts: {experts}, num_experts_per_tok: 2, moe_intermediate_size: 24,
  intermediate_size: 48, shared_expert_intermediate_size: 16, routing: {{type: {routing}}}}}
data: {{train: [{{path: {folder}/none.bin}}]}}
train: {{global_batch_size: 4, micro_batch_size: 2, precision: fp32, recompute: {recompute}, threads: 1, device: cpu}}
"""
# Copies of figures, and what is called otherwise on the CPU or in parts: the losses of micro-batches, the gradient of the
# loss itself, the optimizer for each run of parameters that share the decay.
NOT_COUNTED = {"upload", "download", "start_download", "add_up", "fill", "adamw"}


def check_calls(artel):
    """Kernels and how often a step calls them are those of `artel bench`, for every routing, recomputed and not."""
    for routing, recompute in ((r, c) for r in ("aoe", "dense", "uoe", "softmax") for c in ("none", "block")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "calls.yaml"
            path.write_text(CALLS_CONFIG.format(folder=folder, recompute=recompute, experts=0 if routing == "dense" else 8,
                                                routing="uoe" if routing == "dense" else routing))
            answer = subprocess.run([artel, "bench", "-c", path, "--steps", "1", "--json"], capture_output=True,
                                    text=True, check=True)
            found = {row["name"]: round(row["calls"]) for row in json.loads(answer.stdout)["kernels"]}
            expected = {row["kernel"]: round(row["calls"])
                        for row in rows_of(Step(load_config(path), bf16=False), MACHINES["h100"])}
        differ = [f"{name}: {expected.get(name, 0)} calls, found {found.get(name, 0)}"
                  for name in sorted({*found, *expected} - NOT_COUNTED) if found.get(name, 0) != expected.get(name, 0)]
        if differ:
            sys.exit(f"roofline: {routing}, recompute {recompute}: required " + "; ".join(differ))
        print(f"{routing}, recompute {recompute}: {len(found)} kernels called as often as expected", flush=True)


def check(step, config, artel):
    """Parameters and operations per token are those of `artel describe`, but for the scores computed again by attention."""
    text = subprocess.run([artel, "describe", "-c", config, "--json"], capture_output=True, text=True, check=True).stdout
    described = json.loads(text)
    once = Step({**load_config(config), "train": {"micro_batch_size": 1, "global_batch_size": 1}})
    scores = sum(call.calls * call.flops for call in once.calls if call.name == "attention") / 2
    found = (sum(call.calls * call.flops for call in once.calls) - scores) / once.tokens
    expected = described["flops_per_token"]["total"], described["parameters"]["total"]
    if (round(found), step.parameters()) != expected:
        sys.exit(f"roofline: {config}: required {expected} operations a token and parameters, found "
                 f"{(round(found), step.parameters())}")


def print_table(rows, summary, markdown):
    titles = ("kernel", "calls", "GB", "TFLOP", "least ms", "expected ms")
    lines = [(row["kernel"], f"{row['calls']:.0f}", f"{row['gigabytes']:.2f}", f"{row['tera_operations']:.2f}",
              f"{row['least_ms']:.2f}", f"{row['expected_ms']:.2f}") for row in [*rows, {"kernel": "step", **summary}]]
    if markdown:
        print("| " + " | ".join(titles) + " |\n|---|" + "---:|" * (len(titles) - 1))
        for line in lines:
            print("| " + " | ".join(line) + " |")
    else:
        for line in (titles, *lines):
            print(f"{line[0]:<32}" + "".join(f"{cell:>14}" for cell in line[1:]))
    print(f"\n{summary['machine']}: {summary['parameters'] / 1e9:.2f} B parameters, {summary['tokens_per_step']} tokens "
          f"a step in {summary['micro_batches']} micro-batches; at most "
          f"{summary['tokens_per_second_at_most']:.0f} tokens/s, expected {summary['tokens_per_second_expected']:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?")
    parser.add_argument("--machine", choices=MACHINES, default="h100")
    parser.add_argument("--fp32", action="store_true", help="activations of 4 bytes, products of fp32")
    parser.add_argument("--calls", action="store_true", help="with --json: every call with its operands' sizes too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--each", nargs="*", metavar="CONFIG", help="one call of every kernel, with the kernels that "
                        "only these other configs call")
    parser.add_argument("--check", metavar="ARTEL")
    parser.add_argument("--check-calls", metavar="ARTEL", help="no CONFIG: tiny models of every routing")
    arguments = parser.parse_args()
    if arguments.check_calls:
        return check_calls(arguments.check_calls)
    if not arguments.config:
        parser.error("CONFIG is missing")
    machine = MACHINES[arguments.machine]
    step = Step(load_config(arguments.config), bf16=not arguments.fp32)
    if arguments.check:
        check(step, arguments.config, arguments.check)
    if arguments.each is not None:
        return print_each(step, [Step(load_config(other), bf16=not arguments.fp32) for other in arguments.each], machine)
    rows = rows_of(step, machine)
    summary = summary_of(step, machine, rows)
    if arguments.json:
        document = {"config": arguments.config, "summary": summary, "kernels": rows}
        if arguments.calls:
            document["calls"] = [asdict(call) for call in step.calls]
        json.dump(document, sys.stdout, indent=1)
        print()
    else:
        print_table(rows, summary, arguments.markdown)


if __name__ == "__main__":
    main()

"""Times whole training steps of the PyTorch model; one process per measurement, started by bench_vs_pytorch.py.

Reads a JSON request from standard input and prints a JSON answer.
"""
import json
from pathlib import Path
import resource
import statistics
import sys
import time

import torch

from model_config import ModelConfig
from torch_model import ArtelModel, make_adamw, train_step

# fp32: everything fp32. autocast: fp32 weights, bf16 products. pure: bf16 throughout, without fp32 master weights.
VARIANTS = {"fp32": ["fp32"], "bf16": ["autocast", "pure"]}
OPTIMIZERS = {"fused": {"fused": True}, "foreach": {"foreach": True}}
# How experts are run (torch_moe.Experts), and whether torch.compile makes one program of every block.
RUNS = [(experts, run) for run in ("eager", "compiled") for experts in ("loop", "grouped")]


class Trainer:
    def __init__(self, request, variant, experts, run, optimizer):
        torch.manual_seed(0)
        config = ModelConfig.from_dict(request["config"]["model"])
        batch = int(request["config"]["train"]["micro_batch_size"])
        dtype = torch.bfloat16 if variant == "pure" else torch.float32
        self.model = ArtelModel(config, experts, seed=0).to(dtype)
        if run == "compiled":
            # Numbers of rows change with every step: shapes that were fixed would be compiled anew each time.
            for layer in self.model.layers:
                layer.compile(dynamic=True)
        settings = request["config"]["optimizer"]
        self.grad_clip = float(settings["grad_clip"])
        self.optimizer = make_adamw(self.model.parameters(), settings, **OPTIMIZERS[optimizer])
        stream = torch.randint(config.vocab_size, (batch, config.max_position_embeddings + 1))
        self.tokens, self.targets = stream[:, :-1].contiguous(), stream[:, 1:].contiguous()
        self.variant = variant

    def step(self):
        """Seconds of one step."""
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.variant == "autocast"):
            train_step(self.model, self.optimizer, self.tokens, self.targets, self.grad_clip)
        return time.perf_counter() - start

    def optimizer_seconds(self, repeats=5):
        """Seconds of the optimizer alone, on the gradients of the last step."""
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            self.optimizer.step()
            times.append(time.perf_counter() - start)
        return min(times)


def try_run(request, variant, experts, run):
    """-> the trial with its shortest step, or with the reason why it does not run here"""
    trial = {"variant": variant, "experts": experts, "run": run}
    try:
        trainer = Trainer(request, variant, experts, run, "fused")
        times = [trainer.step() for _ in range(request["warmup"] + request["steps"])]
        return {**trial, "seconds": min(times[request["warmup"]:])}
    except Exception as error:  # of whatever kind the compiler raises: the reason is part of the answer
        return {**trial, "failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


def tune(request):
    """The fastest of every choice: experts, eager or compiled, AdamW, bf16. Minima, since noise only adds."""
    trials = [try_run(request, variant, experts, run) for variant in VARIANTS[request["precision"]]
              for experts, run in RUNS]
    working = [trial for trial in trials if "seconds" in trial]
    if not working:
        sys.exit("no way of running PyTorch works here: " + "; ".join(trial["failed"] for trial in trials))
    best = min(working, key=lambda trial: trial["seconds"])
    optimizers = {}
    for name in OPTIMIZERS:
        trainer = Trainer(request, best["variant"], best["experts"], "eager", name)
        trainer.step()
        optimizers[name] = trainer.optimizer_seconds()
    return {**best, "optimizer": min(optimizers, key=optimizers.get), "trials": trials, "optimizer_seconds": optimizers}


def product_ceiling(variant):
    """FLOP/s of PyTorch's own products in the run's type: the highest median of 20 among three shapes, as in artel bench."""
    dtype = torch.float32 if variant == "fp32" else torch.bfloat16
    best = 0.0
    for m, n, k in ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1408, 512)):
        x, w = torch.full((m, k), 0.5, dtype=dtype), torch.full((n, k), 0.25, dtype=dtype)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - start)
            if sum(times) > 20.0:  # without units for this type a product takes seconds
                break
        best = max(best, 2 * m * n * k / statistics.median(times))
    return best


def measure(request):
    trainer = Trainer(request, *(request[key] for key in ("variant", "experts", "run", "optimizer")))
    for _ in range(request["warmup"]):
        trainer.step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    times = [trainer.step() for _ in range(request["steps"])]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    high_water = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"tokens_per_second": trainer.tokens.numel() / statistics.median(times), "step_seconds": times,
            "peak_memory_bytes": int(high_water.split()[1]) * 1024, "minor_faults_per_step": faults / len(times),
            "product_ceiling_flops_per_second": product_ceiling(request["variant"]), "torch": torch.__version__}


def main():
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    print(json.dumps({"tune": tune, "measure": measure}[request["do"]](request)))


if __name__ == "__main__":
    main()

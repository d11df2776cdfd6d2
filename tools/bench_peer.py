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


class Trainer:
    def __init__(self, request, variant, mode, optimizer):
        torch.manual_seed(0)
        config = ModelConfig.from_dict(request["config"]["model"])
        batch = int(request["config"]["train"]["micro_batch_size"])
        dtype = torch.bfloat16 if variant == "pure" else torch.float32
        self.model = ArtelModel(config, mode, seed=0).to(dtype)
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


def tune(request):
    """The fastest of every choice: how experts are run, which AdamW, which bf16. Minima, since noise only adds."""
    trials = []
    for variant in VARIANTS[request["precision"]]:
        for mode in ("loop", "grouped"):
            trainer = Trainer(request, variant, mode, "fused")
            times = [trainer.step() for _ in range(1 + request["steps"])]
            trials.append({"variant": variant, "experts": mode, "seconds": min(times[1:])})
            del trainer
    best = min(trials, key=lambda trial: trial["seconds"])
    optimizers = {}
    for name in OPTIMIZERS:
        trainer = Trainer(request, best["variant"], best["experts"], name)
        trainer.step()
        optimizers[name] = trainer.optimizer_seconds()
    return {"variant": best["variant"], "experts": best["experts"], "optimizer": min(optimizers, key=optimizers.get),
            "trials": trials, "optimizer_seconds": optimizers}


def measure(request):
    trainer = Trainer(request, request["variant"], request["experts"], request["optimizer"])
    for _ in range(request["warmup"]):
        trainer.step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    times = [trainer.step() for _ in range(request["steps"])]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    high_water = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"tokens_per_second": trainer.tokens.numel() / statistics.median(times), "step_seconds": times,
            "peak_memory_bytes": int(high_water.split()[1]) * 1024, "minor_faults_per_step": faults / len(times),
            "torch": torch.__version__}


def main():
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    print(json.dumps({"tune": tune, "measure": measure}[request["do"]](request)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Trains tiny models on the CPU and on the emulated GPU: run_backends.py ARTEL EMULATED [WHAT...] [--emulator-...].

    uoe softmax aoe   ten steps in fp32 have the losses of the CPU to 1e-4; the first step in bf16 to 2e-3
    resume            a checkpoint of one backend goes on on the other, to the losses of a run without a break

Options that begin with --emulator- go to the emulated executable, which ends with an error at the first report.
"""
import json
from pathlib import Path
import random
import shutil
import subprocess
import sys
import tempfile

STEPS = 10
CONFIG = """
run: {{name: {name}, directory: {folder}, tensorboard: false}}
model: {{vocab_size: 64, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  head_dim: 32, max_position_embeddings: 16, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 32,
  shared_expert_intermediate_size: 16, routing: {{type: {routing}}}}}
data: {{train: [{{path: {folder}/train.bin}}], validation: [{{path: {folder}/train.bin}}]}}
schedule: {{type: cosine, warmup_steps: 3}}
train: {{steps: {steps}, global_batch_size: 4, micro_batch_size: 2, precision: {precision}, threads: 1, device: {device}}}
validation: {{every: 0, sample_tokens: 0}}
checkpoint: {{every: 5, keep: 3}}
"""


def require(condition, what):
    if not condition:
        raise AssertionError(f"required {what}")


class Trainer:
    """Runs of one folder with the two executables."""

    def __init__(self, artel, emulated, options, folder):
        self.commands = {"cpu": [artel], "cuda": [emulated, *options]}
        self.folder = Path(folder)
        generator = random.Random(7)
        (self.folder / "train.bin").write_bytes(bytes(generator.choice(b"\x05\x06\x07\x20\x21") for _ in range(4000)))

    def losses(self, name, device, routing, precision="fp32", steps=STEPS, resume=False):
        """{step: loss} of a run; with `resume` it goes on from its newest checkpoint."""
        config = self.folder / f"{name}.yaml"
        config.write_text(CONFIG.format(name=name, folder=self.folder, routing=routing, steps=steps,
                                        precision=precision, device=device))
        command = [*self.commands[device], "train", "-c", str(config), *(["--resume", "auto"] if resume else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"{name} to train, found exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        summary = json.loads((self.folder / name / "summary.json").read_text())
        require(summary["device"] == device, f"{name} to run on {device}, found {summary['device']}")
        rows = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return {row["step"]: row["loss"] for row in rows if "loss" in row}


def largest_difference(actual, expected):
    require(actual.keys() == expected.keys(), f"steps {sorted(expected)}, found {sorted(actual)}")
    return max(abs(actual[step] - loss) / abs(loss) for step, loss in expected.items())


def check_routing(trainer, routing):
    difference = largest_difference(trainer.losses(f"{routing}-cuda", "cuda", routing),
                                    trainer.losses(f"{routing}-cpu", "cpu", routing))
    require(difference <= 1e-4, f"{routing}: losses in fp32 within 1e-4, found {difference:.2e}")
    rounded = largest_difference(trainer.losses(f"{routing}-cuda-bf16", "cuda", routing, "bf16", 1),
                                 trainer.losses(f"{routing}-cpu-bf16", "cpu", routing, "bf16", 1))
    require(rounded <= 2e-3, f"{routing}: the first loss in bf16 within 2e-3, found {rounded:.2e}")
    print(f"{routing}: losses of {STEPS} steps in fp32 differ by {difference:.1e}, of the first in bf16 by {rounded:.1e}")


def check_resume(trainer):
    whole = trainer.losses("whole", "cpu", "uoe")
    for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
        name = f"{first}-then-{second}"
        trainer.losses(name, first, "uoe", steps=STEPS)
        # The schedule depends on the number of steps: the run is cut back to its checkpoint at step 5, not shortened.
        for path in sorted((trainer.folder / name / "checkpoints").glob("step-*"))[1:]:
            shutil.rmtree(path)
        difference = largest_difference(trainer.losses(name, second, "uoe", resume=True), whole)
        require(difference <= 1e-4, f"{name}: losses within 1e-4, found {difference:.2e}")
        print(f"{name}: losses differ by {difference:.1e}")


def main():
    options = sys.argv[3:]
    emulator = []
    while any(option.startswith("--emulator-") for option in options):
        at = next(i for i, option in enumerate(options) if option.startswith("--emulator-"))
        emulator += options[at:at + 2]
        del options[at:at + 2]
    for what in options or ["uoe", "softmax", "aoe", "resume"]:
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(sys.argv[1], sys.argv[2], emulator, folder)
            if what == "resume":
                check_resume(trainer)
            else:
                check_routing(trainer, what)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print(error)
        sys.exit(1)

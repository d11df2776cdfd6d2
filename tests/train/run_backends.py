#!/usr/bin/env python3
"""Trains tiny models on the CPU and on the emulated GPU: run_backends.py ARTEL EMULATED [WHAT...]
[--mpiexec MPIEXEC] [--seed N] [--all] [--emulator-...].

    uoe softmax aoe   ten steps in fp32 have the losses of the CPU to 1e-4; the first step in bf16 to 2e-3
    resume            a checkpoint of one backend goes on on the other, to the losses of a run without a break
    documents         as uoe, with data.document_mask
    ranks             two ranks with an emulated GPU and half of the experts each against one process on the CPU: the
                      same, and of the first step in bf16 also the gradient of every tensor and where tokens go. A
                      zero stage and a schedule of streams are drawn for each routing; with --all, every schedule, with
                      eight seeds
    ranks-resume      a checkpoint of two ranks with GPUs goes on in one process on the CPU, and the reverse; with --all,
                      also between one GPU and two and from two ranks on the CPU
    ranks-documents   uoe with data.document_mask on two ranks with an emulated GPU each against one process on the CPU

The last three need --mpiexec MPIEXEC and an executable with NCCL. Options that begin with --emulator- go to the emulated
executable, which ends with an error at the first report.
"""
import argparse
from array import array
from dataclasses import dataclass
from itertools import product
import json
import math
from pathlib import Path
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from run_mpi_train import commit_seed, launcher

STEPS = 10
ROUTINGS = ("uoe", "softmax", "aoe")
CONFIG = """
run: {{name: {name}, directory: {folder}, tensorboard: false}}
model: {{vocab_size: 64, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  head_dim: 32, max_position_embeddings: 16, num_experts: 4, num_experts_per_tok: {top_k}, moe_intermediate_size: 32,
  shared_expert_intermediate_size: 16, routing: {{type: {routing}, uoe: {{routing_neurons: 6}}}}}}
data: {{train: [{{path: {folder}/train.bin}}], validation: [{{path: {folder}/train.bin}}], document_mask: {masked},
  end_of_document: 5}}
schedule: {{type: cosine, warmup_steps: 3}}
train: {{steps: {steps}, global_batch_size: 4, micro_batch_size: 2, precision: {precision}, threads: 1, device: {device}}}
validation: {{every: 0, sample_tokens: 0}}
checkpoint: {{every: 5, keep: 3}}
parallel: {{expert: {ranks}, zero_stage: {zero_stage}, timeout_seconds: 120}}
"""


@dataclass
class Place:
    """Where a run takes place."""
    device: str
    ranks: int = 1
    zero_stage: int = 0
    options: tuple = ()  # of the emulator

    def __str__(self):
        return f"{self.ranks} {self.device}"


CPU, GPU = Place("cpu"), Place("cuda")


def require(condition, what):
    if not condition:
        raise AssertionError(f"required {what}")


class Trainer:
    """Runs of one folder with the two executables."""

    def __init__(self, artel, emulated, options, mpiexec, folder):
        self.mpiexec = mpiexec
        self.commands = {"cpu": [artel], "cuda": [emulated, *options]}
        self.folder = Path(folder)
        self.masked = False  # data.document_mask
        generator = random.Random(7)
        (self.folder / "train.bin").write_bytes(bytes(generator.choice(b"\x05\x06\x07\x20\x21") for _ in range(4000)))

    def run(self, name, place, routing, precision="fp32", steps=STEPS, resume=False, top_k=2):
        """{step: row of the metrics} of a run; with `resume` it goes on from its newest checkpoint."""
        config = self.folder / f"{name}.yaml"
        config.write_text(CONFIG.format(name=name, folder=self.folder, routing=routing, steps=steps, precision=precision,
                                        device=place.device, ranks=place.ranks, zero_stage=place.zero_stage,
                                        top_k=top_k, masked=str(self.masked).lower()))
        command = [*self.commands[place.device], *place.options]
        if place.ranks > 1:
            command = [*launcher(self.mpiexec), "-n", str(place.ranks), *command]
            if place.device == "cuda":
                command += ["--emulator-devices", str(place.ranks)]
        command += ["train", "-c", str(config), *(["--resume", "auto"] if resume else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"{name} to train, found exit code {done.returncode}:\n{' '.join(command)}\n"
                                      f"{done.stdout}{done.stderr}")
        summary = json.loads((self.folder / name / "summary.json").read_text())
        require(summary["device"] == place.device, f"{name} to run on {place.device}, found {summary['device']}")
        rows = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return {row["step"]: row for row in rows if "loss" in row}

    def gradients(self, name):
        """{tensor: numbers in the direction of its gradient} of a run of one step: AdamW's first moments."""
        folder = next((self.folder / name / "checkpoints").glob("step-*"))
        tensors, prefix = json.loads((folder / "manifest.json").read_text())["tensors"], "optimizer.exp_avg."
        return {key[len(prefix):]: whole_tensor(folder, entry) for key, entry in tensors.items()
                if key.startswith(prefix)}

    def cut_back(self, name):
        """The run has only its first checkpoint, that of step 5."""
        for path in sorted((self.folder / name / "checkpoints").glob("step-*"))[1:]:
            shutil.rmtree(path)


def read_safetensors(path):
    """{key: f32 numbers}"""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for key, entry in json.loads(data[8:8 + size]).items():
        if key != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            tensors[key] = array("f", data[8 + size + begin:8 + size + end])
    return tensors


def whole_tensor(folder, entry):
    """The numbers of a tensor of the manifest, put together from its slices."""
    shape = entry["shape"]
    numbers = array("f", [math.nan]) * math.prod(shape)
    for part in entry["slices"]:
        values = iter(read_safetensors(folder / part["file"])[part["key"]])
        for place in product(*(range(begin, end) for begin, end in zip(part["begin"], part["end"]))):
            index = 0
            for i, size in zip(place, shape):
                index = index * size + i
            numbers[index] = next(values)
    return numbers


def cosine(a, b):
    def dot(x, y):
        return math.fsum(i * j for i, j in zip(x, y))
    length = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / length if length > 0 else float(dot(a, a) == dot(b, b))


def largest_difference(actual, expected):
    require(actual.keys() == expected.keys(), f"steps {sorted(expected)}, found {sorted(actual)}")
    return max(abs(actual[step]["loss"] - row["loss"]) / abs(row["loss"]) for step, row in expected.items())


def share_moved(actual, expected):
    """The least share of assignments of the first step that went to another expert."""
    pairs = [pair for a, b in zip(actual[1]["moe"], expected[1]["moe"]) for pair in zip(a["load"], b["load"])]
    require(sum(a for a, _ in pairs) == sum(b for _, b in pairs) > 0, f"equally many assignments, found {pairs}")
    return sum(abs(a - b) for a, b in pairs) / 2 / sum(b for _, b in pairs)


def check_routing(trainer, routing):
    difference = largest_difference(trainer.run(f"{routing}-cuda", GPU, routing),
                                    trainer.run(f"{routing}-cpu", CPU, routing))
    require(difference <= 1e-4, f"{routing}: losses in fp32 within 1e-4, found {difference:.2e}")
    rounded = largest_difference(trainer.run(f"{routing}-cuda-bf16", GPU, routing, "bf16", 1),
                                 trainer.run(f"{routing}-cpu-bf16", CPU, routing, "bf16", 1))
    require(rounded <= 2e-3, f"{routing}: the first loss in bf16 within 2e-3, found {rounded:.2e}")
    print(f"{routing}: losses of {STEPS} steps in fp32 differ by {difference:.1e}, of the first in bf16 by {rounded:.1e}")


def check_bf16(trainer, name, place, routing):
    """The first step in bf16: loss and assignments, and gradients where every token goes to all experts, since a token
    that goes to another one takes its part of the few tokens' gradients along. Returns what differs, for the log."""
    def step(of, suffix, top_k):
        run = f"{name}-{of.device}-{suffix}"
        return run, trainer.run(run, of, routing, "bf16", 1, top_k=top_k)
    (_, rows), (_, expected) = step(place, "bf16", 2), step(CPU, "bf16", 2)
    loss, moved = largest_difference(rows, expected), share_moved(rows, expected)
    require(loss <= 2e-3, f"{name}: the first loss in bf16 within 2e-3, found {loss:.2e}")
    require(moved <= 0.01, f"{name}: at least 99 % of the assignments equal, found {1 - moved:.1%}")
    gradients, others = (trainer.gradients(step(of, "all", 4)[0]) for of in (CPU, place))
    require(gradients.keys() == others.keys() != set(), f"tensors {sorted(gradients)}, found {sorted(others)}")
    least, tensor = min((cosine(others[tensor], gradients[tensor]), tensor) for tensor in gradients)
    require(least >= 0.999, f"{name}: gradients with a cosine of at least 0.999, found {least:.5f} in {tensor}")
    return f"loss in bf16 by {loss:.1e}, assignments by {moved:.1%}, least cosine of a gradient {least:.5f}"


def check_ranks(trainer, seed, everything):
    draw = random.Random(seed)
    schedules = [("eager", seed)] + [(streams, seed + i) for streams in ("lazy", "random") for i in range(8)]
    cases = [(routing, draw.randrange(2), *schedule) for routing in ROUTINGS
             for schedule in (schedules if everything else [draw.choice(schedules)])]
    references = {}
    for routing, zero_stage, streams, emulator_seed in cases:
        if routing not in references:
            references[routing] = trainer.run(f"{routing}-one", CPU, routing)
        options = ("--emulator-order", "random", "--emulator-streams", streams, "--emulator-seed", str(emulator_seed))
        place, name = Place("cuda", 2, zero_stage, options), f"{routing}-two-{zero_stage}-{streams}-{emulator_seed}"
        difference = largest_difference(trainer.run(name, place, routing), references[routing])
        require(difference <= 1e-4, f"{name}: losses in fp32 within 1e-4, found {difference:.2e}")
        rounded = check_bf16(trainer, name, place, routing)
        print(f"{name}: losses of {STEPS} steps in fp32 differ by {difference:.1e}; {rounded}", flush=True)


def check_documents(trainer, seed, with_ranks):
    unmasked = trainer.run("unmasked", CPU, "uoe", steps=1)
    trainer.masked = True
    masked = trainer.run("masked", CPU, "uoe", steps=1)
    require(largest_difference(masked, unmasked) > 1e-4, "a loss that the mask changes, found none")
    if with_ranks:
        options = ("--emulator-order", "random", "--emulator-streams", "random", "--emulator-seed", str(seed))
        place = Place("cuda", 2, seed % 2, options)
        difference = largest_difference(trainer.run("two", place, "uoe"), trainer.run("one", CPU, "uoe"))
        require(difference <= 1e-4, f"documents on two ranks: losses in fp32 within 1e-4, found {difference:.2e}")
        print(f"documents on two ranks: losses of {STEPS} steps in fp32 differ by {difference:.1e}; "
              f"{check_bf16(trainer, 'two', place, 'uoe')}", flush=True)
    else:
        check_routing(trainer, "uoe")


def check_resume(trainer, routing, pairs):
    whole = trainer.run(f"{routing}-whole", CPU, routing)
    for first, second in pairs:
        name = f"{routing}-{first}-then-{second}".replace(" ", "-")
        # The schedule depends on the number of steps: the run is cut back, not shortened.
        trainer.run(name, first, routing)
        trainer.cut_back(name)
        difference = largest_difference(trainer.run(name, second, routing, resume=True), whole)
        require(difference <= 1e-4, f"{name}: losses within 1e-4, found {difference:.2e}")
        print(f"{name}: losses differ by {difference:.1e}", flush=True)


def check_ranks_resume(trainer, seed, everything):
    draw = random.Random(seed)
    gpus, cpus = Place("cuda", 2, draw.randrange(2)), Place("cpu", 2, draw.randrange(2))
    pairs = [(gpus, CPU), (CPU, gpus)] + ([(GPU, gpus), (gpus, GPU), (cpus, gpus)] if everything else [])
    for routing in ROUTINGS if everything else [draw.choice(ROUTINGS)]:
        check_resume(trainer, routing, pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artel")
    parser.add_argument("emulated")
    parser.add_argument("what", nargs="*", default=[*ROUTINGS, "resume"])
    parser.add_argument("--mpiexec")
    parser.add_argument("--seed", type=int, default=commit_seed())
    parser.add_argument("--all", action="store_true")
    for option in ("seed", "order", "streams", "preempt"):
        parser.add_argument(f"--emulator-{option}")
    arguments = parser.parse_args()
    emulator = [word for option in ("seed", "order", "streams", "preempt")
                if getattr(arguments, f"emulator_{option}") is not None
                for word in (f"--emulator-{option}", getattr(arguments, f"emulator_{option}"))]
    for what in arguments.what:
        require(arguments.mpiexec or not what.startswith("ranks"), f"--mpiexec for {what}")
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(arguments.artel, arguments.emulated, emulator, arguments.mpiexec, folder)
            if what == "ranks":
                check_ranks(trainer, arguments.seed, arguments.all)
            elif what == "ranks-resume":
                check_ranks_resume(trainer, arguments.seed, arguments.all)
            elif what in ("documents", "ranks-documents"):
                check_documents(trainer, arguments.seed, what != "documents")
            elif what == "resume":
                check_resume(trainer, "uoe", ((CPU, GPU), (GPU, CPU)))
            else:
                require(what in ROUTINGS, f"one of those that --help lists, found {what}")
                check_routing(trainer, what)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print(error)
        sys.exit(1)

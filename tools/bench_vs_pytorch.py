"""Artel against idiomatic PyTorch, eager or compiled: tokens per second of whole training steps on this machine.

    python3 tools/bench_vs_pytorch.py -c configs/quickstart/uoe.yaml              Artel and PyTorch in turn
    python3 tools/bench_vs_pytorch.py -c configs/quickstart/uoe.yaml --peer-only  PyTorch alone
    python3 tools/bench_vs_pytorch.py --check-loss RUN/checkpoints/step-00000200  validation loss of a checkpoint

First both compute the loss of the same weights on the same tokens, and must agree (--no-verify leaves that out).
A step is forward, backward, clipping and AdamW on the config's micro-batch. PyTorch first tries its own choices
(how experts are run, eager or torch.compile, fused or foreach AdamW, for bf16 autocast or pure bf16) and takes the
fastest. Each measurement is a process of its own; Artel and PyTorch alternate, and the ratio is that of the medians.
"""
import argparse
import glob
import json
import os
from pathlib import Path
import random
import statistics
import subprocess
import sys
import tempfile

from run_config import load_config, native_bf16

# This file imports no torch: a child's reported peak memory starts at that of the process that started it.
TOOLS = Path(__file__).resolve().parent
ALLOCATORS = ("libjemalloc.so*", "libtcmalloc_minimal.so*", "libtcmalloc.so*")
LIBRARY_FOLDERS = ("/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


def allocator_environment(choice):
    """Variables that keep large blocks in the process: a preloaded allocator, or glibc told not to give memory back."""
    if choice == "default":
        return {}, "default"
    if choice in ("auto", "preload"):
        for name in ALLOCATORS:
            for folder in LIBRARY_FOLDERS:
                found = sorted(glob.glob(f"{folder}/{name}"))
                if found:
                    extra = {"LD_PRELOAD": found[0]}
                    if "jemalloc" in name:
                        extra["MALLOC_CONF"] = "dirty_decay_ms:-1,muzzy_decay_ms:-1,metadata_thp:auto"
                    return extra, Path(found[0]).name
        if choice == "preload":
            sys.exit("--allocator preload: no jemalloc or tcmalloc was found; install libjemalloc2 or libgoogle-perftools4")
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20)}, "glibc, keeping"


def run_peer(request, environment):
    """One measurement in a fresh process -> its answer"""
    child = subprocess.run([sys.executable, str(TOOLS / "bench_peer.py")], input=json.dumps(request), text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment})
    if child.returncode:
        sys.exit(f"the PyTorch measurement failed:\n{child.stderr}")
    return json.loads(child.stdout.splitlines()[-1])


def artel_settings(arguments):
    given = (("precision", arguments.precision), ("threads", arguments.threads))
    return [part for key, value in given if value is not None for part in ("--set", f"train.{key}={value}")]


def run_artel(arguments):
    """One `artel bench` -> its JSON, with the peak resident memory as the system saw it"""
    command = [arguments.artel, "bench", "-c", arguments.config, "--json", "--steps", str(arguments.steps),
               *artel_settings(arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    answer = json.loads(text)
    return {**(answer[0] if isinstance(answer, list) else answer), "resident_bytes": usage.ru_maxrss * 1024}


def verify(arguments, config, precision):
    """One step of Artel on made-up tokens, then the loss of those weights by both -> {artel, pytorch}. Ends the program
    where they differ by more than rounding."""
    with tempfile.TemporaryDirectory() as folder:
        window = int(config["model"]["max_position_embeddings"]) + 1
        batch = int(config["train"]["micro_batch_size"])
        tokens = Path(folder, "tokens.bin")
        size = 1 if config["model"]["vocab_size"] <= 256 else 2 if config["model"]["vocab_size"] <= 65536 else 4
        draw = random.Random(1)
        tokens.write_bytes(b"".join(draw.randrange(config["model"]["vocab_size"]).to_bytes(size, "little")
                                    for _ in range(window * batch)))
        dtype = f"uint{8 * size}"
        settings = {"run.directory": folder, "run.name": "verify", "train.steps": 1, "checkpoint.every": 1,
                    "validation.every": 1, "validation.batches": 1, "data.tokenizer": "bytes",
                    "data.train": f"[{{path: {tokens}, dtype: {dtype}}}]",
                    "data.validation": f"[{{path: {tokens}, dtype: {dtype}}}]"}
        command = [arguments.artel, "train", "-c", arguments.config, *artel_settings(arguments)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        checkpoint = Path(folder, "verify", "checkpoints", "step-00000001")
        for part in (command, [arguments.artel, "eval", "--checkpoint", str(checkpoint), "--batches", "1"],
                     [sys.executable, __file__, "--check-loss", str(checkpoint), "--batches", "1"]):
            done = subprocess.run(part, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode:
                sys.exit(f"{' '.join(part)} ended with {done.returncode}:\n{done.stderr}")
            if part[1] == "eval":
                ours = json.loads(done.stdout)["loss"]
        theirs = json.loads(done.stdout)["loss"]
    allowed = 1e-5 if precision == "fp32" else 2e-3
    if not abs(ours - theirs) <= allowed * abs(theirs):
        sys.exit(f"the two models differ: from the same weights Artel's loss is {ours}, PyTorch's {theirs}")
    return {"artel": ours, "pytorch": theirs}


def say(what):
    print(what, file=sys.stderr, flush=True)


def summary(rows, memory):
    rates = [row["tokens_per_second"] for row in rows]
    return {"tokens_per_second": statistics.median(rates), "all": rates,
            "peak_memory_bytes": max(row[memory] for row in rows)}


def benchmark(arguments):
    config = load_config(arguments.config)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: the load average is {load:.1f}; PyTorch's threads suffer most from other programs, so the ratio "
              "will flatter Artel", file=sys.stderr)
    precision = arguments.precision or str(config["train"]["precision"])
    if precision == "auto":
        precision = "bf16" if native_bf16() else "fp32"
    threads = arguments.threads or config["train"]["threads"]
    threads = len(os.sched_getaffinity(0)) if threads == "auto" else int(threads)
    environment, allocator = allocator_environment(arguments.allocator)
    environment |= {"OMP_NUM_THREADS": str(threads)}
    request = {"config": config, "precision": precision, "threads": threads, "warmup": arguments.warmup}
    losses = None if arguments.no_verify or arguments.peer_only else verify(arguments, config, precision)
    if losses:
        say(f"loss of the same weights: Artel {losses['artel']:.6f}, PyTorch {losses['pytorch']:.6f}")
    keys = ("variant", "experts", "run", "optimizer")
    if arguments.fixed:
        best = dict(zip(keys, arguments.fixed.split(",")))
        if len(arguments.fixed.split(",")) != len(keys):
            sys.exit(f"--fixed: required {','.join(keys)}, found {arguments.fixed}")
    else:
        best = run_peer({**request, "do": "tune", "steps": arguments.tune_steps}, environment)
    chosen = {key: best[key] for key in keys}
    measurement = {**request, **chosen, "do": "measure", "steps": arguments.steps}
    rows = {"artel": [], "pytorch": []}
    for _ in range(arguments.repeats):
        if not arguments.peer_only:
            rows["artel"].append(run_artel(arguments))
            say(f"Artel: {rows['artel'][-1]['tokens_per_second']:.1f} tokens/s")
        rows["pytorch"].append(run_peer(measurement, environment))
        say(f"PyTorch: {rows['pytorch'][-1]['tokens_per_second']:.1f} tokens/s")
    result = {"config": arguments.config, "precision": precision, "threads": threads,
              "load_average_before": load, "torch": rows["pytorch"][0]["torch"],
              "settings": {**chosen, "allocator": allocator}, "tuning": best.get("trials"), "losses": losses,
              "pytorch": {**summary(rows["pytorch"], "peak_memory_bytes"),
                          "product_ceiling_flops_per_second":
                              max(row["product_ceiling_flops_per_second"] for row in rows["pytorch"]),
                          "minor_faults_per_step": rows["pytorch"][-1]["minor_faults_per_step"]}}
    if not arguments.peer_only:
        result["artel"] = summary(rows["artel"], "resident_bytes")
        result["artel"]["fraction_of_ceiling"] = statistics.median(row["fraction_of_ceiling"] for row in rows["artel"])
        flops_per_token = rows["artel"][0]["model_flops_per_second"] / rows["artel"][0]["tokens_per_second"]
        result["pytorch"]["fraction_of_ceiling"] = (flops_per_token * result["pytorch"]["tokens_per_second"] /
                                                    result["pytorch"]["product_ceiling_flops_per_second"])
        result["memory_ratio"] = result["artel"]["peak_memory_bytes"] / result["pytorch"]["peak_memory_bytes"]
        result["ratio"] = result["artel"]["tokens_per_second"] / result["pytorch"]["tokens_per_second"]
    return result


def show(result):
    settings = ", ".join(f"{key} {value}" for key, value in result["settings"].items())
    print(f"{result['config']}: {result['precision']}, {result['threads']} threads, PyTorch {result['torch']} ({settings})")
    for name in ("artel", "pytorch"):
        if name in result:
            part = result[name]
            rates = ", ".join(f"{rate:.0f}" for rate in part["all"])
            print(f"  {name:8} {part['tokens_per_second']:9.0f} tokens/s  (runs: {rates})"
                  f"  peak memory {part['peak_memory_bytes'] / 2**20:.0f} MiB" +
                  (f"  {part['fraction_of_ceiling']:.0%} of its products' rate" if "fraction_of_ceiling" in part else ""))
    for trial in result["tuning"] or []:
        outcome = f"{trial['seconds']:.2f} s a step" if "seconds" in trial else f"does not run: {trial['failed']}"
        print(f"  PyTorch {trial['variant']}, experts {trial['experts']}, {trial['run']}: {outcome}")
    if result["losses"]:
        print(f"  loss of the same weights: Artel {result['losses']['artel']:.6f}, PyTorch {result['losses']['pytorch']:.6f}")
    if "ratio" in result:
        print(f"  Artel runs at {result['ratio']:.2f} times the speed of PyTorch in {result['memory_ratio']:.2f} of its memory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", default="configs/quickstart/uoe.yaml")
    parser.add_argument("--artel", default="build/release/artel", help="the executable")
    parser.add_argument("--peer-only", action="store_true", help="measure PyTorch alone")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each (default 3)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each per measurement (default 5)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them (default 2)")
    parser.add_argument("--tune-steps", type=int, default=2, help="timed steps per choice tried (default 2)")
    parser.add_argument("--fixed", metavar="VARIANT,EXPERTS,RUN,OPTIMIZER",
                        help="skip the trials: such as fp32,loop,eager,fused")
    parser.add_argument("--no-verify", action="store_true", help="do not compare losses of the same weights first")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: the config's, auto as Artel decides it")
    parser.add_argument("--threads", type=int, help="default: the config's; auto is every processor allowed")
    parser.add_argument("--allocator", choices=("auto", "preload", "glibc", "default"), default="auto",
                        help="PyTorch's: auto preloads jemalloc or tcmalloc where installed, else glibc that keeps memory")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--check-loss", metavar="CHECKPOINT", help="print a checkpoint's validation loss, then end")
    parser.add_argument("--data", help="token file for --check-loss (default: the first validation file of its config)")
    parser.add_argument("--batches", type=int, help="batches for --check-loss (default: the config's; 0: the whole file)")
    arguments = parser.parse_args()
    if arguments.check_loss:
        from checkpoint_loss import checkpoint_loss
        return print(json.dumps(checkpoint_loss(arguments.check_loss, arguments.data, arguments.batches)))
    result = benchmark(arguments)
    print(json.dumps(result)) if arguments.json else show(result)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"bench_vs_pytorch: {type(error).__name__}: {error}")

#!/usr/bin/env python3
"""Breaks kernels and requires that the tests on the emulated GPU notice: mutate_kernels.py BUILD [NAME...] [--seed N].

Each mutation replaces one piece of text in a copy of kernels/cuda, compiles the one file with the flags of the build,
links it with all the others and runs the tests of its family. It must fail, at least once in its runs. Prints a table
of what caught what; exits with 1 if a mutation survives or no longer fits the source.
"""
import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Mutation:
    name: str
    kind: str
    file: str      # of kernels/cuda, where `old` stands once; not an inline function that other sources have too
    old: str
    new: str
    source: str    # of kernels/cuda, compiled
    tests: str     # Catch2's filter
    checked: bool  # in the checking build
    options: tuple = ("--emulator-order", "random", "--emulator-streams", "lazy")


MUTATIONS = [
    Mutation("rms_norm", "dropped reduction", "rms_norm.cu", "    dot = simt::block_sum(dot, partials);",
             "    dot = simt::warp_sum(dot);", "rms_norm.cu", "gradients of rms_norm*", False),
    Mutation("attention", "off by one", "attention.cu",
             "scores[i] = i < num_visible ?", "scores[i] = i <= num_visible ?", "attention.cu",
             "attention and its gradient*", False),
    Mutation("attention_backward", "dropped barrier", "attention_backward.cu",
             "shared.columns[0] + warp_column, ld);\n    __syncthreads();\n    if (has_next)",
             "shared.columns[0] + warp_column, ld);\n    if (has_next)", "attention_backward.cu",
             "attention and its gradient*", True),
    Mutation("rope", "swapped index", "rope.cu", "x.high[j] * cos_sin.low[j] + x.low[j] * sine",
             "x.low[j] * cos_sin.low[j] + x.high[j] * sine", "rope.cu", "rope and its gradients*", False),
    Mutation("sort_by_expert", "dropped barrier", "sort_by_expert.cu",
             "  of_warps[warp][lane_of_warp()] = sum;\n  __syncthreads();", "  of_warps[warp][lane_of_warp()] = sum;",
             "sort_by_expert.cu", "sort_by_expert*", True),
    Mutation("gather_rows", "swapped index", "permutation.cu", "x + index[row] * x_stride", "x + row * x_stride",
             "permutation.cu", "gather_rows*", False),
    Mutation("embedding_backward", "off by one", "embedding.cu", "if (lane >= reach) through += before;",
             "if (lane > reach) through += before;", "embedding.cu", "embedding and its gradient*", False),
    Mutation("grouped_linear_backward_weight", "dropped barrier", "weight_gradient.cu",
             "    __syncthreads();  // the other stage", "    // the other stage", "weight_gradient.cu",
             "grouped_linear and its gradients*", True),
    Mutation("cross_entropy", "missing rescale", "cross_entropy.cu",
             "    if (best > largest) sum *= expf(largest - shift);\n", "", "cross_entropy.cu",
             "cross_entropy and its gradient*", False),
    Mutation("swiglu", "swapped index", "swiglu.cu",
             "    const Values up = *reinterpret_cast<const Values*>(gates + size + i);\n    Values out;",
             "    const Values up = *reinterpret_cast<const Values*>(gates + i);\n    Values out;", "swiglu.cu",
             "swiglu and its gradients*", False),
    Mutation("adamw", "off by one", "optimizer.cu", "  if (first + width <= n) {", "  if (first < n) {", "optimizer.cu",
             "adamw agrees*", True),
    Mutation("uoe_bids", "dropped barrier", "uoe.cu",
             "plan.gate_up, staged_gate_up);\n      __syncwarp();\n      bid_piece",
             "plan.gate_up, staged_gate_up);\n      bid_piece", "uoe.cu",
             "uoe_bids and its gradient agree with the reference for every shape", True),
    Mutation("download", "missing wait", "staging.cpp",
             "  owner_.wait_.wait(block_->done);\n", "",
             "staging.cpp", "upload and download*", False),
]


def command_of(build, target, ending):
    """The command of the build that makes `target` and whose text has `ending`."""
    lines = subprocess.run(["ninja", "-C", str(build), "-t", "commands", target], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    found = [line for line in lines if ending in line]
    if not found:
        raise AssertionError(f"required a command of {target} with {ending}, found none; build it first")
    return found[-1]


def mutated_tree(mutation, folder):
    """A copy of kernels/ with the mutation in it, an include root."""
    shutil.copytree(ROOT / "kernels", folder / "kernels")
    path = folder / "kernels/cuda" / mutation.file
    text = path.read_text()
    if text.count(mutation.old) != 1:
        raise AssertionError(f"{mutation.name}: required the text once in kernels/cuda/{mutation.file}, found "
                             f"{text.count(mutation.old)} times: {mutation.old!r}")
    path.write_text(text.replace(mutation.old, mutation.new))


def build_mutant(build, mutation, folder):
    """Compiles the one file and links it in the place of the sound one. Returns the executable."""
    executable = "tests/gpu/test_kernels_checked" if mutation.checked else "tests/gpu/test_kernels_emulated"
    source = ROOT / "kernels/cuda" / mutation.source
    command = command_of(build, executable, f"-c {source}")
    link = command_of(build, executable, f"-o {executable} ")
    made = re.search(r"-o (\S+\.o)(?=\s|$)", command.replace(".o.instrumented", ".o")).group(1)
    mutant = folder / "mutant.o"
    command = command.replace(str(source), str(folder / "kernels/cuda" / mutation.source)).replace(made, str(mutant))
    command = command.split(" && /usr/bin/cmake -E cmake_transform_depfile")[0]
    command = re.sub(rf"-I{re.escape(str(ROOT))}(?=\s)", f"-I{folder} -I{ROOT}", command)
    command = command.replace(" -Werror", "")  # what a mutation leaves unused
    link, num_replaced = re.subn(rf"(?<=\s){re.escape(relative(made, build))}(?=\s)", str(mutant), link)
    if num_replaced == 0:
        raise AssertionError(f"{mutation.name}: {made} is no part of {executable}")
    link = link.replace(f"-o {executable} ", f"-o {folder}/mutant ")
    for step in (command, link):
        done = subprocess.run(step, shell=True, cwd=build, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{mutation.name}: required a mutant that builds, found\n{done.stdout}{done.stderr}")
    return folder / "mutant"


def relative(path, build):
    return str(Path(path).relative_to(build)) if Path(path).is_absolute() and Path(path).is_relative_to(build) else path


def caught_by(executable, mutation, seed):
    """What noticed: the first report of the emulator, or the first result that was wrong; nothing if nothing did."""
    done = subprocess.run([str(executable), mutation.tests, *mutation.options, "--emulator-seed", str(seed)],
                          capture_output=True, text=True, errors="replace", check=False, timeout=400)
    output = " ".join((done.stdout + done.stderr).split())
    if "No test cases matched" in output or "No tests ran" in output:
        raise AssertionError(f"{mutation.name}: no test has the name {mutation.tests}")
    if done.returncode == 0:
        return None
    report = re.search(r"\b(memcheck|racecheck|initcheck|synccheck|deadlock|launch|ordering|stream|cublas): (.{0,140})",
                       output)
    if report:
        return f"{report[1]}: {report[2]}"
    wrong = re.search(r"(\w+): (\d+ of \d+ elements differ)", output)
    if wrong:
        return f"{wrong[1]}: {wrong[2]}"
    other = re.search(r"memory around \w+ was overwritten|SIG[A-Z]+", output)
    return other[0] if other else re.sub(r"[^ -~]+", "", output)[-200:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    survived = 0
    for mutation in MUTATIONS:
        if arguments.names and mutation.name not in arguments.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                mutated_tree(mutation, Path(folder))
                mutant = build_mutant(Path(arguments.build).resolve(), mutation, Path(folder))
                caught = next(filter(None, (caught_by(mutant, mutation, arguments.seed + i) for i in range(3))), None)
            except AssertionError as error:
                caught = None
                print(error, file=sys.stderr)
        survived += caught is None
        print(f"| `{mutation.name}` | {mutation.kind} | {caught or 'SURVIVED'} |", flush=True)
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()

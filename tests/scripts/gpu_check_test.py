#!/usr/bin/env python3
"""scripts/gpu_check.sh on a GPU that is emulated: gpu_check_test.py ARTEL FOLDER, where the emulated executables are.

Everything but the build is that of a real check, with tiny sizes: cmake is a script that puts the emulated executables
where the build would have put the real ones.
"""
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile

PROJECT = Path(__file__).resolve().parents[2]
TINY_MODEL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 1, "num_key_value_heads": 1,
              "head_dim": 32, "max_position_embeddings": 16, "num_experts": 4, "num_experts_per_tok": 2,
              "moe_intermediate_size": 32, "routing.uoe.routing_neurons": 4}
TINY = [f"--set model.{key}={value}" for key, value in TINY_MODEL.items()]
STAGES = ["build", "kernel tests", "model tests", "time kernels", "quickstart uoe", "quickstart moe", "1B model"]


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def lay_out(root, artel, executables):
    """A tree to check, and beside it the tools of a machine with a GPU; the folder of the latter."""
    tree, tools, built = root / "tree", root / "tools/bin", root / "built"
    for folder in (tree / "scripts", tools, built):
        folder.mkdir(parents=True)
    for part in ("configs", "docs", "src", "kernels", "tests"):
        (tree / part).symlink_to(PROJECT / part)
    for name in ("gpu_check.sh", "setup.sh"):
        (tree / "scripts" / name).write_bytes((PROJECT / "scripts" / name).read_bytes())
        (tree / "scripts" / name).chmod(0o755)
    script(tools / "nvidia-smi", 'case "$*" in *driver_version*) echo 1.2.3;; *compute_cap*) echo 9.0;; '
                                 '*) echo "Emulated \\"GPU\\"";; esac')
    script(tools / "nvcc", 'echo "Cuda compilation tools, release 13.0, V13.0.88"')
    script(tools / "cmake", f'[ "$1" = --build ] || exit 0; mkdir -p "$2/tests/gpu"; '
                            f'cp {built}/artel "$2/"; cp {built}/t* "$2/tests/gpu/"')
    # The bench looks for the ceiling of the device first, which takes an emulated one minutes: it runs on the CPU.
    script(built / "artel", f"""command=$1
for argument; do
  case $command,$argument in
    *,train.steps=300) argument=train.steps=4;;
    bench,50) argument=2;;
    bench,train.device=cuda) argument=train.device=cpu;;
  esac
  set -- "$@" "$argument"
  shift
done
tiny="{" ".join(TINY)}"
[ $command = train ] && exec {executables}/artel_emulated "$@" $tiny
exec {artel} "$@" $tiny --set model.vocab_size=64""")
    script(built / "test_kernels_cuda", f"exec {executables}/test_kernels_emulated 'swiglu*'")
    script(built / "test_model_cuda", f"exec {executables}/test_model_emulated 'A step that a GPU refuses*'")
    script(built / "time_kernels", f"""sed -E 's/^( *vocab_size:).*/\\1 64/; s/^( *hidden_size:).*/\\1 32/' "$1" >tiny.yaml
shift
exec {executables}/time_kernels_emulated tiny.yaml --tokens 16 --repeats 1 "$@" """)
    return tree, tools, built


def check(tree, tools):
    """Exit code, states and notes by stage from the table, and the JSON that was written."""
    done = subprocess.run([tree / "scripts/gpu_check.sh"], capture_output=True, text=True, check=False, timeout=280,
                          env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
    table = done.stdout.split("\n\n")[-1]
    rows = {name: re.search(rf"^{name} +(ok|FAILED|not run) +(.*)$", table, re.MULTILINE) for name in STAGES}
    result = json.loads((tree / "build/gpu-check/result.json").read_text())
    return done.returncode, rows, result, done.stdout + done.stderr


def require(condition, what):
    if not condition:
        print(f"required {what}")
        sys.exit(1)


def main():
    artel, executables = (Path(path).resolve() for path in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        tree, tools, built = lay_out(Path(folder), artel, executables)
        code, rows, result, output = check(tree, tools)
        require(code == 0 and all(row and row[1] == "ok" for row in rows.values()),
                f"every stage to be ok, found exit code {code} and\n{output}")
        require([stage["name"] for stage in result["stages"]] == STAGES and result["device"] == 'Emulated "GPU"' and
                result["driver"] == "1.2.3" and result["toolkit"] == "13.0",
                f"stages, device, driver and toolkit in the JSON, found {result}")
        names = {kernel["name"] for kernel in result["kernels"]["kernels"]}
        require({"attention", "uoe_bids", "adamw"} <= names and all(name in output for name in names),
                f"the time of every kernel in table and JSON, found {names}")
        require(result["model_1b"]["tokens_per_second"] > 0, "the speed of the 1B model")
        for name in ("quickstart uoe", "quickstart moe"):
            require(re.search(r"loss \d+\.\d+ to \d+\.\d+", rows[name][2]), f"two losses, found {rows[name][2]}")

        script(built / "test_model_cuda", "echo what was wrong; echo; exit 3")
        code, rows, result, output = check(tree, tools)
        require(code == 1 and rows["model tests"][1] == "FAILED" and "what was wrong" in rows["model tests"][2] and
                rows["1B model"][1] == "ok", f"one failed stage and the ones after it, found {code} and\n{output}")
        require({stage["state"] for stage in result["stages"]} == {"ok", "FAILED"}, f"the same in JSON, found {result}")

        script(tools / "nvidia-smi", "exit 9")
        code, rows, result, output = check(tree, tools)
        require(code == 1 and result["device"] == "no GPU" and "required a CUDA toolkit and a GPU" in output,
                f"an error without a GPU, found {code} and\n{output}")
    print("passed")


if __name__ == "__main__":
    main()

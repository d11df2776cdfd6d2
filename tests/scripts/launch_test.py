#!/usr/bin/env python3
"""scripts/launch/mpirun.sh with a launcher that is a script of a few lines."""

import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/launch/mpirun.sh"


def launch(folder, launcher):
    """The script's exit code, what it printed, and seconds, when `mpirun` does what the lines say."""
    path = Path(folder) / "mpirun"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{launcher}\n')
    path.chmod(0o755)
    start = time.monotonic()
    done = subprocess.run([SCRIPT, "-n", "2", "--", "train", "-c", "x.yaml"], capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "ARTEL": "the-executable"},
                          timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def require(condition, what):
    if not condition:
        print(f"required {what}")
        sys.exit(1)


def main():
    with tempfile.TemporaryDirectory() as folder:
        code, output, _ = launch(folder, 'echo "found $CUDA_MODULE_LOADING $*"; exit 3')
        require(code == 3 and "found EAGER -n 2 the-executable train -c x.yaml" in output,
                f"the launcher's environment, arguments and exit code, found {code} and {output}")
        code, output, seconds = launch(folder, "sleep 1 & exec sleep 1000")
        require(code == 137 and "every rank has ended" in output and seconds < 30,
                f"an end of the launcher without ranks, found {code}, {output}, {seconds} s")
        code, output, seconds = launch(folder, "sleep 14 & wait; exit 0")
        require(code == 0 and seconds > 13, f"a launcher with a rank to be left alone, found {code}, {output}")
    print("passed")


if __name__ == "__main__":
    main()

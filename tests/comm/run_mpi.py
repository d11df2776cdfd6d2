#!/usr/bin/env python3
"""Runs mpi_ranks or nccl_ranks under a launcher and checks how it ended:
run_mpi.py MPIEXEC NUM_RANKS MPI_RANKS WHAT [OPTION...]."""

import subprocess
import sys
import time

# What the ranks must have written, and whether they must have succeeded. Errors must come within LIMIT seconds: the
# timeout of the ranks is 2 s, and the late rank would sleep for 30.
EXPECTED = {
    "cases": (True, ["cases passed on {n} ranks of"]),
    "late": (False, ["within 2 s, found nothing from rank {last};", "group 'world'", "all_reduce of 300000 f32",
                     "(sum, gradients)", "at step 7"]),
    "different": (False, ["barrier (control)", "all_reduce of 300000 f32", "at step 7"]),
    "longer": (False, ["of 400000 f32", "of 300000 f32", "at step 7"]),
    "failing": (False, ["rank {last}: [disk] required room, found none"]),
    "killed": (False, ["signal 9"]),
    "stuck": (False, ["required every rank of group 'world' to take part in all_reduce of 300000 f32 (sum, gradients)",
                      "within 2 s, found it started by all of them, but not at its end", "this is rank", "at step 7"]),
    "broken": (False, ["rank {last}: [communication] required all_reduce of 300000 f32 (sum, gradients) to succeed, found: "
                       "a transfer: ", "this is rank {last} in group 'world', operation ",
                       "rank 0: [communication] required every rank of group 'world' to take part in all_reduce of 300000 "
                       "f32 (sum, gradients) within 2 s, found it started by all of them, but not at its end; this is "
                       "rank 0 in group 'world', operation ", "at step 7"]),
}
LIMIT = 15


def options(mpiexec):
    """What lets the ranks run as root and outnumber the cores."""
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False).stdout
    if "Open MPI" in version or "OpenRTE" in version:
        return ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
    return []


def main():
    mpiexec, num_ranks, executable, what, *others = sys.argv[1:]
    succeeds, texts = EXPECTED[what]
    command = [mpiexec, *options(mpiexec), "-n", num_ranks, executable, what, *others]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    seconds = time.monotonic() - start
    output = done.stdout + done.stderr
    faults = []
    if (done.returncode == 0) != succeeds:
        faults.append(f"required {'success' if succeeds else 'a failure'}, found exit code {done.returncode}")
    if not succeeds and seconds > LIMIT:
        faults.append(f"required an end within {LIMIT} s, found {seconds:.0f} s")
    for text in texts:
        text = text.format(n=num_ranks, last=int(num_ranks) - 1)
        if text not in output:
            faults.append(f"required the text '{text}', found none")
    print(output)
    print("\n".join(faults) if faults else f"{what} on {num_ranks} ranks: passed in {seconds:.1f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

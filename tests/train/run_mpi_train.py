#!/usr/bin/env python3
"""Trains under a launcher with the executable itself: run_mpi_train.py MPIEXEC ARTEL WHAT [TIMES [SEED]].

    equal   two ranks with experts in halves have the losses of one process, and its checkpoint goes on alone
    stop    SIGTERM to one rank: all save the same step and end with exit code 0
    stall   SIGSTOP to one rank: the others end within the timeout, naming the rank, the operation and the step
    lost    SIGKILL or SIGSTOP to one rank of four at a random moment of the start-up, of a step or of a save, TIMES
            times: the launcher ends with an error within the limit, of a rank that stands still it is said which, the
            newest checkpoint verifies, and the run goes on from it to the end with the losses of a run without a break
"""

import json
import os
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

TIMEOUT = 5    # seconds that ranks wait for each other
LIMIT = 30     # seconds after which a job that lost a rank must have ended
STEPS = 40
MOMENTS = ("start-up", "step", "save")
CONFIG = """
run: {{name: r, directory: {folder}, tensorboard: false}}
model: {{vocab_size: 256, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
  max_position_embeddings: 64, num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 64,
  shared_expert_intermediate_size: 32, router_aux_loss_scope: sequence, routing: {{type: uoe}}}}
data: {{train: [{{path: {folder}/train.bin}}], validation: [{{path: {folder}/train.bin}}]}}
train: {{steps: {steps}, global_batch_size: 8, micro_batch_size: {micro}, precision: fp32, threads: 1}}
validation: {{every: 0, sample_tokens: 0}}
checkpoint: {{every: 4, keep: 3}}
parallel: {{expert: {expert}, timeout_seconds: {timeout}}}
"""


def launcher(mpiexec):
    """mpiexec with what lets ranks run as root, outnumber the cores, and finish a step after SIGTERM."""
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False).stdout
    if "Open MPI" in version or "OpenRTE" in version:
        return [mpiexec, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
    return [mpiexec]


class Run:
    """A run directory of its own with data and configs for one process and for several ranks."""

    def __init__(self, mpiexec, artel, folder, steps=STEPS):
        self.launcher, self.artel, self.folder = launcher(mpiexec), artel, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        generator = random.Random(7)
        (self.folder / "train.bin").write_bytes(bytes(generator.randrange(97, 110) for _ in range(60000)))
        for name, ranks, expert in (("one", 1, 1), ("two", 2, 2), ("four", 4, 2)):
            (self.folder / f"{name}.yaml").write_text(CONFIG.format(
                folder=folder, steps=steps, micro=8 // ranks, expert=expert, timeout=TIMEOUT))

    def command(self, ranks):
        name = {1: "one", 2: "two", 4: "four"}[ranks]
        train = [self.artel, "train", "-c", str(self.folder / f"{name}.yaml")]
        return train if ranks == 1 else [*self.launcher, "-n", str(ranks), *train]

    def start(self, ranks):
        return subprocess.Popen(self.command(ranks), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                start_new_session=True)

    def finish(self, ranks):
        process = self.start(ranks)
        output, _ = process.communicate(timeout=280)
        require(process.returncode == 0, f"{ranks} ranks to finish, found exit code {process.returncode}:\n{output}")

    def losses(self):
        losses = {}
        for line in (self.folder / "r/metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if "loss" in row:
                losses[row["step"]] = row["loss"]
        return losses

    def step(self):
        path = self.folder / "r/metrics.jsonl"
        return path.read_text().count('"loss"') if path.exists() else 0

    def is_saving(self):
        checkpoints = self.folder / "r/checkpoints"
        return checkpoints.is_dir() and any(name.startswith(".tmp-") for name in os.listdir(checkpoints))

    def verify(self):
        """The newest checkpoint, if there is one, is whole."""
        checkpoints = self.folder / "r/checkpoints"
        if not checkpoints.is_dir() or not any(path.name.startswith("step-") for path in checkpoints.iterdir()):
            return
        done = subprocess.run([self.artel, "checkpoint", "verify", str(self.folder / "r")], capture_output=True,
                              text=True, check=False)
        require(done.returncode == 0, f"a newest checkpoint that verifies, found {done.stdout}{done.stderr}")


def require(condition, what):
    if not condition:
        raise AssertionError(f"required {what}")


def ranks_of(launcher_process, executable):
    """{rank: process id} of the ranks that a launcher has started so far."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wait_channel(entry.name).startswith("Z"):
                continue
            if os.getsid(int(entry.name)) != launcher_process.pid and not belongs(entry, launcher_process.pid):
                continue
            if os.readlink(entry / "exe") != os.path.realpath(executable):
                continue
            variables = dict(item.split("=", 1) for item in (entry / "environ").read_text().split("\0") if "=" in item)
        except (OSError, ProcessLookupError):
            continue
        rank = variables.get("OMPI_COMM_WORLD_RANK", variables.get("PMI_RANK"))
        if rank is not None:
            found[int(rank)] = int(entry.name)
    return found


def wait_channel(pid):
    """State and wait channel of a process, for messages."""
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return f"{state} {(Path('/proc') / str(pid) / 'wchan').read_text()}"
    except OSError:
        return "gone"


def belongs(entry, ancestor):
    """Whether a process of /proc descends from `ancestor`."""
    pid = int(entry.name)
    while pid > 1:
        pid = int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        if pid == ancestor:
            return True
    return False


def wait_for(condition, seconds, what, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"{what} within {seconds} s")
        time.sleep(pause)


def all_ranks(process, run, count):
    wait_for(lambda: process.poll() is not None or len(ranks_of(process, run.artel)) == count, 60, f"{count} ranks")
    return ranks_of(process, run.artel)


def close_to(actual, expected):
    require(actual.keys() == expected.keys(), f"steps {len(expected)}, found {len(actual)}")
    for step, loss in expected.items():
        require(abs(actual[step] - loss) <= 1e-5 * loss, f"loss {loss} at step {step}, found {actual[step]}")


def check_equal(make):
    alone, two = make("alone", 12), make("two", 12)
    alone.finish(1)
    two.finish(2)
    close_to(two.losses(), alone.losses())
    two.verify()
    for path in two.folder.glob("*.yaml"):
        path.write_text(path.read_text().replace("steps: 12", "steps: 16"))
        (alone.folder / path.name).write_text((alone.folder / path.name).read_text().replace("steps: 12", "steps: 16"))
    alone.finish(1)
    two.finish(1)
    close_to(two.losses(), alone.losses())


def check_stop(make):
    run = make("stop", 100000)
    process = run.start(2)
    ranks = all_ranks(process, run, 2)
    wait_for(lambda: run.step() >= 3, 60, "three steps")
    os.kill(ranks[1], signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    require(process.returncode == 0, f"exit code 0 after SIGTERM, found {process.returncode}:\n{output}")
    require("to go on: " in output, f"the command to go on, found\n{output}")
    run.verify()


def check_stall(make):
    run = make("stall", 100000)
    process = run.start(2)
    ranks = all_ranks(process, run, 2)
    wait_for(lambda: run.step() >= 3, 60, "three steps")
    os.kill(ranks[1], signal.SIGSTOP)
    start = time.monotonic()
    try:
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        try:
            os.kill(ranks[1], signal.SIGCONT)
        except ProcessLookupError:
            pass
    require(process.returncode != 0, "an exit code other than 0")
    require(time.monotonic() - start < LIMIT, f"an end within {LIMIT} s")
    for text in (r"found (nothing from rank 1|its messages to rank 1 not taken);", f"within {TIMEOUT} s", "at step"):
        require(re.search(text, output), f"the text '{text}', found\n{output}")
    run.verify()


def wait_for_moment(moment, process, run, victim, generator):
    """Waits for a random moment of the given kind; the process id of the victim, or None when it has ended."""
    def ended():
        return process.poll() is not None
    if moment == "start-up":
        wait_for(lambda: ended() or victim in ranks_of(process, run.artel), 60, "the rank's start", 0.0)
        pid = ranks_of(process, run.artel).get(victim)
        time.sleep(generator.random() * 0.6)
        return pid
    begin = run.step() + generator.randrange(0, 8)
    pid = all_ranks(process, run, 4).get(victim)
    if moment == "step":
        wait_for(lambda: ended() or run.step() >= begin, 120, "the moment of the signal")
        time.sleep(generator.random() * 0.2)
    else:
        wait_for(lambda: ended() or run.step() >= begin and run.is_saving(), 120, "the begin of a save", 0.0)
        time.sleep(generator.random() * 0.01)
    return None if ended() else pid


def lose_rank(run, number, moment, victim, generator):
    """One job with a rank that gets a signal; what it printed, or None when it had ended before."""
    process = run.start(4)
    pid = wait_for_moment(moment, process, run, victim, generator)
    if pid is not None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    try:
        output, _ = process.communicate(timeout=LIMIT)
        wait_for(lambda: not ranks_of(process, run.artel), 10, "the end of every rank")
    except subprocess.TimeoutExpired:
        left = {rank: wait_channel(one) for rank, one in ranks_of(process, run.artel).items()}
        process.kill()
        for survivor in ranks_of(process, run.artel).values():
            os.kill(survivor, signal.SIGKILL)
        output, _ = process.communicate()
        if list(left) == [victim] and "finished: " in output:
            return None  # stopped on its way out, after all that ranks wait for
        # Open MPI 4's launcher can wait for itself for good, with all its ranks gone, when one died while it connected.
        require(not left, f"an end within {LIMIT} s of {number.name} to rank {victim} in {moment}, found that ranks "
                f"{left} go on:\n{output}")
        print(f"the launcher stayed after {number.name} in {moment}, with every rank gone")
    finally:
        for survivor in ranks_of(process, run.artel).values():
            os.kill(survivor, signal.SIGKILL)
    run.verify()
    return None if process.returncode == 0 else output


def check_lost(make, times, seed):
    generator = random.Random(seed)
    print(f"seed {seed}")
    whole = make("whole", STEPS)
    whole.finish(1)
    expected = whole.losses()
    kinds = [(number, moment) for number in (signal.SIGKILL, signal.SIGSTOP) for moment in MOMENTS]
    generator.shuffle(kinds)
    run, counts = make("broken", STEPS), dict.fromkeys(kinds, 0)
    for i in range(times):
        number, moment = kinds[i % len(kinds)]
        victim = generator.randrange(4)
        output = lose_rank(run, number, moment, victim, generator)
        if output is None:  # it finished: begin again
            close_to(run.losses(), expected)
            run = make(f"broken{i}", STEPS)
            continue
        counts[number, moment] += 1
        if number == signal.SIGSTOP:
            named = rf"(nothing from|messages to) ranks? ([0-9]+, )*{victim}\b.* in group .*, operation "
            unnamed = r"take part in MPI_(Init|Comm_split|Comm_free|Finalize) within"
            require(re.search(f"{named}|{unnamed}", output), f"rank {victim} to be named in {moment}, found\n{output}")
    require(sum(counts.values()) > 0 or times == 0, "at least one job that lost a rank")
    run.finish(1)
    close_to(run.losses(), expected)
    for (number, moment), count in sorted(counts.items()):
        print(f"{number.name} in {moment}: {count}")
    print(f"{sum(counts.values())} of {times} jobs lost a rank")


def commit_seed():
    """A number from the commit that is tested."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", here, "rev-parse", "--short=6", "HEAD"], capture_output=True, text=True,
                              check=True)
    except (OSError, subprocess.CalledProcessError):
        return 1
    return int(done.stdout, 16)


def main():
    mpiexec, artel, what = sys.argv[1:4]
    times = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else commit_seed()
    with tempfile.TemporaryDirectory() as folder:
        def make(name, steps):
            return Run(mpiexec, artel, f"{folder}/{name}", steps)
        try:
            if what == "lost":
                check_lost(make, times, seed)
            else:
                {"equal": check_equal, "stop": check_stop, "stall": check_stall}[what](make)
        except AssertionError as error:
            print(error)
            return 1
    print(f"{what}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

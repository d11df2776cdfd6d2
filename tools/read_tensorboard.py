#!/usr/bin/env python3
"""Prints what TensorBoard reads from the event files of a run, as JSON.

    python3 tools/read_tensorboard.py runs/NAME              # {"scalars": {tag: [[step, value], …]}, "histograms": {…}}
    python3 tools/read_tensorboard.py runs/NAME --metrics    # compare with metrics.jsonl as well; exit code 1 on a difference

Needs `pip install tensorboard`. A histogram is [step, [[left, right, count], …]]. The reader is TensorBoard's own, with its
rule that a resumed run takes the place of the steps that it does again.
"""

import argparse
import json
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing import event_accumulator


def read(directory):
    everything = {event_accumulator.SCALARS: 0, event_accumulator.HISTOGRAMS: 0, event_accumulator.TENSORS: 0}
    reader = event_accumulator.EventAccumulator(str(directory), size_guidance=everything)
    reader.Reload()
    tags = reader.Tags()
    scalars = {tag: [[e.step, e.value] for e in reader.Scalars(tag)] for tag in tags["scalars"]}
    histograms = {}
    for tag in tags["histograms"]:
        histograms[tag] = []
        for event in reader.Histograms(tag):
            value = event.histogram_value
            lefts = [value.min] + list(value.bucket_limit[:-1])
            histograms[tag].append([event.step, [list(b) for b in zip(lefts, value.bucket_limit, value.bucket)]])
    return {"scalars": scalars, "histograms": histograms}


def numbers(members, left_out):
    """The members that are numbers; what is not finite stands as null in JSON."""
    return {key: math.nan if value is None else value for key, value in members.items()
            if value is None or isinstance(value, (int, float)) and not isinstance(value, bool) and key not in left_out}


def expected_of_row(row):
    """The scalars that a row of metrics.jsonl stands for."""
    values = numbers(row, ("step", "tokens", "seconds", "attempt"))
    values.update({f"val_loss/{name}": value for name, value in numbers(row.get("sets", {}), ()).items()})
    for layer in row.get("moe", []):
        values.update({f"{key}/layer_{layer['layer']:02d}": value for key, value in numbers(layer, ("layer",)).items()})
    return values


def differences(shown, metrics):
    """Compares with the last attempt at every step in metrics.jsonl."""
    newest = {}
    restarts = []
    for line in Path(metrics).read_text().splitlines():
        row = json.loads(line)
        if row.get("event") == "resumed":
            restarts.append((row["attempt"], row["step"]))
        if "event" in row:
            continue
        for tag, value in expected_of_row(row).items():
            newest.setdefault(tag, {})[row["step"]] = (row["attempt"], value)
    for attempt, step in restarts:
        first = step + 1 if step > 0 else 0
        for values in newest.values():
            for done in [s for s, (a, _) in values.items() if a < attempt and s >= first]:
                del values[done]
    for tag in sorted(set(newest) | set(shown["scalars"])):
        expected = [[step, value] for step, (_, value) in sorted(newest.get(tag, {}).items())]
        found = shown["scalars"].get(tag, [])
        if [step for step, _ in expected] != [step for step, _ in found]:
            yield f"{tag}: required steps {[s for s, _ in expected]}, found {[s for s, _ in found]}"
            continue
        for (step, want), (_, got) in zip(expected, found):
            rounded = struct.unpack("f", struct.pack("f", want))[0]
            if rounded != got and not (math.isnan(want) and not math.isfinite(got)):
                yield f"{tag} at step {step}: required {rounded}, found {got}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--metrics", action="store_true", help="compare with metrics.jsonl")
    arguments = parser.parse_args()
    shown = read(arguments.run / "tensorboard")
    print(json.dumps(shown))
    if arguments.metrics:
        found = list(differences(shown, arguments.run / "metrics.jsonl"))
        for difference in found:
            print(difference, file=sys.stderr)
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

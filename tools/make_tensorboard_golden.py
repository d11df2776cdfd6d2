#!/usr/bin/env python3
"""Writes tests/golden/tensorboard.tfevents with TensorBoard's own record writer and messages.

Needs `pip install tensorboard`. tests/train/event_file_test.cpp writes the same events and compares the bytes.
"""

import argparse
import sys
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = Path(__file__).resolve().parent.parent / "tests/golden/tensorboard.tfevents"


def scalar(tag, value):
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def load_histogram(tag, load):
    """Expert i is the interval from i to i + 1; min and max are the outer edges of the experts with tokens."""
    chosen = [i for i, count in enumerate(load) if count > 0]
    middles = [(i + 0.5, count) for i, count in enumerate(load)]
    histogram = summary_pb2.HistogramProto(
        min=min(chosen, default=0), max=max(chosen, default=-1) + 1, num=sum(load),
        sum=sum(middle * count for middle, count in middles),
        sum_squares=sum(middle * middle * count for middle, count in middles),
        bucket_limit=[i + 1 for i in range(len(load))], bucket=load)
    return summary_pb2.Summary.Value(tag=tag, histo=histogram)


def events():
    yield event_pb2.Event(wall_time=1.5, file_version="brain.Event:2")
    yield event_pb2.Event(wall_time=1.5, step=9,
                          session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    rows = [
        (2.25, 0, [scalar("val_loss", 5.5), scalar("aux_loss", 0.0)]),
        (1700000000.125, 300, [scalar("loss", 0.1), scalar("grad_norm", float("inf")),
                               load_histogram("expert_load/layer_00", [0, 5, 0, 3, 0])]),
        (1700000001.0, 10**12, [load_histogram("expert_load/layer_00", [0, 0])]),
    ]
    for wall_time, step, values in rows:
        yield event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=GOLDEN)
    arguments = parser.parse_args()
    with open(arguments.output, "wb") as file:
        writer = RecordWriter(file)
        for event in events():
            writer.write(event.SerializeToString())
    print(arguments.output, file=sys.stderr)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs tools/export_metrics.py on made-up rows, with stubs for the packages wandb and mlflow that write down what they
are given."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "export_metrics.py"

ROWS = [
    {"step": 0, "tokens": 0, "val_loss": 5.5, "sets": {"web": 5.5}, "attempt": 1, "sample": "text"},
    {"step": 1, "tokens": 8, "loss": 5.0, "lr": 0.1, "attempt": 1,
     "moe": [{"layer": 0, "entropy": 0.9, "load": [3, 5]}, {"layer": 1, "entropy": 0.8}]},
    {"step": 2, "tokens": 16, "loss": 4.0, "attempt": 1},
    {"step": 3, "tokens": 24, "loss": 3.5},
    {"step": 4, "tokens": 32, "loss": 2.0, "attempt": 1},
    {"step": 1, "event": "resumed", "attempt": 2},
    {"step": 2, "tokens": 16, "loss": 4.5, "grad_norm": None, "attempt": 2},
    {"step": 3, "tokens": 24, "loss": 3.25, "attempt": 2},
    {"step": 3, "tokens": 24, "loss": 3.0, "grad_norm": float("inf"), "finite": True, "attempt": 2},
    {"step": 3, "event": "spike", "quantity": "loss", "loss": 9.0, "attempt": 2},
    {"step": 2, "tokens": 16, "val_loss": 4.25, "bits_per_byte": {"web": 1.5},
     "tasks": {"swag": {"examples": 4, "accuracy": 0.25}}, "attempt": 2},
]

STUB_WANDB = """
import json, os
out = open(os.environ["STUB_OUT"], "a")
class Run:
    def log(self, metrics, step): print(json.dumps([step, metrics]), file=out)
    def finish(self): out.close()
def init(**arguments):
    print(json.dumps(arguments), file=out)
    return Run()
"""

STUB_MLFLOW = """
import contextlib, json, os
out = open(os.environ["STUB_OUT"], "a")
def note(*what): print(json.dumps(what), file=out, flush=True)
def set_tracking_uri(uri): note("uri", uri)
def set_experiment(name): note("experiment", name)
def log_params(params): note("params", params)
def log_metrics(metrics, step): note(step, metrics)
@contextlib.contextmanager
def start_run(run_name):
    note("run", run_name)
    yield
"""


class ExportMetrics(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.run_path = Path(self.folder.name) / "r"
        self.run_path.mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        (self.run_path / "metrics.jsonl").write_text(lines + '{"step": 3, "lo')
        (self.run_path / "summary.json").write_text(
            json.dumps({"name": "tiny", "config": {"model": {"hidden_size": 8}, "data": {"train": [1]}}}))
        self.out = Path(self.folder.name) / "out"
        for name, text in (("wandb", STUB_WANDB), ("mlflow", STUB_MLFLOW)):
            (Path(self.folder.name) / f"{name}.py").write_text(text)

    def tearDown(self):
        self.folder.cleanup()

    def environment(self):
        return dict(os.environ, PYTHONPATH=self.folder.name, STUB_OUT=str(self.out))

    def export(self, *arguments):
        return subprocess.run([sys.executable, str(TOOL), str(self.run_path), *arguments], env=self.environment(),
                              capture_output=True, text=True)

    def check_steps(self, steps):
        self.assertEqual([step for step, _ in steps], [0, 1, 2, 3])
        metrics = dict(steps)
        self.assertEqual(metrics[0], {"tokens": 0, "val_loss": 5.5, "sets/web": 5.5})
        self.assertEqual(metrics[1], {"tokens": 8, "loss": 5.0, "lr": 0.1, "moe/0/entropy": 0.9, "moe/1/entropy": 0.8})
        self.assertEqual(metrics[2], {"tokens": 16, "loss": 4.5, "val_loss": 4.25, "bits_per_byte/web": 1.5,
                                      "tasks/swag/examples": 4, "tasks/swag/accuracy": 0.25})
        self.assertEqual(metrics[3], {"tokens": 24, "loss": 3.0})

    def test_steps_behind_a_checkpoint_that_was_gone_back_to(self):
        """The second attempt has logged nothing of steps 2 to 4 yet."""
        rows = [row for row in ROWS if row.get("attempt", 1) == 1 or row.get("event") == "resumed"]
        (self.run_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = self.export("--to", "wandb", "--dry-run")
        self.assertEqual([json.loads(line)["step"] for line in done.stdout.splitlines()], [0, 1])

    def test_dry_run(self):
        done = self.export("--to", "wandb", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.check_steps([(row["step"], row["metrics"]) for row in rows])
        self.assertFalse(self.out.exists())

    def test_wandb(self):
        done = self.export("--to", "wandb", "--project", "p")
        self.assertEqual(done.returncode, 0, done.stderr)
        start, *calls = [json.loads(line) for line in self.out.read_text().splitlines()]
        self.assertEqual((start["project"], start["name"], start["resume"]), ("p", "tiny", "allow"))
        self.assertEqual(start["config"]["model"], {"hidden_size": 8})
        self.check_steps(calls)
        # Sent again from elsewhere, it is the same run there.
        self.out.unlink()
        relative = subprocess.run([sys.executable, str(TOOL), "r", "--to", "wandb"], cwd=self.folder.name,
                                  env=self.environment(), capture_output=True, text=True)
        self.assertEqual(relative.returncode, 0, relative.stderr)
        self.assertEqual(json.loads(self.out.read_text().splitlines()[0])["id"], start["id"])

    def test_mlflow(self):
        done = self.export("--to", "mlflow", "--tracking-uri", "file:x")
        self.assertEqual(done.returncode, 0, done.stderr)
        calls = [json.loads(line) for line in self.out.read_text().splitlines()]
        self.assertEqual(calls[:3], [["uri", "file:x"], ["experiment", "artel"], ["run", "tiny"]])
        self.assertEqual(calls[3], ["params", {"model.hidden_size": 8, "data.train": "[1]"}])
        self.check_steps(calls[4:])

    def test_bad_input(self):
        metrics = self.run_path / "metrics.jsonl"
        for text, message in (("", "required rows with a loss"), ("{oops\n{}\n", ":1: required a JSON object")):
            metrics.write_text(text)
            done = self.export("--to", "wandb")
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
        metrics.unlink()
        self.assertIn("required the metrics of a run", self.export("--to", "mlflow").stderr)

    def test_without_the_package(self):
        (Path(self.folder.name) / "mlflow.py").write_text("raise ImportError('no mlflow here')")
        done = self.export("--to", "mlflow")
        self.assertEqual(done.returncode, 1)
        self.assertIn("required the Python package mlflow", done.stderr)


if __name__ == "__main__":
    unittest.main()

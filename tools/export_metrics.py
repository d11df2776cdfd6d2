#!/usr/bin/env python3
"""Sends a run's metrics.jsonl to Weights & Biases or MLflow.

    tools/export_metrics.py RUN --to wandb [--project NAME] [--dry-run]
    tools/export_metrics.py RUN --to mlflow [--project NAME] [--tracking-uri URI] [--dry-run]

One call for each step, in ascending order, with everything that training and validation rows of that step hold. An
attempt that went on from a checkpoint takes the place of what earlier ones did behind it, also where it has not come as
far. Steps that were sent before are sent again: W&B is resumed under an id made of the run's directory, MLflow gets a
run of its own. Values that are not finite, texts and lists are left out; lists of layers
("moe") become moe/LAYER/NAME. The configuration goes along. --dry-run prints the calls as JSON lines and needs neither
package.
"""

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

SKIPPED = {"step", "attempt", "event", "sample", "expert_counts"}


def fail(text):
    sys.exit(f"export_metrics: {text}")


def read_rows(path):
    """Rows with a loss or val_loss and those that say where an attempt went on, in the order of the file. A last line
    that was cut short is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        fail(f"{path}: required the metrics of a run, found none ({error.strerror})")
    rows = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                break
            fail(f"{path}:{number}: required a JSON object, found {line[:60]!r}")
        if row.get("event") == "resumed" or "event" not in row and ("loss" in row or "val_loss" in row):
            rows.append(row)
    if not any("event" not in row for row in rows):
        fail(f"{path}: required rows with a loss, found none")
    return rows


def flatten(value, name=""):
    """(name, number) of everything finite in a row."""
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        if math.isfinite(value):
            yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if name or key not in SKIPPED:
                yield from flatten(item, f"{name}/{key}" if name else key)
    elif isinstance(value, list) and name == "moe":
        for layer in value:
            items = {key: item for key, item in layer.items() if key not in ("layer", "load")}
            yield from flatten(items, f"moe/{layer['layer']}")


def metrics_by_step(rows):
    """[(step, {name: number})] in ascending order, without the steps behind which a later attempt went on."""
    start = {}  # of an attempt: the last step that it did not do
    for row in rows:
        attempt, before = row.get("attempt", 1), row["step"] - ("loss" in row)
        start[attempt] = min(start.get(attempt, before), before)
    steps = {}
    for row in sorted(rows, key=lambda row: (row["step"], "val_loss" in row)):
        attempt = row.get("attempt", 1)
        if "event" not in row and not any(later > attempt and row["step"] > step for later, step in start.items()):
            steps.setdefault(row["step"], {}).update(flatten(row))
    return sorted(steps.items())


def read_summary(run):
    path = run / "summary.json"
    if not path.exists():
        return run.name, {}
    summary = json.loads(path.read_text(encoding="utf-8"))
    return summary.get("name", run.name), summary.get("config", {})


def send_to_wandb(arguments, name, config, steps):
    import wandb

    run_id = hashlib.sha1(str(arguments.run.resolve()).encode()).hexdigest()[:16]
    run = wandb.init(project=arguments.project, name=name, id=run_id, resume="allow", config=config)
    for step, metrics in steps:
        run.log(metrics, step=step)
    run.finish()


def flat_config(value, name=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat_config(item, f"{name}.{key}" if name else key)
    else:
        yield name, value if isinstance(value, (int, float, str, bool)) else json.dumps(value)


def send_to_mlflow(arguments, name, config, steps):
    import mlflow

    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment(arguments.project)
    with mlflow.start_run(run_name=name):
        mlflow.log_params(dict(flat_config(config)))
        for step, metrics in steps:
            mlflow.log_metrics(metrics, step=step)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--to", choices=["wandb", "mlflow"], required=True)
    parser.add_argument("--project", default="artel", help="W&B project or MLflow experiment (artel)")
    parser.add_argument("--tracking-uri", help="MLflow's server or directory")
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent")
    arguments = parser.parse_args()
    steps = metrics_by_step(read_rows(arguments.run / "metrics.jsonl"))
    name, config = read_summary(arguments.run)
    if arguments.dry_run:
        for step, metrics in steps:
            print(json.dumps({"step": step, "metrics": metrics}))
        return
    try:
        {"wandb": send_to_wandb, "mlflow": send_to_mlflow}[arguments.to](arguments, name, config, steps)
    except ImportError as error:
        fail(f"required the Python package {arguments.to}, found none ({error}); install it, or look with --dry-run")
    print(f"export_metrics: {len(steps)} steps of {name} sent to {arguments.to}")


if __name__ == "__main__":
    main()

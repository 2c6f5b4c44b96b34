#!/usr/bin/env python3
"""Follows the metrics of a run and logs them to Weights & Biases or MLflow.

  launch/follow/follow_metrics.py runs/gpt2-3m-bible --to wandb --project bible
  MLFLOW_TRACKING_URI=http://host:5000 launch/follow/follow_metrics.py runs/gpt2-3m-bible --to mlflow

Beside a run, or behind it; it goes on where it ended, also when the run was resumed meanwhile: each step is logged once.
Needs the package wandb or mlflow in this Python, and nothing of the program.
"""
import argparse
import configparser
import json
import math
import os
import re
import sys
import time

USAGE, BAD_INPUT, RESOURCES = 2, 3, 7  # exit codes, as the program's


def fail(code, message):
    print(f"follow_metrics: error: {message}", file=sys.stderr)
    sys.exit(code)


def flatten(record, prefix=""):
    """The finite numbers of a record, members of members as "breakdown/exposed_ms/data"; of lists each by its place."""
    numbers = {}
    items = enumerate(record) if isinstance(record, list) else record.items()
    for key, value in items:
        name = f"{prefix}{key}"
        if isinstance(value, (dict, list)):
            numbers.update(flatten(value, name + "/"))
        elif isinstance(value, bool):
            numbers[name] = float(value)
        elif isinstance(value, (int, float)) and math.isfinite(value):
            numbers[name] = float(value)
    return numbers


class Tail:
    """New records of metrics.jsonl. A run that is resumed replaces the file by a shorter one: it is read again from its
    beginning, and what has been logged is left out. Half a line waits for its other half."""

    def __init__(self, path, last_step):
        self.path, self.last_step = path, last_step
        self.identity, self.position, self.rest = None, 0, b""

    def read(self):
        try:
            file = open(self.path, "rb")
        except FileNotFoundError:
            return
        with file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self.identity or status.st_size < self.position:
                self.identity, self.position, self.rest = identity, 0, b""
            file.seek(self.position)
            data = file.read()
        self.position += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            record = self.parse(line)
            if record is not None:
                yield record

    def parse(self, line):
        try:
            record = json.loads(line)
        except ValueError:  # what a crash has left
            return None
        step = record.get("step") if isinstance(record, dict) else None
        if not isinstance(step, int) or step <= self.last_step:
            return None
        self.last_step = step
        return record


class State:
    """What was logged, in a file beside the metrics: the step, and the name by which the other side knows the run."""

    def __init__(self, run, target):
        self.path = os.path.join(run, f"followed-{target}.json")
        self.step, self.run_id = -1, None
        try:
            with open(self.path, encoding="utf-8") as file:
                kept = json.load(file)
            self.step, self.run_id = int(kept["step"]), kept["run_id"]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            fail(BAD_INPUT, f"{self.path}: is no state of this script; remove it to log the run anew")

    def save(self):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump({"step": self.step, "run_id": self.run_id}, file)
        os.replace(self.path + ".new", self.path)


class Wandb:
    def __init__(self, wandb, args, options, run_id):
        self.wandb = wandb
        self.run = wandb.init(project=args.project, name=args.name, id=run_id, resume="allow" if run_id else None,
                              config=options)
        self.run_id = self.run.id

    def log(self, records):
        for step, _, numbers in records:
            self.run.log(numbers, step=step)

    def finish(self):
        self.run.finish()


class Mlflow:
    MOST_METRICS, MOST_PARAMS, MOST_TEXT = 1000, 100, 500  # of a batch, and characters of a value

    def __init__(self, mlflow, args, options, run_id):
        from mlflow import entities, tracking  # pylint: disable=import-outside-toplevel
        self.entities, self.client = entities, tracking.MlflowClient()
        self.run_id = run_id
        if run_id is not None:
            return
        found = self.client.get_experiment_by_name(args.project)
        experiment = found.experiment_id if found else self.client.create_experiment(args.project)
        self.run_id = self.client.create_run(experiment, run_name=args.name).info.run_id
        params = [entities.Param(self.key(key), value[:self.MOST_TEXT]) for key, value in options.items()]
        for i in range(0, len(params), self.MOST_PARAMS):
            self.client.log_batch(self.run_id, params=params[i:i + self.MOST_PARAMS])

    @staticmethod
    def key(name):
        return re.sub(r"[^\w./ -]", "_", name)

    def log(self, records):
        metrics = [self.entities.Metric(self.key(name), value, int(when * 1000), step)
                   for step, when, numbers in records for name, value in numbers.items()]
        for i in range(0, len(metrics), self.MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=metrics[i:i + self.MOST_METRICS])

    def finish(self):
        self.client.set_terminated(self.run_id)


SINKS = {"wandb": Wandb, "mlflow": Mlflow}


def options_of(run):
    """config.ini as "section.key"; of a run that has none yet, nothing."""
    ini = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    ini.optionxform = str
    ini.read(os.path.join(run, "config.ini"), encoding="utf-8")
    return {f"{section}.{key}": value for section in ini.sections() for key, value in ini.items(section)}


def is_finished(run):
    """As far as it says so: a run without checkpoints, of a program without events, does not."""
    if os.path.exists(os.path.join(run, "finished")):
        return True
    try:
        with open(os.path.join(run, "events.jsonl"), encoding="utf-8") as file:
            return json.loads(file.readlines()[-1]).get("kind") == "end"
    except (OSError, ValueError, IndexError, AttributeError):
        return False


def follow(args, module):
    state = State(args.run, args.to)
    tail = Tail(os.path.join(args.run, "metrics.jsonl"), state.step)
    sink = SINKS[args.to](module, args, options_of(args.run), state.run_id)
    state.run_id = sink.run_id
    try:
        while True:
            is_over = args.once or is_finished(args.run)
            records = [(r["step"], r.get("time") or time.time(), flatten({k: v for k, v in r.items() if k != "step"}))
                       for r in tail.read()]
            for i in range(0, len(records), 100):
                part = records[i:i + 100]
                sink.log(part)
                state.step = part[-1][0]
                state.save()
            if is_over:
                break
            time.sleep(args.interval)
    except KeyboardInterrupt:
        pass
    sink.finish()
    print(f"{args.run}: logged to {args.to} up to step {state.step}, run {state.run_id}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory of trireme train")
    parser.add_argument("--to", required=True, choices=sorted(SINKS))
    parser.add_argument("--project", default="trireme", help="W&B project or MLflow experiment (trireme)")
    parser.add_argument("--name", help="of the run there (the name of its directory)")
    parser.add_argument("--once", action="store_true", help="log what is there and end")
    parser.add_argument("--interval", type=float, default=5, help="seconds between looks at the file (5)")
    args = parser.parse_args()
    args.name = args.name or os.path.basename(os.path.abspath(args.run))
    if not os.path.isdir(args.run):
        fail(BAD_INPUT, f"{args.run}: is no directory")
    try:
        module = __import__(args.to)
    except ImportError as error:
        fail(RESOURCES, f"{error}: install it with: pip install {args.to}")
    follow(args, module)


if __name__ == "__main__":
    main()

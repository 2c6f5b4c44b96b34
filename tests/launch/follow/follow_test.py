#!/usr/bin/env python3
"""launch/follow/follow_metrics.py with stand-ins for wandb and mlflow that write down what they are given."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../launch/follow/follow_metrics.py")

WANDB = """
import json, os
class Run:
    id = "w1"
    def log(self, numbers, step):
        with open(os.environ["SEEN"], "a") as file: file.write(json.dumps([step, numbers]) + "\\n")
    def finish(self): pass
def init(project, name, id, resume, config):
    assert (id is None) == (resume is None) and id in (None, "w1")
    with open(os.environ["SEEN"] + ".init", "a") as file: file.write(json.dumps([project, name, id, config]) + "\\n")
    return Run()
"""
MLFLOW = """
import json, os
from types import SimpleNamespace
class entities:
    class Metric:
        def __init__(self, key, value, timestamp, step): self.all = [step, {key: value}, timestamp]
    class Param:
        def __init__(self, key, value): self.all = [key, value]
class tracking:
    class MlflowClient:
        def get_experiment_by_name(self, name): return None
        def create_experiment(self, name): return "e"
        def create_run(self, experiment, run_name): return SimpleNamespace(info=SimpleNamespace(run_id="m1"))
        def set_terminated(self, run_id): assert run_id == "m1"
        def log_batch(self, run_id, metrics=(), params=()):
            assert run_id == "m1" and len(metrics) <= 1000 and len(params) <= 100
            with open(os.environ["SEEN"], "a") as file:
                for metric in metrics: file.write(json.dumps(metric.all) + "\\n")
            with open(os.environ["SEEN"] + ".init", "a") as file:
                for param in params: file.write(json.dumps(param.all) + "\\n")
"""


def line(step, **more):
    return json.dumps({"step": step, "time": 1000.5 + step, "loss": 4 - step / 10, **more}) + "\n"


class Follow(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.run_path = os.path.join(self.folder.name, "run")
        self.seen = os.path.join(self.folder.name, "seen")
        os.makedirs(os.path.join(self.folder.name, "modules", "mlflow"))
        os.mkdir(self.run_path)
        for name, text in (("wandb.py", WANDB), ("mlflow/__init__.py", MLFLOW)):
            with open(os.path.join(self.folder.name, "modules", name), "w", encoding="utf-8") as file:
                file.write(text)
        self.write("config.ini", "[model]\nlayers = 2\n\n[data]\ntext = a = b.txt\n")
        self.environment = {**os.environ, "SEEN": self.seen, "PYTHONPATH": os.path.join(self.folder.name, "modules")}

    def write(self, name, text):
        path = os.path.join(self.run_path, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)

    def command(self, target, *options):
        return [sys.executable, SCRIPT, self.run_path, "--to", target, *options]

    def follow(self, target="wandb", *options, code=0):
        done = subprocess.run(self.command(target, "--once", *options), env=self.environment, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout + done.stderr

    def logged(self):
        if not os.path.exists(self.seen):
            return []
        with open(self.seen, encoding="utf-8") as file:
            return [json.loads(text) for text in file]

    def steps(self):
        return [entry[0] for entry in self.logged()]

    def test_numbers_are_logged_by_step_and_the_configuration_once(self):
        self.write("metrics.jsonl", line(0) + line(1, mfu_sure=True, breakdown={"exposed_ms": {"data": 0.5}}, loads=[3, 4],
                                                   grad_norm=None) + line(2))
        self.follow("wandb", "--project", "p")
        self.assertEqual(self.steps(), [0, 1, 2])
        self.assertEqual(self.logged()[1][1], {"time": 1001.5, "loss": 3.9, "mfu_sure": 1.0, "loads/0": 3.0, "loads/1": 4.0,
                                               "breakdown/exposed_ms/data": 0.5})
        with open(self.seen + ".init", encoding="utf-8") as file:
            self.assertEqual(json.loads(file.readline()),
                             ["p", "run", None, {"model.layers": "2", "data.text": "a = b.txt"}])

    def test_mlflow_gets_when_it_was(self):
        self.write("metrics.jsonl", line(7))
        self.follow("mlflow")
        self.assertIn([7, {"loss": 3.3}, 1007500], self.logged())
        with open(self.seen + ".init", encoding="utf-8") as file:
            self.assertEqual(json.loads(file.readline()), ["model.layers", "2"])

    def test_goes_on_where_it_ended(self):
        self.write("metrics.jsonl", line(1) + line(2))
        self.follow()
        self.write("metrics.jsonl", line(1) + line(2) + line(3))
        self.follow()
        self.assertEqual(self.steps(), [1, 2, 3])

    def test_of_a_resumed_run_each_step_once(self):
        self.write("metrics.jsonl", "".join(map(line, range(1, 9))) + line(9)[:20])
        self.follow()
        self.write("metrics.jsonl", "".join(map(line, range(1, 12))))  # taken back to 4, and done again
        self.follow()
        self.assertEqual(self.steps(), list(range(1, 12)))

    def test_what_is_no_record_is_left_out(self):
        self.write("metrics.jsonl", line(1) + '{"step":2,"lo\n' + "[]\n\n" + '{"step":"x"}\n' + '{"loss":1}\n' + line(3))
        self.follow()
        self.assertEqual(self.steps(), [1, 3])

    def test_follows_a_run_that_goes_on(self):
        self.write("metrics.jsonl", line(1) + line(2)[:9])
        process = subprocess.Popen(self.command("wandb", "--interval", "0.05"), env=self.environment)
        self.wait_for([1])
        with open(os.path.join(self.run_path, "metrics.jsonl"), "a", encoding="utf-8") as file:
            file.write(line(2)[9:] + line(3))
        self.wait_for([1, 2, 3])
        self.write("metrics.jsonl", line(1) + line(2))  # resumed from 2
        with open(os.path.join(self.run_path, "metrics.jsonl"), "a", encoding="utf-8") as file:
            file.write(line(3) + line(4))
        self.write("finished", "4 steps\n")
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(self.steps(), [1, 2, 3, 4])

    def wait_for(self, steps):
        limit = time.monotonic() + 60
        while self.steps() != steps:
            self.assertLess(time.monotonic(), limit, self.steps())
            time.sleep(0.02)

    def test_says_what_is_missing(self):
        os.remove(os.path.join(self.folder.name, "modules", "wandb.py"))
        self.environment["PYTHONPATH"] = ""
        self.environment["PYTHONNOUSERSITE"] = "1"
        found = subprocess.run([sys.executable, "-c", "import wandb"], env=self.environment, capture_output=True, check=False)
        if found.returncode != 0:
            self.assertIn("pip install wandb", self.follow(code=7))
        self.run_path += "-not"
        self.assertIn("is no directory", self.follow(code=3))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Whether pruning and distillation pay: a student cut from its teacher and distilled, the same trained alone, and one of its
shape from random weights, after as many tokens.

    build/trireme train --run.dir runs/teacher --data.text data/kjv.txt --data.tokenizer bpe --data.bpe-vocab 1024 \\
        --data.valid-fraction 0.02 --model.family llama --model.layers 4 --model.hidden 256 --model.heads 4 --model.ffn 768 \\
        --train.seq-len 128 --train.micro-batch 8 --train.steps 400 --optimizer.lr 3e-3 --optimizer.warmup 20
    python3 tests/interop/compression/distilled_students.py build/trireme runs/teacher [--seeds 1,2,3] [--steps 80]
        [--cut layers=2,neurons=128] [--lr 1.5e-3] [--random-lr 3e-3] [--distill KEY=VALUE,...] [--folder DIR] [--threads N]

RUN... are teachers, one for all seeds or one for each. Each seed draws the order of the samples, and what is random of the weights;
the text, its validation part and the tokenizer are the teacher's. Prints a Markdown table of validation losses (nats a token) over
all seeds, with what is between. Exit status 0 where for every seed distilled < alone < random. Runs in --folder that are finished
are not trained again.
"""
import argparse
import configparser
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

ARMS = ("cut and distilled", "cut and trained alone", "random weights")


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")


def settings(directory):
    """config.ini of a run: texts of sections and keys."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(pathlib.Path(directory) / "config.ini")
    return config


def losses_of(directory):
    """Validation losses of a run, the first and the last."""
    lines = [json.loads(line) for line in (pathlib.Path(directory) / "metrics.jsonl").read_text().splitlines()]
    found = [line["val_loss"] for line in lines if "val_loss" in line]
    return found[0], found[-1]


class Students:
    def __init__(self, arguments, folder, teacher, seed):
        self.arguments, self.folder, self.teacher, self.seed = arguments, folder, pathlib.Path(teacher), seed
        self.student = folder / f"{self.teacher.name}-cut"
        if not self.student.exists():
            keys = [word for entry in arguments.cut.split(",") for word in (f"--{entry.split('=')[0]}", entry.split("=")[1])]
            text = ["--calibration.text", arguments.text] if arguments.text else []  # else the run's training part
            run(arguments.program, "compress", teacher, "--out", self.student, "--method", "cut", *keys, *text,
                "--threads", arguments.threads)

    def text(self):
        return self.arguments.text or settings(self.teacher)["data"]["text"]

    def train(self, arm):
        """Validation losses at the start and at the end."""
        arguments = self.arguments
        directory = self.folder / f"{self.teacher.name}-{arm.replace(' ', '-')}-{self.seed}"
        if not (directory / "finished").exists():
            of_teacher, of_student = settings(self.teacher), settings(self.student)
            model = directory.with_suffix(".ini")
            with model.open("w") as file:
                shape = configparser.ConfigParser(interpolation=None)
                shape["model"] = {key: value for key, value in of_student["model"].items() if key != "init-from"}
                shape.write(file)
            lr = arguments.lr if arm != ARMS[2] else arguments.random_lr
            run(arguments.program, "train", "--config", model, "--data.text", self.text(), "--data.tokenizer",
                self.teacher / "tokenizer.json", "--data.valid-fraction", of_teacher["data"]["valid-fraction"],
                "--train.seq-len", of_teacher["train"]["seq-len"], "--train.micro-batch", of_teacher["train"]["micro-batch"],
                "--train.steps", arguments.steps, "--train.seed", self.seed, "--train.eval-batches", arguments.eval_batches,
                "--train.sample-tokens", 0, "--optimizer.lr", lr, "--optimizer.min-lr", lr / 10, "--optimizer.warmup", 10,
                "--run.threads", arguments.threads, "--run.dir", directory, *self.start(arm))
        return losses_of(directory)

    def start(self, arm):
        if arm == ARMS[2]:
            return []
        start = ["--init-from", self.student]
        if arm == ARMS[0]:
            start += ["--distill.teacher", self.teacher]
            for entry in filter(None, self.arguments.distill.split(",")):
                key, value = entry.split("=")
                start += [f"--distill.{key}", value]
        return start


def spread(values):
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("teachers", nargs="+", metavar="RUN")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--cut", default="layers=2,neurons=128")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--random-lr", type=float, default=3e-3, help="of random weights, for which more is better")
    parser.add_argument("--distill", default="weight=0.9", help="keys of --distill.*")
    parser.add_argument("--eval-batches", type=int, default=20)
    parser.add_argument("--text", help="in place of the teacher's, where that is not there any more")
    parser.add_argument("--folder")
    parser.add_argument("--threads", default="1")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    teachers = arguments.teachers if len(arguments.teachers) > 1 else arguments.teachers * len(seeds)
    if len(teachers) != len(seeds):
        sys.exit(f"{len(teachers)} teachers and {len(seeds)} seeds")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = {arm: [] for arm in ARMS}
        for teacher, seed in zip(teachers, seeds):
            students = Students(arguments, folder, teacher, seed)
            for arm in ARMS:
                first, last = students.train(arm)
                results[arm].append(last)
                print(f"seed {seed}, {arm}: validation loss {first:.4f} before, {last:.4f} after", file=sys.stderr, flush=True)
        before = [losses_of(teacher)[1] for teacher in dict.fromkeys(teachers)]
    print(f"| student, {arguments.steps} steps | validation loss | perplexity | of each seed |\n|---|---|---|---|")
    print(f"| (the teacher) | {spread(before)} | {math.exp(statistics.mean(before)):.2f} | |")
    for arm, losses in results.items():
        print(f"| {arm} | {spread(losses)} | {math.exp(statistics.mean(losses)):.2f} | {', '.join(f'{v:.4f}' for v in losses)} |")
    distilled, alone, random = (results[arm] for arm in ARMS)
    for name, better, worse in (("distilled over alone", distilled, alone), ("alone over random", alone, random)):
        gains = [w - b for b, w in zip(better, worse)]
        print(f"\n{name}: {spread(gains)} nats a token, {sum(g > 0 for g in gains)} of {len(gains)} seeds")
    sys.exit(0 if all(a < b < c for a, b, c in zip(distilled, alone, random)) else 1)


if __name__ == "__main__":
    main()

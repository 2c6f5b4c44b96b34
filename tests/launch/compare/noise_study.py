#!/usr/bin/env python3
"""Does `trireme compare` call repeats noise, and find a planted slow-down?

Usage: noise_study.py PROGRAM FOLDER [--repeats N] [--slow PERCENT] [--steps N]

Trains the same small model N times as it is and N times suspended for PERCENT of the time, in turns, on one thread, beside
whatever else the machine does; FOLDER keeps the runs, and those that are there are not done again. Prints the rates at which
repeats are called different, one run a side and in turns, and those at which the slow-down is found. Fails where more than 5 %
of the pairs of repeats are called different, where half of the repeats differ from the other half, or where the slow-down is not
found in all runs. A program that is suspended for 3 % of its time takes at least 3.1 % longer: on a busy machine it loses its
caches too.
"""
import argparse
import itertools
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import slowed  # noqa: E402

DRAWS = 100


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--slow", type=float, default=3, help="percent (3)")
    parser.add_argument("--steps", type=int, default=200)
    return parser.parse_args()


class Study:
    def __init__(self, args):
        self.args = args
        self.program = os.path.abspath(args.program)
        self.random = random.Random(1)
        os.makedirs(args.folder, exist_ok=True)
        self.text = os.path.join(args.folder, "text.txt")
        with open(self.text, "w", encoding="utf-8") as file:
            for i in range(4000):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")

    def run_all(self):
        for i in range(self.args.repeats):
            for kind, share in (("plain", 0), ("slow", self.args.slow / 100)):
                self.run_one(self.path(kind, i), share)

    def path(self, kind, i):
        return os.path.join(self.args.folder, f"{kind}-{i}")

    def run_one(self, path, share):
        if os.path.exists(os.path.join(path, "model.safetensors")):
            return
        command = [self.program, "train", "--data.text", self.text, "--model.layers", "4", "--model.hidden", "128",
                   "--model.heads", "4", "--train.seq-len", "128", "--train.micro-batch", "8", "--train.steps",
                   str(self.args.steps), "--train.sample-tokens", "0", "--train.eval-batches", "2", "--checkpoint.keep",
                   "0", "--run.threads", "1", "--run.dir", path]
        code, stopped = slowed.run(command, share, stdout=subprocess.DEVNULL)
        if code != 0:
            sys.exit(f"noise_study: exit code {code}: {' '.join(command)}")
        print(f"{path}: stopped for {100 * stopped:.2f} % of the time, load {os.getloadavg()[0]:.1f}", flush=True)

    def compare(self, a, b):
        done = subprocess.run([self.program, "compare", "--json", *a, "--", *b], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def speed(self, a, b):
        return self.compare(a, b)["speed"]

    def draw(self, places, size):
        return sorted(self.random.sample(list(places), size))

    def finds(self, plain, slow, drawn):
        speed = self.speed([plain[i] for i in drawn], [slow[i] for i in drawn])
        return not speed["noise"] and speed["low"] > 0

    def in_turns(self, plain, drawn):
        """Repeats 2 i and 2 i + 1 of each place, which are neighbours in time; which of them is A is drawn."""
        sides = [self.random.sample((plain[2 * i], plain[2 * i + 1]), 2) for i in drawn]
        return self.speed([a for a, _ in sides], [b for _, b in sides])


def share(found):
    found = list(found)
    return sum(found) / len(found)


def main():
    args = parse()
    study = Study(args)
    study.run_all()
    plain = [study.path("plain", i) for i in range(args.repeats)]
    slow = [study.path("slow", i) for i in range(args.repeats)]
    alone = share(not study.speed([a], [b])["noise"] for a, b in itertools.combinations(plain, 2))
    found_alone = share(not study.speed([a], [b])["noise"] for a, b in zip(plain, slow))
    print(f"one run a side: {100 * alone:.1f} % of {args.repeats * (args.repeats - 1) // 2} pairs of repeats are called "
          f"different; {args.slow:g} % is found in {100 * found_alone:.0f} % of {args.repeats} pairs")
    halves = study.speed(plain[0::2], plain[1::2])
    whole = study.compare(plain, slow)
    print(f"half of the repeats against the other half: {halves['verdict']} ({halves['method']})")
    for size in (3, 5, 8, 10):
        if size > args.repeats // 2:
            continue
        found = share(study.finds(plain, slow, study.draw(range(args.repeats), size)) for _ in range(DRAWS))
        wrong = share(not study.in_turns(plain, study.draw(range(args.repeats // 2), size))["noise"] for _ in range(DRAWS))
        print(f"{size} runs a side in turns, drawn {DRAWS} times: the slow-down is found in {100 * found:.0f} %, "
              f"repeats are called different in {100 * wrong:.1f} %")
    print(f"all runs: {whole['speed']['verdict']} ({whole['speed']['method']}); loss {whole['loss']['verdict']}")
    failures = []
    if alone > 0.05:
        failures.append("too many pairs of repeats are called different")
    if not halves["noise"]:
        failures.append("halves of the repeats are called different")
    if whole["speed"]["noise"] or whole["speed"]["low"] <= 0:
        failures.append("the slow-down is not found")
    if "equal bit for bit" not in whole["loss"]["verdict"]:
        failures.append("losses of repeats are not equal")
    if failures:
        sys.exit("noise_study: " + "; ".join(failures))


if __name__ == "__main__":
    main()

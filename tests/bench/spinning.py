#!/usr/bin/env python3
"""What bounding libgomp's spinning costs and gives: both policies in turns, small and large steps.

  tests/bench/spinning.py build/trireme TEXT [--rounds 3] [--by "chrt -f 1"] [--steps tiny,small,large]

First one rank with two threads, where nothing takes turns (--by starts those runs under a command that keeps other
processes off, where others use the machine); then two ranks of one thread, and two of two, which on two cores take
turns. "bounded" is the program as it is, "libgomp" what it does by itself (GOMP_SPINCOUNT=300000). Milliseconds of all
steps but the first two.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

STEPS = {
    "tiny": "--model.layers 2 --model.hidden 64 --model.heads 4 --train.seq-len 32 --train.micro-batch 2 "
            "--train.global-batch 4 --train.steps {}",
    "small": "--model.layers 4 --model.hidden 128 --model.heads 4 --train.seq-len 64 --train.micro-batch 4 "
             "--train.global-batch 8 --train.steps {}",
    "large": "--model.layers 4 --model.hidden 512 --model.heads 8 --train.seq-len 128 --train.micro-batch 4 "
             "--train.global-batch 8 --train.steps {}",
}
COUNTS = {"tiny": 400, "small": 40, "large": 8}
POLICIES = {"bounded": {}, "libgomp": {"GOMP_SPINCOUNT": "300000"}}


def milliseconds(args, folder, steps, ranks, threads, policy, prefix=(), divide=1):
    directory = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "run"
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
    count = max(COUNTS[steps] // divide, 6)
    command = [*prefix, *launcher, args.program, "train", "--data.text", args.text, "--run.dir", str(directory),
               "--data.valid-fraction", "0", "--train.sample-tokens", "0", "--run.threads", str(threads),
               *STEPS[steps].format(count).split()]
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    result = subprocess.run(command, env={**clean, "TRIREME_PEAK_FILE": "", **POLICIES[policy]}, capture_output=True,
                            text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return [json.loads(line)["step_ms"] for line in open(directory / "metrics.jsonl")][2:]


def row(name, steps, times):
    times = sorted(times)
    print(f"{name:<28} {steps:<6} {len(times):>6} {times[0]:9.3f} {times[len(times) // 4]:9.3f} "
          f"{statistics.median(times):9.3f} {statistics.mean(times):9.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--by", default="")
    parser.add_argument("--steps", default="tiny,small,large")
    args = parser.parse_args()
    print(f"{'':<28} {'steps':<6} {'timed':>6} {'least':>9} {'quarter':>9} {'median':>9} {'mean':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for steps in args.steps.split(","):
            times = {policy: [] for policy in POLICIES}
            for _ in range(args.rounds):
                for policy in POLICIES:
                    times[policy] += milliseconds(args, folder, steps, 1, 2, policy, shlex.split(args.by))
            for policy in POLICIES:
                row(f"1 rank x 2 threads, {policy}", steps, times[policy])
        for steps in args.steps.split(","):
            times = {}
            for _ in range(args.rounds):
                for threads, policy in ((1, "bounded"), (2, "bounded"), (2, "libgomp")):
                    times.setdefault((threads, policy), []).extend(
                        milliseconds(args, folder, steps, 2, threads, policy, divide=8))
            for (threads, policy), all_times in times.items():
                row(f"2 ranks x {threads} thread(s), {policy}", steps, all_times)


if __name__ == "__main__":
    main()

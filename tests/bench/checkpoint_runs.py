#!/usr/bin/env python3
"""What saving costs a run: runs without saves, with saves beside the steps, and with saves that are waited for, in turns.

  tests/bench/checkpoint_runs.py build/trireme TEXT [--ranks 2] [--rounds 5] [--every 8] [--saves 5] [--by "chrt -r 5"]
                                 [--model OPTIONS] [-- OPTION-OF-TRAIN...]

The time of a run is that between its first save and the step before its last: as many intervals as saves. What a save
costs is the difference to the run without, divided by the saves: the stall and all that the steps beside it lose. Medians
of the rounds, and the least. --by is put before each command, where others use the machine. Checkpoints lie in the current
folder. The global batch is a sample a rank.
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

MODEL = "--model.layers 6 --model.hidden 512 --model.heads 8 --train.seq-len 64 --train.micro-batch 1"
REST = ["--data.valid-fraction", "0", "--train.sample-tokens", "0", "--train.log-every", "1000000", "--checkpoint.minutes", "0",
        "--checkpoint.keep", "1"]
KINDS = {"none": [], "async": [], "sync": ["--checkpoint.async", "off"]}


def run(args, kind, folder):
    """Seconds of the measured steps, of them those in which the training stood still, and bytes of a checkpoint."""
    directory = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "run"
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(args.ranks)] if args.ranks > 1 else []
    steps = args.every * (args.saves + 2) - 1
    saves = [] if kind == "none" else ["--checkpoint.every", str(args.every)]
    command = [*shlex.split(args.by), *launcher, args.program, "train", "--data.text", args.text, "--run.dir", str(directory),
               "--train.steps", str(steps), "--train.global-batch", str(args.ranks), *shlex.split(args.model), *REST, *saves, *KINDS[kind], *args.options]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    lines = [json.loads(line) for line in open(directory / "metrics.jsonl")]
    of_step = {line["step"]: line for line in lines}
    # The save of step 2 * every is the first: memory is there since that of step every.
    first, last = 2 * args.every, args.every * (args.saves + 2) - 1
    stall = sum(of_step[step]["checkpoint_wait_ms"] for step in range(first + 1, last + 1)) / 1e3
    size = sum(file.stat().st_size for file in directory.glob("checkpoints/step-*/*"))
    subprocess.run(["rm", "-rf", str(directory.parent)], check=True)
    return of_step[last]["time"] - of_step[first]["time"], stall, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=os.path.abspath)
    parser.add_argument("text", type=os.path.abspath)
    for name, value in (("ranks", 2), ("rounds", 5), ("every", 8), ("saves", 5)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--by", default="")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    found = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(dir=".", prefix="checkpoint-runs-") as folder:
        for number in range(args.rounds):
            for kind in KINDS:
                found[kind].append(run(args, kind, folder))
                seconds, stall, size = found[kind][-1]
                print(f"round {number + 1}, {kind}: {seconds:.3f} s, stood still {stall:.3f} s", flush=True)
    for name, choose in (("median", statistics.median), ("least", min)):
        time = {kind: choose(seconds for seconds, _, _ in values) for kind, values in found.items()}
        stall = {kind: choose(seconds for _, seconds, _ in values) for kind, values in found.items()}
        cost = {kind: (time[kind] - time["none"]) / args.saves for kind in ("async", "sync")}
        print(f"{name}: a save of {size / 1e6:.0f} MB that is waited for costs {cost['sync']:.3f} s, one beside the steps "
              f"{cost['async']:.3f} s ({100 * cost['async'] / cost['sync']:.0f} %), {stall['async'] / args.saves:.3f} s of it standing "
              f"still; {100 * cost['async'] / 600:.3f} % of a run that saves every ten minutes")


if __name__ == "__main__":
    main()

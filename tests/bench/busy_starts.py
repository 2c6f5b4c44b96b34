#!/usr/bin/env python3
"""How MFU stands beside busy processes: many short runs, each with as many busy loops beside it.

  tests/bench/busy_starts.py build/trireme TEXT [--starts 20] [--hogs 4] [--ranks N] [--quiet-by "chrt -f 1"]
                             [--stored] [-- OPTION-OF-TRAIN...]

First the quiet figure: starts without busy loops (where others use the machine: under a command that keeps them off).
Then a line a start: peak, where it comes from, MFU of the steps, and whether every step's MFU is within 15 % of the
quiet figure or marked. Exit code 1 where one is not, or where an MFU is above 105 %. With --stored the busy starts find
the peaks that the quiet ones have stored; the user's own are left alone.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

STEPS = ["--model.layers", "4", "--model.hidden", "256", "--model.heads", "4", "--train.seq-len", "64",
         "--train.micro-batch", "8", "--train.steps", "40", "--data.valid-fraction", "0", "--train.sample-tokens", "0"]


def spin():
    while True:
        pass


class Hogs:
    def __init__(self, count):
        self.processes = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]

    def __enter__(self):
        for process in self.processes:
            process.start()

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.join()


def start(args, folder, peak_file, prefix=()):
    """(line of the peak, metrics of the steps but the first two)."""
    directory = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "run"
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(args.ranks)] if args.ranks > 1 else []
    command = [*prefix, *launcher, args.program, "train", "--data.text", args.text, "--run.dir", str(directory),
               "--train.global-batch", str(8 * args.ranks), *STEPS, *args.options]
    result = subprocess.run(command, env={**os.environ, "TRIREME_PEAK_FILE": str(peak_file)}, capture_output=True,
                            text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    line = re.search(r"MFU is against.*", result.stdout).group()
    return line, [json.loads(text) for text in open(directory / "metrics.jsonl")][2:]


def source_of(line):
    for word, source in (("stored", "stored"), ("processor time", "unsure"), ("rate a step", "raised")):
        if word in line:
            return source
    return "measured"


def main():
    arguments = sys.argv[1:]
    options = []
    if "--" in arguments:
        options = arguments[arguments.index("--") + 1:]
        arguments = arguments[:arguments.index("--")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--hogs", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--quiet-by", default="")
    parser.add_argument("--stored", action="store_true")
    args = parser.parse_args(arguments)
    args.options = options
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        peaks = pathlib.Path(folder) / "peaks.json" if args.stored else ""

        def mfu_when_quiet():
            line, steps = start(args, folder, peaks, shlex.split(args.quiet_by))
            return steps[-1]["peak_tflops"], statistics.median(s["mfu"] for s in steps), line
        quiet = [mfu_when_quiet() for _ in range(3)]
        peak, mfu, line = sorted(quiet)[1]
        print(f"quiet: peak {peak:.3f} TFLOP/s ({source_of(line)}), MFU {100 * mfu:.1f} %")
        print(f"{'start':>5} {'peak':>7} {'of quiet':>8} {'source':<9} {'MFU least':>9} {'median':>7} {'most':>7} "
              f"{'marked':>7}  verdict")
        for number in range(args.starts):
            with Hogs(args.hogs):
                line, steps = start(args, folder, peaks)
            shares = [s["mfu"] for s in steps]
            wrong = [s for s in steps if s["mfu_sure"] and not 0.85 <= s["mfu"] / mfu <= 1.15]
            beyond = max(shares) > 1.05
            bad += bool(wrong) or beyond
            against = steps[-1]["peak_tflops"]
            print(f"{number + 1:>5} {against:7.3f} {100 * against / peak:6.0f} % {source_of(line):<9} "
                  f"{100 * min(shares):7.1f} % {100 * statistics.median(shares):5.1f} % {100 * max(shares):5.1f} % "
                  f"{sum(not s['mfu_sure'] for s in steps):3}/{len(steps):<3}  "
                  f"{'above 105 %' if beyond else f'{len(wrong)} unmarked steps off' if wrong else 'well'}", flush=True)
    print(f"{args.starts - bad} of {args.starts} starts are well")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

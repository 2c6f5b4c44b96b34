#!/usr/bin/env python3
"""Checks what docs/reliability.md promises of jobs that hang or lose a rank: each ends in time, names the rank to blame, and
leaves no process.

usage: tests/hangs/run.py PROGRAM MPIRUN HANG_JOB FAULT [--runs N | --whole] [--seed N] [--limit S|default] [--table FILE]

One drawn job of a fault, N of them, or with --whole 20, spread over all layouts; FAULT "all" is every one of them. --table adds a row a
fault to FILE. --limit default waits for the limits that the program has by itself.
"""
import argparse
import os
import random
import sys

import clean
import link
from faults import FAULTS, Fault
from jobs import LAYOUTS, Bench, Failure

SHORT = 2.0  # seconds without progress
DEFAULT = 600.0

ALL = {**FAULTS, "link": Fault("link down", link.run, True)}


def run_fault(bench, arguments, name):
    fault = ALL[name]
    limit_text = str(SHORT) if arguments.limit != "default" else "setup=1800"
    limit = SHORT if arguments.limit != "default" else DEFAULT
    outcomes = []
    for number in range(arguments.runs):
        draw = random.Random(f"{arguments.seed} {name} {number}")
        layouts = LAYOUTS if arguments.runs > 1 else LAYOUTS[:3]
        layout = layouts[number % len(layouts)]
        outcome = fault.run(bench, draw, layout, limit_text, limit)
        print(f"{name} {number + 1}: layout {outcome.layout}, rank {outcome.rank}, exit {outcome.code} after "
              f"{outcome.seconds:.1f} s: {outcome.error[:300]}", flush=True)
        outcomes.append(outcome)
    return fault, outcomes


def table_row(fault, outcomes):
    worst = max(outcome.seconds - outcome.limit for outcome in outcomes)
    codes = sorted({outcome.code for outcome in outcomes})
    texts = [str(code) if code >= 0 else f"signal {-code}" for code in codes]
    layouts = len({outcome.layout for outcome in outcomes})
    after = "after the limit" if fault.is_hang else "after the fault"
    return (f"| {fault.name} | {len(outcomes)} in {layouts} layouts | {len(outcomes)} | {worst:.1f} s {after} | 0 | "
            f"{', '.join(texts)} |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("mpirun")
    parser.add_argument("job")
    parser.add_argument("fault", choices=[*ALL, "clean", "all"])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--limit", default="")
    parser.add_argument("--table", default="")
    arguments = parser.parse_args()
    if arguments.whole:
        arguments.runs = 20
    with Bench(arguments.program, arguments.mpirun, arguments.job) as bench:
        try:
            if arguments.fault == "clean":
                clean.run(bench, arguments.whole)
                return 0
            for name in ALL if arguments.fault == "all" else [arguments.fault]:
                row = table_row(*run_fault(bench, arguments, name))
                if arguments.table:
                    with open(arguments.table, "a") as table:
                        table.write(row)
        except Failure as failure:
            print(f"FAILED: {arguments.fault}: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks what docs/checkpoints.md promises of whole runs: they are killed, resumed and compared.

usage: tests/checkpoints/run.py PROGRAM MPIRUN PART [--whole] [--seed N] [--piece I/N]

Drawn cases, or with --whole all of them, of which --piece takes every N-th. Prints nothing of the machine's speed: only what
was checked.
"""
import argparse
import sys

import across_layouts
import damage
import kill_points
import memory
import refusals
import runs
import same_layout
import signals
import start_signals

PARTS = {
    "same-layout": same_layout.run_alone,
    "same-layout-of-ranks": same_layout.run_ranks,
    "across-layouts": across_layouts.run_dense,
    "mixtures-across-layouts": across_layouts.run_mixtures,
    "chain": across_layouts.run_chain,
    "exports": across_layouts.run_exports,
    "kill-points": kill_points.run_kills,
    "call-errors": kill_points.run_errors,
    "signals": signals.run,
    "signals-at-start": start_signals.run,
    "damage": damage.run,
    "memory": memory.run,
    "refusals": refusals.run,
}
# They ask what a killed process leaves, which is the same on every file system: the others ask what files and disks do.
IN_MEMORY = {"same-layout", "same-layout-of-ranks", "across-layouts", "mixtures-across-layouts", "chain"}


def piece(text):
    number, count = (int(part) for part in text.split("/"))
    if not 1 <= number <= count:
        raise ValueError(text)
    return number, count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("mpirun")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--piece", type=piece, default=(1, 1))
    arguments = parser.parse_args()
    cases = runs.Cases(arguments.seed, arguments.whole, *arguments.piece)
    with runs.Bench(arguments.program, arguments.mpirun, arguments.part in IN_MEMORY) as bench:
        try:
            PARTS[arguments.part](bench, cases)
        except runs.Failure as failure:
            print(f"FAILED: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks what docs/cluster.md promises of launching, on a cluster on one machine (cluster/testbed).

usage: tests/cluster/run.py PROGRAM MPIRUN PART...

Where this machine cannot have such a cluster (no root and no user namespaces; no Slurm) a part fails and says so.
"""
import argparse
import sys

import hosts
import slurm
from testbed import Bench, Failure, TestbedError

PARTS = {
    "hosts": hosts.run,
    "doctor": hosts.run_doctor,
    "slurm": slurm.run_launches,
    "slurm-stops": slurm.run_stops,
    "sweep": slurm.run_sweep,
    "scale": slurm.run_scale,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("mpirun")
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    arguments = parser.parse_args()
    for part in arguments.parts:
        with Bench(arguments.program, arguments.mpirun) as bench:
            try:
                PARTS[part](bench)
            except (Failure, TestbedError) as failure:
                print(f"FAILED: {part}: {failure}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

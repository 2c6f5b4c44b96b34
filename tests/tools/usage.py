#!/usr/bin/env python3
"""What the tests of a run cost, and which are too dear for CI.

Usage: usage.py FILE [--limit SECONDS] [--fail-beyond FACTOR] [--slowest N]

FILE is what TRIREME_TEST_USAGE named while tests ran. Shows the N dearest tests and entries of ctest by processor time of
their process trees, and counts them. Names those that took more than --limit seconds (0: no limit). Exit status 1 when one
took FACTOR times as much (1), or none ran: processors differ, so that a limit of seconds needs room before it fails a run.
Lint has no limit: it takes as long as the change that it looks at is large.
"""
import argparse
import pathlib
import sys


def read(path):
    """(kind, name, processor seconds, clock seconds) of each line."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            kind, name, cpu, wall = line.split("\t")
            rows.append((kind, name, float(cpu), float(wall)))
        except ValueError:
            sys.exit(f"{path}:{number}: not 'KIND NAME SECONDS SECONDS': {line!r}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--limit", type=float, default=20)
    parser.add_argument("--fail-beyond", type=float, default=1)
    parser.add_argument("--slowest", type=int, default=10)
    options = parser.parse_args()
    rows = read(options.file) if options.file.is_file() else []
    if not rows:
        sys.exit(f"{options.file}: no test ran")
    rows.sort(key=lambda row: -row[2])
    for kind, title in (("test", "tests"), ("entry", "entries of ctest")):
        of_kind = [row for row in rows if row[0] == kind]
        print(f"{len(of_kind)} {title}, {sum(row[2] for row in of_kind):.0f} s of processor time; the dearest:")
        for _, name, cpu, wall in of_kind[:options.slowest]:
            print(f"  {cpu:7.2f} s, {wall:7.2f} s of the clock  {name}")
    dear = [row for row in rows if 0 < options.limit < row[2] and not row[1].startswith("lint.")]
    for kind, name, cpu, _ in dear:
        print(f"too dear: {kind} {name} takes {cpu:.1f} s of processor time, the limit is {options.limit:g} s "
              "(CONTRIBUTING.md, tiers)")
    return 1 if any(cpu > options.limit * options.fail_beyond for _, _, cpu, _ in dear) else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares logits of two machines (logits.cpp): compare.py HERE THERE. Prints for each model and format the largest
difference beside the largest logit, and fails above 1e-4 or where lines are missing."""
import sys

LIMIT = 1e-4


def read(path):
    rows = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            name, *values = line.split()
            rows[name] = [float(value) for value in values]
    return rows


def main():
    here, there = read(sys.argv[1]), read(sys.argv[2])
    if here.keys() != there.keys() or not here:
        sys.exit(f"compare: {len(here)} and {len(there)} rows of logits, not the same ones")
    most, sizes, equal = {}, {}, {}
    for name, row in here.items():
        if len(row) != len(there[name]):
            sys.exit(f"compare: {name}: {len(row)} and {len(there[name])} logits")
        kind = name.rsplit("-", 1)[0]
        # A NaN is no more than anything, so it is asked for.
        difference = max(abs(a - b) if abs(a - b) >= 0 else float("inf") for a, b in zip(row, there[name]))
        most[kind] = max(most.get(kind, 0.0), difference)
        sizes[kind] = max(sizes.get(kind, 0.0), max(abs(a) for a in row))
        equal[kind] = equal.get(kind, 0) + (row == there[name])
    for kind, value in most.items():
        print(f"{kind:<18} largest difference {value:.2e} of logits up to {sizes[kind]:.2f}, {equal[kind]} of 47 rows equal")
    wrong = [kind for kind, value in most.items() if value > LIMIT]
    if wrong:
        sys.exit(f"compare: above {LIMIT}: {', '.join(wrong)}")


main()

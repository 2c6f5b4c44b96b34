#!/usr/bin/env python3
"""Where the time of a build and its tests goes.

Usage: slowest.py [--most N] BUILD-FOLDER...

Reads ninja's log and ctest's last log of each folder (build, build-asan, ...). Shows by kind how long jobs took, and the N
slowest compile units, links and tests, each with its share of all jobs. Jobs run side by side: their seconds add up to more
than the clock's, and to more than a processor's where more jobs run than there are processors.
"""
import argparse
import collections
import pathlib
import re
import sys

Job = collections.namedtuple("Job", "kind seconds name")

TEST_NAME = re.compile(r"^\d+/\d+ Test(?:ing)?: (.*)$")
TEST_TIME = re.compile(r"^Test time = +([0-9.]+) sec")


def kind_of(output):
    if not output.endswith((".o", ".gch")):
        return "link"
    if output.endswith(".gch"):
        return "precompiled header"
    if "headers_alone" in output:
        return "header alone"
    if "cuda_on_host" in output:
        return "compile: CUDA on the host"
    if output.endswith(".cu.o"):
        return "compile: CUDA"
    return "compile: tests" if output.startswith("tests/") else "compile: program"


def of_ninja(folder):
    """Jobs of the log; an output that was made twice counts as it was made last."""
    log = folder / ".ninja_log"
    if not log.is_file():
        sys.exit(f"{log}: no such file; the folder was not built by ninja")
    jobs = {}
    for line in log.read_text().splitlines()[1:]:
        begin, end, _, output, _ = line.split("\t")
        if pathlib.PurePath(output).suffix in (".o", ".gch", ".a", ""):
            jobs[output] = Job(kind_of(output), (int(end) - int(begin)) / 1000, f"{folder.name}/{output}")
    return [job for job in jobs.values() if not job.name.endswith((".stamp", "/all"))]


def of_ctest(folder):
    log = folder / "Testing/Temporary/LastTest.log"
    jobs, name = [], None
    for line in log.read_text(errors="replace").splitlines() if log.is_file() else []:
        if match := TEST_NAME.match(line):
            name = match[1]
        elif (match := TEST_TIME.match(line)) and name:
            jobs.append(Job("test", float(match[1]), f"{folder.name}: {name}"))
            name = None
    return jobs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="BUILD-FOLDER")
    parser.add_argument("--most", type=int, default=30)
    options = parser.parse_args()
    jobs = [job for folder in options.folders for job in of_ninja(folder.resolve()) + of_ctest(folder.resolve())]
    whole = sum(job.seconds for job in jobs) or 1
    kinds = collections.Counter()
    for job in jobs:
        kinds[job.kind] += job.seconds
    print(f"{len(jobs)} jobs, {whole:.0f} s added up")
    for kind, seconds in kinds.most_common():
        print(f"  {seconds:8.1f} s {100 * seconds / whole:5.1f} %  {kind} ({sum(job.kind == kind for job in jobs)})")
    print(f"the slowest {options.most}:")
    for job in sorted(jobs, key=lambda job: -job.seconds)[:options.most]:
        print(f"  {job.seconds:8.1f} s {100 * job.seconds / whole:5.1f} %  {job.name}")


if __name__ == "__main__":
    main()

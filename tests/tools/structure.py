#!/usr/bin/env python3
"""Figures of the house: sizes, circles and backward arrows between folders, long functions, special cases.

Usage: structure.py [ROOT]

A circle is a set of folders that include one another; a backward arrow leads from a room to one that stands after it
(runtime, parallel, models, cluster, launch). Lengths of functions are those that Universal Ctags tells (`end`).
"""
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOMS = ("runtime", "parallel", "models", "cluster", "launch")
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def sources(root):
    for room in ROOMS:
        yield from (p for p in sorted((root / room).rglob("*")) if p.suffix in SOURCES)


def arrows_of(root):
    arrows = collections.defaultdict(set)
    for path in sources(root):
        here = str(path.parent.relative_to(root))
        for target in INCLUDE.findall(path.read_text()):
            there = str(pathlib.PurePath(target).parent)
            if there != here and target.split("/")[0] in ROOMS:
                arrows[here].add(there)
    return arrows


def circles_of(arrows):
    """Sets of folders that reach one another."""
    def reached(start):
        seen, todo = set(), [start]
        while todo:
            for there in arrows.get(todo.pop(), ()):
                if there not in seen:
                    seen.add(there)
                    todo.append(there)
        return seen

    reach = {folder: reached(folder) for folder in arrows}
    return {frozenset(b for b in reach[a] if a in reach.get(b, ())) for a in arrows if a in reach[a]}


def functions_of(root):
    """(lines, name, file) of every function definition, the longest first; none without ctags."""
    if not shutil.which("ctags"):
        return []
    command = ["ctags", "-R", "--languages=C++,CUDA", "--map-CUDA=+.cuh", "--kinds-C++=f", "--kinds-CUDA=f",
               "--fields=+ne", "--output-format=json", "-f", "-", *(r for r in ROOMS if (root / r).is_dir())]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    tags = [json.loads(line) for line in out.splitlines()]
    return sorted(((t["end"] - t["line"] + 1, t["name"], t["path"]) for t in tags if "end" in t), reverse=True)


def print_functions(functions):
    if not functions:
        print("functions are not counted: Universal Ctags is not installed")
        return
    print(f"functions {len(functions)}, above 40 lines {sum(n > 40 for n, *_ in functions)}, "
          f"above 60 {sum(n > 60 for n, *_ in functions)}; the longest:")
    for n, name, path in functions[:10]:
        print(f"  {n:4} {name} ({path})")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files = list(sources(root))
    lines = sorted(len(p.read_text().splitlines()) for p in files)
    arrows = arrows_of(root)
    backward = [f"{a} -> {b}" for a in sorted(arrows) for b in sorted(arrows[a])
                if ROOMS.index(a.split("/")[0]) < ROOMS.index(b.split("/")[0])]
    print(f"files {len(files)}, lines {sum(lines)}; a file has {lines[len(lines) // 2]} (median), "
          f"{lines[len(lines) * 9 // 10]} (90 %), {lines[-1]} (most)")
    print(f"arrows between folders {sum(map(len, arrows.values()))}, backward {len(backward)}, "
          f"circles {len(circles_of(arrows))}")
    for line in backward + [" <-> ".join(sorted(c)) for c in circles_of(arrows)]:
        print(f"  {line}")
    folders = collections.Counter(str(p.parent.relative_to(root)) for p in files)
    print("files per folder, above 20: " + ", ".join(f"{f} {n}" for f, n in folders.most_common() if n > 20))
    print_functions(functions_of(root))
    alone = sum(len(re.findall(r"(?:size\(\)|num_ranks|world_size)\s*(?:==|!=|>|<=)\s*1\b", p.read_text()))
                for p in files if str(p.relative_to(root)).split("/")[0] in ("parallel", "models"))
    print(f"questions whether a group is one rank, in parallel and models: {alone}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Follows docs/extending.md and compiles, without code, what it adds and changes.

Usage: compile.py BUILD sources|tests

What the page touches lies in a folder of its own that is searched before the source tree; the sources of a room are compiled as one,
with the options of a source of that room in BUILD/compile_commands.json.
"""
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import page

ROOMS = {"runtime": r"/runtime/base/\w+\.cpp$|unity/runtime_0\.cpp$", "parallel": r"/parallel/plan/\w+\.cpp$|unity/parallel_0\.cpp$",
         "models": r"/models/config/\w+\.cpp$|unity/models_0\.cpp$", "launch": r"/launch/config/\w+\.cpp$|unity/launch_0\.cpp$",
         "tests": r"/tests/models/config/\w+_test\.cpp$|unity/models_tests_0\.cpp$"}


def options_of(commands, pattern):
    """The compiler's words for a source that matches, without the source and what it is made into."""
    entry = next((c for c in commands if re.search(pattern, c["file"])), None)
    if entry is None:
        sys.exit(f"compile: no source of the build matches {pattern}: build the tests there first")
    words = shlex.split(entry["command"])
    words = words[next(i for i, word in enumerate(words) if re.search(r"(\+\+|gcc|clang|nvcc)[-\d.]*$", word)):]
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-c", "-MF", "-MT"):
            skip = True
        elif word not in ("-MD", "-MMD", entry["file"]):
            kept.append(word)
    return entry["directory"], kept


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in ("sources", "tests"):
        sys.exit(__doc__)
    root, build = page.root_of_sources(), Path(sys.argv[1]).resolve()
    commands = json.loads((build / "compile_commands.json").read_text())
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = page.follow(root, folder)
        for room in ["tests"] if sys.argv[2] == "tests" else [r for r in ROOMS if r != "tests"]:
            sources = [f for f in files if f.startswith(room + "/") and f.endswith(".cpp")]
            unit = folder / f"{room}.cpp"
            unit.write_text("".join(f'#include "{f}"\n' for f in sources))
            directory, words = options_of(commands, ROOMS[room])
            done = subprocess.run([words[0], f"-I{folder}", *words[1:], "-fsyntax-only", str(unit)], cwd=directory)
            print(f"compile: {room}: {' '.join(sources)}: {'does not compile' if done.returncode else 'compiles'}")
            if done.returncode:
                failed.append(room)
    if failed:
        sys.exit(f"compile: the page does not fit the sources of {', '.join(failed)}")


if __name__ == "__main__":
    try:
        main()
    except page.PageError as error:
        sys.exit(str(error))

#!/usr/bin/env python3
"""What a change can affect.

Usage: affected.py [--base REV | --all] [--draw N] (--files | --headers | --sources | --labels)

A change is every file that differs from the commit REV in the working tree, files that git does not track among them.
Without --base, REV is where this branch left origin/main; on main itself, the last commit that is two hours older than HEAD.
Outside of a git checkout, and with --all, every file has changed.

  --files     the changed files
  --headers   the headers among the changed files, and those that include, by whatever way, one that has lost an #include;
              but for those that a changed source includes before all else, which proves as much where it is compiled alone
  --sources   the .cpp among the changed files in what the lint compiles alone (tests/lint/CMakeLists.txt)
  --labels    the labels of ctest whose tests can see the change (tests/CMakeLists.txt)
  --draw N    no more than N, drawn anew at each commit
"""
import argparse
import hashlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
ANY_INCLUDE = re.compile(r"^\s*#\s*include\s*(\S+)", re.MULTILINE)
SOURCES = {".h", ".cuh", ".cpp", ".cu"}
ROOMS = ("runtime", "parallel", "models", "cluster", "launch", "tests")

ALONE = re.compile(r"(parallel|models|launch|tests/bench)/.*\.cpp$")

# What the programs behind a label are built from; a path that no pattern has (build files, support of tests) affects all.
LABELS = {
    "lint": r".*",
    "runtime": r"runtime/(?!.*/(cuda|nccl)/)|tests/runtime/(?!.*/mpi/)",
    "cuda_on_host": r"runtime/|tests/runtime/ops/",
    "cuda_training": r"runtime/|parallel/|models/|launch/(?!bench/|verify/)|tests/(models/transformer/|gpu/|gpu(_bundle)?\.sh$)",
    "parallel": r"(runtime|parallel|models)/(?!.*/(cuda|nccl)/)|tests/parallel/(?!mpi/)",
    "models": r"(runtime|parallel|models)/(?!.*/(cuda|nccl)/)|tests/models/",
    "launch": r"(runtime|parallel|models|launch|cluster)/(?!.*/(cuda|nccl)/)|tests/launch/(?!mpi/|python/)",
    "mpi": r"(runtime|parallel|models|launch)/(?!.*/(cuda|nccl)/)|examples/|tests/.*/mpi/|tests/launch/(python|scale|start)/|tests/package/|cluster/|tests/cluster/",
}
NO_PROGRAM = re.compile(r"docs/|[^/]*\.md$|\.clang-format$|\.gitignore$|\.ci/|tests/(lint|tools|mutation|golden/.*\.py|bench)/?"
                        r"|tests/(run|nightly)\.sh$")


def git(*arguments):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def default_base():
    head = (git("rev-parse", "HEAD") or "").strip()
    fork = (git("merge-base", "HEAD", "origin/main") or "").strip()
    if fork and fork != head:
        return fork
    date = int((git("show", "-s", "--format=%ct", "HEAD") or "0").strip())
    return (git("rev-list", "-1", f"--before={date - 7200}", "HEAD") or "").strip() or None


def all_files():
    return {file.relative_to(ROOT).as_posix() for room in ROOMS for file in (ROOT / room).rglob("*") if file.is_file()}


def changed_files(base):
    """Changed files that are still there, and those that are gone; None where git cannot say."""
    changed = git("diff", "--name-only", base) if base else None
    untracked = git("ls-files", "--others", "--exclude-standard")
    if changed is None or untracked is None:
        return None
    return set(changed.split("\n")[:-1]) | set(untracked.split("\n")[:-1])


def lost_includes(files, base):
    """Those of the headers that include less than at `base`."""
    lost = set()
    for name in files:
        before = git("show", f"{base}:{name}") if name.endswith((".h", ".cuh")) else None
        if before is not None:
            path = ROOT / name
            now = set(ANY_INCLUDE.findall(path.read_text())) if path.is_file() else set()
            if set(ANY_INCLUDE.findall(before)) - now:
                lost.add(name)
    return lost


def including(files):
    """`files` and every source that includes one of them, by whatever way."""
    includers = {}
    for name in all_files():
        if pathlib.PurePath(name).suffix in SOURCES:
            for included in INCLUDE.findall((ROOT / name).read_text()):
                includers.setdefault(included, set()).add(name)
    found, left = set(files), list(files)
    while left:
        for name in includers.get(left.pop(), ()):
            if name not in found:
                found.add(name)
                left.append(name)
    return found


def is_proved(header, changed):
    """Whether the lint compiles the header's source alone (tests/lint/CMakeLists.txt), which begins with the header."""
    source = str(pathlib.PurePath(header).with_suffix(".cpp"))
    if source not in changed or not ALONE.match(source) or not (ROOT / source).is_file():
        return False
    return INCLUDE.findall((ROOT / source).read_text())[:1] == [header]


def labels_of(files):
    labels = {"lint"} if files else set()
    for name in files:
        if NO_PROGRAM.match(name):
            continue
        seen_by = {label for label, pattern in LABELS.items() if re.match(pattern, name)} - {"lint"}
        labels |= seen_by or set(LABELS)
    return labels


def draw(files, most):
    """At most so many of the files, others at another commit."""
    commit = (git("rev-parse", "HEAD") or "").strip()
    return sorted(files, key=lambda name: hashlib.sha256(f"{commit} {name}".encode()).digest())[:most]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--draw", type=int)
    what = parser.add_mutually_exclusive_group(required=True)
    for name in ("files", "headers", "sources", "labels"):
        what.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    if options.base and git("rev-parse", "--verify", "--quiet", options.base + "^{commit}") is None:
        sys.exit(f"affected: {options.base} is no commit of this repository")
    base = options.base or default_base()
    changed = None if options.all else changed_files(base)
    everything = changed is None
    if everything:
        changed = all_files()
    if options.headers:
        seen = changed if everything else changed | including(lost_includes(changed, base))
        result = {name for name in seen if name.endswith((".h", ".cuh")) and (ROOT / name).is_file()}
        if not everything:
            result = {name for name in result if not is_proved(name, changed)}
    elif options.sources:
        result = {name for name in changed if ALONE.match(name) and (ROOT / name).is_file()}
    else:
        result = labels_of(changed) if options.labels else changed
    if options.draw is not None:
        result = draw(result, options.draw)
    for name in sorted(result):
        print(name)


if __name__ == "__main__":
    main()

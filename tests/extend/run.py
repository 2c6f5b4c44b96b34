#!/usr/bin/env python3
"""Follows docs/extending.md on a copy of the source tree, builds that, runs the tests of the page and trains with all of it.

Usage: run.py FOLDER MPIRUN [OPTION-OF-CMAKE...]

The copy is FOLDER/tree, which is made anew but for its build folder. (compile.py is what CI has time for.)
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import page

TARGET = """
trireme_test_program(extend_tests cpu {tests} runtime/ops/thread_counts_test.cpp LIBRARIES op_thread_cases test_support)
"""


def run(*words, **options):
    print("extend:", *words, flush=True)
    if subprocess.run([str(word) for word in words], **options).returncode:
        sys.exit(f"extend: failed: {' '.join(str(word) for word in words)}")


def copy_tree(root, tree):
    tree.mkdir(parents=True, exist_ok=True)
    for old in tree.iterdir():
        if old.name != "build":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in ("cmake", "docs", "examples", "launch", "models", "parallel", "runtime", "tests"):
        shutil.copytree(root / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CMakeLists.txt", "CMakePresets.json", ".clang-format"):
        shutil.copy2(root / name, tree / name)


def losses_of(run_directory):
    lines = [json.loads(line) for line in (run_directory / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def train(folder, program, mpirun, tree):
    """All additions of the page in one run on 4 ranks, whose loss falls; and as much of it on one rank as one has."""
    options = ["train", "--data.text", tree / "docs/architecture.md", "--preset", "nemotron-tiny", "--model.layers", "2", "--train.seq-len", "64",
               "--train.micro-batch", "2", "--train.global-batch", "8", "--train.steps", "40", "--train.sample-tokens", "0",
               "--optimizer.kind", "sgd", "--optimizer.lr", "0.05", "--loss.truncate", "6"]
    runs = []
    for name, launcher, more in (("one", [], []), ("four", [mpirun, "--oversubscribe", "-np", "4"], ["--parallel.neighbours", "2"])):
        directory = folder / name
        shutil.rmtree(directory, ignore_errors=True)
        run(*launcher, program, *options, "--run.dir", directory, *more, stdout=subprocess.DEVNULL)
        runs.append(losses_of(directory))
        first, last = runs[-1][0]["loss"], runs[-1][-1]["loss"]
        print(f"extend: {name}: loss {first:.4f} to {last:.4f}")
        if not last < first - 0.1:
            sys.exit("extend: the loss does not fall")
        if "objective" not in runs[-1][0]:
            sys.exit("extend: no objective in the metrics")
    if abs(runs[0][0]["loss"] - runs[1][0]["loss"]) > 1e-5 * runs[0][0]["loss"]:
        sys.exit("extend: the first losses differ")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    root, folder, mpirun = page.root_of_sources(), Path(sys.argv[1]).resolve(), sys.argv[2]
    tree = folder / "tree"
    build = tree / "build"  # there a compiler cache has what other clones made
    copy_tree(root, tree)
    files = page.follow(root, tree)
    tests = [f.removeprefix("tests/") for f in files if f.startswith("tests/") and f.endswith("_test.cpp")]
    with open(tree / "tests/CMakeLists.txt", "a") as out:
        out.write(TARGET.format(tests=" ".join(tests)))
    run(sys.executable, "tests/lint/check_layers.py", ".", "tests/lint/rules.txt", cwd=tree)
    run("cmake", "-S", tree, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DTRIREME_TESTS=ON", *sys.argv[3:])
    run("cmake", "--build", build, "--target", "trireme", "extend_tests")
    suites = "*ReluSquared*:*Nemotron*:*Sgd*:*TruncatedLoss*:*TwoLevelSum*:ThreadCountCases.*"
    run(build / "tests/extend_tests", f"--gtest_filter={suites}")
    train(folder, build / "trireme", mpirun, tree)
    print("extend: the page holds")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        main()
    except page.PageError as error:
        sys.exit(str(error))

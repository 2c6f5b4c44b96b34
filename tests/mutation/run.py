#!/usr/bin/env python3
"""Plants faults one at a time and asks the tests to find them.

Usage: run.py [--check] [--draw N --seed S | --piece I/N | NAME...] [--folder FOLDER] [--again] [--jobs N]

Works on a copy of the tree, in FOLDER (build-mutation/), never on the tree itself. Each fault of mutations.txt is written into
the copy, what it changes is built (release preset, no CUDA), and the tests of the CI tier that can see it run until one fails:
first those that its block names, then every label of ctest that tests/tools/affected.py gives for its file. A fault that no
test of that tier finds is shown to the whole tier (TRIREME_TEST_TIER=whole). Then the fault is taken back.

Results are kept in FOLDER/results.tsv after each fault; those of the same fault in the same sources are not tried again
(--again tries them). Exit status: 0 when CI finds every fault that was tried; 1 when it misses one, or when one does not
apply or build, or when the tests fail without any fault.

  --check       only looks whether every block still fits its file
  --draw N      N faults, drawn with the seed S (0)
  --piece I/N   the Ith of N pieces of the list
"""
import argparse
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKS = ROOT / "tests/mutation/mutations.txt"
TIME_LIMIT = 300  # seconds of an entry of ctest that a fault may have hung
NAMED_LIMIT = 60  # of the tests that a block names, which are short
LABELS = ("runtime", "cuda_on_host", "cuda_training", "parallel", "models", "launch", "mpi")
FOLDERS = {"cuda_on_host_tests": "tests/support/cuda_on_host", "cuda_on_host_training_tests": "tests/support/cuda_on_host"}


class Mutation:
    def __init__(self, text):
        self.text = text
        self.fields = {}
        old, new = [], []
        lines = text.split("\n")
        self.name = lines[0].removeprefix("== ").strip()
        for line in lines[1:]:
            if line.startswith("-"):
                old.append(line[1:])
            elif line.startswith("+"):
                new.append(line[1:])
            elif line.strip():
                key, value = line.split(":", 1)
                self.fields[key] = value.strip()
        self.file = self.fields["file"]
        self.old = "".join(line + "\n" for line in old)
        self.new = "".join(line + "\n" for line in new)

    def fault(self):
        """Why this block does not fit its file; None when it does."""
        path = ROOT / self.file
        if not path.is_file():
            return f"{self.file} is gone"
        text = "\n" + path.read_text()
        count = sum(text.startswith("\n" + self.old, at) for at in range(len(text)))  # they may overlap
        if not self.old or self.old == self.new:
            return "it changes nothing"
        return None if count == 1 else f"its old lines occur {count} times in {self.file}, expected once"

    def apply_to(self, text):
        at = ("\n" + text).index("\n" + self.old)
        return text[:at] + self.new + text[at + len(self.old):]


def read_blocks():
    blocks = BLOCKS.read_text().split("\n== ")[1:]
    mutations = [Mutation("== " + block.strip("\n")) for block in blocks]
    names = [m.name for m in mutations]
    if len(set(names)) != len(names):
        sys.exit(f"{BLOCKS}: a name occurs twice")
    return mutations


def tracked_files():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                            check=True).stdout
    return [name for name in listed.split("\n") if name and (ROOT / name).is_file()]


def digest_of_sources():
    digest = hashlib.sha256()
    for name in sorted(tracked_files()):
        if not name.endswith(".md") and name != "tests/mutation/mutations.txt":
            digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


class Copy:
    """The tree's copy and its build."""

    def __init__(self, folder, jobs):
        self.source, self.build, self.jobs = folder / "source", folder / "source/build", jobs
        self.log = (folder / "log.txt").open("a")
        wanted = set(tracked_files())
        for name in wanted:
            self.write(name, (ROOT / name).read_bytes(), (ROOT / name).stat().st_mode)
        for path in self.source.rglob("*"):  # what the tree has lost
            name = path.relative_to(self.source).as_posix()
            if path.is_file() and not name.startswith("build") and name not in wanted:
                path.unlink()

    def write(self, name, content, mode=None):
        """Leaves a file as it is where it has that content already, so that nothing is built again."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        if mode is not None:
            path.chmod(mode)

    def run(self, command, limit, environment=None):
        """The exit status; 124 beyond the limit. All its processes are gone afterwards."""
        self.log.write(f"$ {' '.join(map(str, command))}\n")
        self.log.flush()
        process = subprocess.Popen(list(map(str, command)), cwd=self.source, stdout=self.log, stderr=self.log,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000", **(environment or {})})
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return 124

    def configure(self):
        return self.run(["cmake", "--preset", "release", "-DTRIREME_CUDA=OFF", "-DTRIREME_TESTS=ON", "-DTRIREME_PYTHON=AUTO"], 300)

    def make(self, targets):
        return self.run(["cmake", "--build", self.build, "--target", *targets], 3000)

    def named_tests(self, mutation, environment):
        program, selection = mutation.fields["tests"].split(None, 1)
        if program == "ctest":
            return self.ctest(["-R", selection], environment)
        path = self.build / FOLDERS.get(program, "tests") / program
        return self.run([path, f"--gtest_filter={selection}", "--gtest_fail_fast"], NAMED_LIMIT, environment)

    def ctest(self, selection, environment):
        return self.run(["ctest", "--test-dir", self.build, "--stop-on-failure", "--no-tests=error", "--timeout", TIME_LIMIT, "-j",
                         self.jobs, *selection], 3000, {"GTEST_FAIL_FAST": "1", **environment})


def labels_of(file):
    listed = subprocess.run([sys.executable, "-c",
                             f"import sys; sys.path.insert(0, {str(ROOT / 'tests/tools')!r}); import affected; "
                             f"print(*sorted(affected.labels_of([{file!r}]) - {{'lint'}}))"],
                            capture_output=True, text=True, check=True)
    return listed.stdout.split()


def targets_of(mutation):
    program = mutation.fields["tests"].split()[0]
    return ["tests_of_mpi"] if program == "ctest" else [program]


def try_one(copy, mutation):
    """What became of the fault, in words; the first word says which."""
    original = (ROOT / mutation.file).read_text()
    copy.write(mutation.file, mutation.apply_to(original).encode())
    try:
        if copy.make(targets_of(mutation)) != 0:
            return "UNBUILT see log.txt"
        if status := copy.named_tests(mutation, {}):
            return f"found by {mutation.fields['tests']}" + (" (it hangs)" if status == 124 else "")
        labels = labels_of(mutation.file)
        if copy.make([f"tests_of_{label}" for label in labels]) != 0:
            return "UNBUILT see log.txt"
        for label in labels:  # one after the other, so that the result says which
            if copy.ctest(["-L", f"^{label}$"], {}):
                return f"found by label {label}"
        for label in labels:
            if copy.ctest(["-L", f"^{label}$"], {"TRIREME_TEST_TIER": "whole"}):
                return f"LOST: the whole tier finds it in label {label}, CI does not"
        return "SURVIVED every test"
    finally:
        copy.write(mutation.file, original.encode())


def clean_tests_pass(copy):
    """Without a fault every test of the tier must pass, or finding one would say nothing."""
    return (copy.configure() == 0 and copy.make([f"tests_of_{label}" for label in LABELS]) == 0 and
            copy.ctest(["-LE", "lint"], {}) == 0)


def choose(mutations, options):
    if options.names:
        known = {m.name: m for m in mutations}
        if unknown := [name for name in options.names if name not in known]:
            sys.exit(f"no mutation is called {', '.join(unknown)}")
        return [known[name] for name in options.names]
    if options.draw:
        return random.Random(options.seed).sample(mutations, min(options.draw, len(mutations)))
    if options.piece:
        index, count = (int(part) for part in options.piece.split("/"))
        if not 1 <= index <= count:
            sys.exit(f"--piece {options.piece}: expected I/N with I from 1 to N")
        return mutations[index - 1::count]
    return mutations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--draw", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--piece")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build-mutation")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    mutations = read_blocks()
    unfit = [f"{m.name}: {fault}" for m in mutations if (fault := m.fault())]
    for line in unfit:
        print(f"mutations.txt: {line}")
    if options.check or unfit:
        print(f"{len(mutations)} mutations, {len(unfit)} do not fit their files")
        return 1 if unfit else 0

    chosen = choose(mutations, options)
    options.folder.mkdir(parents=True, exist_ok=True)
    sources = digest_of_sources()
    results = options.folder / "results.tsv"
    known = {}
    for line in results.read_text().splitlines() if results.is_file() else []:
        key, _, outcome = line.split("\t")
        known[key] = outcome
    copy = Copy(options.folder, options.jobs)

    def keep(key, name, outcome):
        known[key] = outcome
        with results.open("a") as file:
            file.write(f"{key}\t{name}\t{outcome}\n")

    if known.get(sources) != "passed":
        begin = time.time()
        if not clean_tests_pass(copy):
            sys.exit(f"without any fault the tests do not pass: see {options.folder}/log.txt")
        keep(sources, "no fault", "passed")
        print(f"{time.time() - begin:6.0f} s  no fault: built, every test passes", flush=True)

    missed = 0
    for mutation in chosen:
        key = hashlib.sha256((sources + mutation.text).encode()).hexdigest()[:16]
        begin, note = time.time(), ""
        if key not in known or options.again:
            keep(key, mutation.name, try_one(copy, mutation))
        else:
            note = " (before)"
        print(f"{time.time() - begin:6.0f} s  {mutation.name} [{mutation.fields['kind']}]: {known[key]}{note}", flush=True)
        missed += not known[key].startswith("found")
    print(f"{len(chosen)} faults planted, {len(chosen) - missed} found by the tests of CI")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

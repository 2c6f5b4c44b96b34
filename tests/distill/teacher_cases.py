#!/usr/bin/env python3
"""`trireme teacher` and trainings from its files, as users call them, with small models that were trained here.

usage: teacher_cases.py PROGRAM MPIRUN files|ends
"""
import filecmp
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

DATA = ["--data.text", "text.txt", "--train.seq-len", "32", "--train.micro-batch", "2"]
MODEL = ["--model.family", "llama", "--model.layers", "2", "--model.hidden", "32", "--model.heads", "4", "--model.kv-heads", "2",
         "--model.ffn", "64", "--train.sample-tokens", "0", "--run.threads", "1", "--train.log-every", "1"]
STUDENT = [*DATA, *MODEL, "--train.steps", "6", "--train.global-batch", "4", "--optimizer.lr", "0.01", "--distill.weight", "1"]
WRITE = [*DATA, "--samples", "24", "--shard-tokens", "128", "--threads", "1"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(120):
                file.write(f"Line {i * i % 91} of a text that a small model learns by heart.\n")
        self.call("train", *DATA, *MODEL, "--train.steps", "12", "--optimizer.lr", "0.01", "--run.dir", "teacher")

    def command(self, *arguments, ranks=1):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return [*launcher, self.program, *map(str, arguments)]

    def call(self, *arguments, ranks=1, code=0):
        done = subprocess.run(self.command(*arguments, ranks=ranks), capture_output=True, text=True, timeout=120, check=False)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done

    def write(self, out, *arguments, **more):
        return self.call("teacher", "teacher", "--out", out, *WRITE, *arguments, **more).stdout

    def refuse(self, words, *arguments, code=2, command=("teacher", "teacher", "--out", "refused")):
        done = self.call(*command, *arguments, code=code)
        expect(words in done.stderr, f"'{words}' is not in: {done.stderr}")
        left = [name for name in os.listdir(".") if name.startswith("refused")]
        expect(not left, f"{arguments}: left {left}")

    def losses(self, directory, *arguments, **more):
        self.call("train", *STUDENT, "--run.dir", directory, *arguments, **more)
        with open(f"{directory}/metrics.jsonl", encoding="utf-8") as file:
            return [row["loss"] for row in map(json.loads, file) if "loss" in row]

    def same_files(self, one, other):
        names = sorted(map(os.path.basename, glob.glob(f"{one}/*")))
        expect(names == sorted(map(os.path.basename, glob.glob(f"{other}/*"))), names)
        for name in names:
            expect(filecmp.cmp(f"{one}/{name}", f"{other}/{name}", shallow=False), f"{one} and {other} differ in {name}")

    # Parts

    def files(self):
        """The same bytes whoever writes; students of the files do as students of the teacher do."""
        said = self.write("top", "--tokens", "top-k:8")
        expect("predicted" in said and "bytes a token" in said, said)
        expect(not os.path.exists("top.partial") and len(glob.glob("top/tokens-*.bin")) == 6, os.listdir("top"))
        self.write("two", "--tokens", "top-k:8", "--dp", 2, ranks=2)
        self.same_files("top", "two")
        self.write("drawn", "--tokens", "sample:12")
        for files, tokens in (("top", "top-k:8"), ("drawn", "sample:12")):
            online = self.losses(f"online-{files}", "--distill.teacher", "teacher", "--distill.tokens", tokens)
            offline = self.losses(f"offline-{files}", "--distill.teacher", files)
            expect(len(online) == 6 and online[0] == offline[0], (online, offline))
            for one, other in zip(online, offline):
                expect(abs(one - other) < 1e-3, (files, online, offline))
            expect(online[-1] < online[0], online)
        self.losses("sharded", "--distill.teacher", "top", "--parallel.data", 2, ranks=2)
        self.refusals()

    def refusals(self):
        self.refuse("--out DIR is missing", *DATA, command=("teacher", "teacher"))
        self.refuse("top-k:N or sample:N", *WRITE, "--tokens", "top:3")
        self.refuse("--data.text FILE or --data.tokens FILE")
        self.refuse("top is there already", *WRITE, command=("teacher", "teacher", "--out", "top"))
        self.refuse("positions for 32 tokens", *WRITE, "--train.seq-len", 33)
        self.refuse("another tokenizer", *WRITE, "--data.tokenizer", "char", code=3)
        train = ("train", *STUDENT, "--run.dir", "refused", "--distill.teacher", "top")
        self.refuse("train.seq-len: 32 in the files, 16", "--train.seq-len", 16, command=train, code=3)
        self.refuse("sample 24 of this run", "--train.steps", 7, command=train, code=3)
        self.refuse("--train.seed", "--train.seed", 3, command=train, code=3)

    def ends(self):
        """A signal, then the same command, in another layout."""
        self.write("whole", "--tokens", "top-k:4", "--samples", 400)
        arguments = ("teacher", "teacher", "--out", "ended", *WRITE, "--tokens", "top-k:4", "--samples", 400)
        child = subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while len(glob.glob("ended.partial/tokens-*.bin")) < 2 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=60)
        if child.returncode != 0:  # it may have been done before
            expect(child.returncode == 75 and "the same command goes on" in said, (child.returncode, said))
            expect(not os.path.exists("ended") and glob.glob("ended.partial/tokens-*.bin"), os.listdir("."))
            self.refuse("was 4 and is 5", "--tokens", "top-k:5", command=arguments)
            done = self.call(*arguments, "--dp", 2, ranks=2).stdout
            expect("going on" in done, done)
        self.same_files("whole", "ended")


def main():
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        getattr(Cases(program, mpirun), part)()


if __name__ == "__main__":
    main()

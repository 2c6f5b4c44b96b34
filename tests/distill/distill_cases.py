#!/usr/bin/env python3
"""`trireme train --distill.teacher` as users call it, in several layouts.

usage: distill_cases.py PROGRAM MPIRUN layouts|refusals|ends
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

DATA = ["--data.text", "text.txt", "--train.seq-len", "32", "--train.micro-batch", "2", "--train.global-batch", "8",
        "--train.sample-tokens", "0", "--run.threads", "1", "--optimizer.lr", "0.005"]
TEACHER = [*DATA, "--model.family", "llama", "--model.layers", "2", "--model.hidden", "48", "--model.heads", "4",
           "--model.kv-heads", "2", "--model.ffn", "96", "--train.steps", "30"]
STUDENT = [*DATA, "--model.family", "gpt2", "--model.layers", "2", "--model.hidden", "32", "--model.heads", "2",
           "--train.steps", "6", "--distill.teacher", "teacher"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(300):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")
        self.call("train", *TEACHER, "--run.dir", "teacher")

    def command(self, *arguments, ranks=1):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return [*launcher, self.program, *map(str, arguments)]

    def call(self, *arguments, ranks=1, code=0):
        done = subprocess.run(self.command(*arguments, ranks=ranks), capture_output=True, text=True, timeout=120, check=False)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def distill(self, directory, *arguments, **more):
        return self.call("train", *STUDENT, "--run.dir", directory, *arguments, **more)

    def metrics(self, directory):
        with open(f"{directory}/metrics.jsonl", encoding="utf-8") as file:
            steps = [json.loads(line) for line in file]
        return {m["step"]: (m["loss"], m["objective"]) for m in steps if m.get("step", 0) > 0}

    def follows(self, directory, one, tolerance=2e-4):
        found = self.metrics(directory)
        expect(found.keys() == one.keys(), f"{directory}: steps {sorted(found)}, not {sorted(one)}")
        for step, numbers in one.items():
            for a, b in zip(found[step], numbers):
                expect(abs(a - b) <= tolerance * abs(b), f"{directory}, step {step}: {found[step]}, not {numbers}")

    # Parts

    def layouts(self):
        said = self.distill("one", "--checkpoint.keep", 1)
        one = self.metrics("one")
        expect("teacher" in said and "forward KL" in said, said)
        expect(all(abs(loss - objective) > 1e-3 for loss, objective in one.values()), one)
        self.distill("two", "--dp", 2, "--distill.tensor", 2, ranks=2)
        self.follows("two", one)
        said = self.distill("own", "--dp", 2, "--distill.ranks", 1, ranks=3)
        expect("ranks of its own: 1" in said, said)
        self.follows("own", one)
        # A run is stopped, and resumed in another layout, the teacher's too.
        self.distill("resumed", "--tp", 2, "--distill.pipeline", 2, "--train.stop-after", 3, "--checkpoint.every", 3, code=75, ranks=2)
        self.distill("resumed", "--resume", "must", "--pp", 2, "--distill.ranks", 1, "--checkpoint.every", 3, ranks=3)
        self.follows("resumed", one)
        self.distill("few", "--distill.tokens", "sample:12", "--distill.weight", 1)

    def refusals(self):
        def refuse(words, *arguments, code=2, ranks=1):
            said = self.distill("refused", *arguments, code=code, ranks=ranks)
            expect(words in said, f"'{words}' is not in: {said}")

        refuse("distill.skew has no effect", "--distill.skew", 0.2)
        refuse("product divides 2", "--dp", 2, "--distill.tensor", 3, ranks=2)
        refuse("distill.ranks 1: there is 1 rank", "--distill.ranks", 1)
        refuse("of the teacher: ", "--dp", 3, "--train.global-batch", 12, "--distill.tensor", 3, ranks=3)
        refuse("sampled tokens", "--distill.tokens", "sample:4", "--distill.divergence", "jsd")
        with open("text.txt", "a", encoding="utf-8") as file:
            file.write("Ωmega\n")
        refuse("has the tokenizer", "--data.tokenizer", "char", code=3)
        said = self.call("verify", *STUDENT, code=2)
        expect("without a teacher" in said, said)

    def ends(self):
        """A signal ends both in good order, and what follows is what would have been."""
        command = self.command("train", *STUDENT, "--run.dir", "ended", "--train.steps", 400, "--distill.ranks", 1,
                               "--checkpoint.keep", 1, "--resume", "auto", ranks=2)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
            while not os.path.exists("ended/metrics.jsonl") or len(self.metrics("ended")) < 3:
                expect(job.poll() is None, "the job has ended")
                time.sleep(0.05)
            ranks = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout.split()
            os.kill(int(ranks[0]), signal.SIGTERM)  # mpirun's own code would be another
            said = job.communicate(timeout=60)[0]
        expect(job.returncode == 75, f"exit code {job.returncode}: {said}")
        done = len(self.metrics("ended"))
        said = self.call("train", *STUDENT, "--run.dir", "ended", "--train.steps", 400, "--train.stop-after", done + 2,
                         "--checkpoint.keep", 1, "--resume", "must", code=75)
        expect(f"after step {done}" in said, said)
        # What one side cannot do ends both.
        shutil.copytree("teacher", "broken")
        with open("broken/model.safetensors", "r+b") as file:
            file.truncate(os.path.getsize("broken/model.safetensors") - 64)
        said = self.distill("stopped", "--distill.teacher", "broken", "--distill.ranks", 1, code=3, ranks=2)
        expect("broken/model.safetensors" in said, said)


def main():
    program, mpirun, part = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="trireme-test-") as folder:
        os.chdir(folder)
        getattr(Cases(os.path.abspath(program), mpirun), part)()
        os.chdir("/")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""`trireme compress` of a small model that was trained here, as users call it.

usage: compress_cases.py PROGRAM MPIRUN recipes|refusals|layouts|ends
"""
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

TINY = ["--data.text", "text.txt", "--model.family", "llama", "--model.layers", "2", "--model.hidden", "64", "--model.heads",
        "4", "--model.kv-heads", "2", "--model.ffn", "128", "--train.seq-len", "64", "--train.steps", "30", "--train.micro-batch",
        "3", "--optimizer.lr", "0.01", "--train.sample-tokens", "0", "--run.threads", "1", "--checkpoint.keep", "1", "--run.dir",
        "run"]
SHORT = ["--calibration.samples", "8", "--eval.tokens", "512", "--eval.decode-tokens", "4", "--threads", "1"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")
        self.call("train", *TINY)

    def command(self, *arguments, ranks=1):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return [*launcher, self.program, *map(str, arguments)]

    def call(self, *arguments, ranks=1, code=0):
        done = subprocess.run(self.command(*arguments, ranks=ranks), capture_output=True, text=True, timeout=120, check=False)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done

    def compress(self, out, *arguments, **more):
        return self.call("compress", "run", "--out", out, *SHORT, *arguments, **more)

    def report(self, out):
        with open(f"{out}/compression.json", encoding="utf-8") as file:
            return json.load(file)

    def refuse(self, words, *arguments, code=2, ranks=1):
        done = self.compress("refused", *arguments, code=code, ranks=ranks)
        expect(words in done.stderr, f"'{words}' is not in: {done.stderr}")
        left = [name for name in os.listdir(".") if name.startswith("refused")]
        expect(not left, f"{arguments}: left {left}")

    # Parts

    def named(self):
        for recipe, size in (("int8", 0.33), ("int4", 0.25)):
            said = self.compress(recipe, "--recipe", recipe, "--gate.perplexity", "+50%").stdout
            expect("predicted" in said and "tokens/s" in said and "read back: perplexity" in said, said)
            report = self.report(recipe)
            base, step = report["base"], report["steps"][0]["figures"]
            expect(step["bytes"] / step["fp32_bytes"] < size, step)
            expect(base["kl_divergence"]["mean"] == 0 < step["kl_divergence"]["mean"] < 0.5, step)
            expect(0.6 < step["same_top_token"]["mean"] <= 1 and step["tokens_per_second"] > 0, step)
            expect(report["predicted_seconds"] > 0 and report["seconds"] > 0, report)
            expect(len(report["steps"][0]["matrices"]) >= 14, report["steps"][0]["matrices"])
            expect(os.path.getsize(f"{recipe}/model.safetensors") == step["bytes"], step)
            expect("<html" in open(f"{recipe}/report.html", encoding="utf-8").read(), recipe)
            # What generate and evaluate make of it is what was measured.
            expect(not os.path.exists(f"{recipe}.partial"), os.listdir("."))
            text = self.call("generate", recipe, "Line 3 of", "--max-tokens", 20, "--threads", 1).stdout
            expect(len(text) == 21, text)
        eight, four = (self.report(r)["steps"][0]["figures"]["kl_divergence"]["mean"] for r in ("int8", "int4"))
        expect(eight < four, f"int8 diverges by {eight}, int4 by {four}")

    def same_as_evaluate(self):
        """The figures are those of `trireme evaluate` on the same text."""
        with open("other.txt", "w", encoding="utf-8") as file:
            file.write("".join(f"Line {7 * i % 90} of a heart that learns again.\n" for i in range(20)))
        self.compress("small", "--method", "gptq", "--group", 32, "--embedding", "int8:32", "--eval.text", "other.txt",
                      "--eval.tokens", 4096)
        report = self.report("small")
        for model, figures in (("small", report["steps"][0]["figures"]), ("run", report["base"])):
            found = json.loads(self.call("evaluate", model, "--text", "other.txt", "--json", "--threads", 1).stdout)["text"]
            expect(math.isclose(found["perplexity"], figures["perplexity"], rel_tol=1e-6), f"{model}: {found} and {figures}")

    def chain(self):
        with open("chain.ini", "w", encoding="utf-8") as file:
            file.write("[calibration]\nsamples = 4\n[step ffn]\nmethod = gptq\nweights = int4\ngroup = 32\nskip = *.attention.*\n"
                       "[step rest]\nmethod = nearest\nweights = int8\ngroup = 32\nembedding = int8:32\n")
        self.call("compress", "run", "--out", "chained", "--recipe", "chain.ini", *SHORT[2:])
        first, second = self.report("chained")["steps"]
        expect(first["figures"]["bytes"] > second["figures"]["bytes"], (first["figures"], second["figures"]))
        names = {matrix["name"]: matrix["what"] for matrix in second["matrices"]}
        expect("layers.0.attention.query.weight" in names and "layers.0.ffn.up.weight" not in names, names)

    def recipes(self):
        self.named()
        self.same_as_evaluate()
        self.chain()

    def refusals(self):
        self.refuse("no such recipe and no such file", "--recipe", "int5")
        self.refuse("which groups of 128 do not divide: 64, 32, 0", "--method", "gptq", "--group", 128)
        self.refuse("samples of 64 tokens, and short.txt has", "--calibration.text", self.write("short.txt", "Line 3."))
        self.refuse("absent.txt", "--calibration.text", "absent.txt", code=3)
        self.refuse("no matrix has such a name", "--method", "nearest", "--skip", "*.dwon.*")
        self.refuse("the model has positions for 64 tokens", "--calibration.seq-len", 65)
        wrong = self.write("wrong.ini", "[step a]\nmethod = gptq\nordre = groups\n")
        self.refuse("wrong.ini:3: ordre is not a key of [step a]; did you mean order?", "--recipe", wrong, code=3)
        self.refuse("--gate.size", "--recipe", "int8", "--gate.size", "1/9", code=8)
        self.refuse("--gate.kl 0: the mean KL divergence", "--method", "nearest", "--gate.kl", 0, code=8)
        self.refuse("--tp 2", "--recipe", "int8", "--tp", 2)
        os.mkdir("there")
        done = self.compress("there", "--recipe", "int8", code=2)
        expect("there is there already" in done.stderr and os.listdir("there") == [], done.stderr)
        self.singular()

    def write(self, name, text):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
        return name

    def singular(self):
        """One token again and again: every Hessian has rank one, or is zero but for some inputs."""
        text = self.write("same.txt", "a" * 4000)
        said = self.compress("singular", "--method", "gptq", "--group", 32, "--calibration.text", text, "--eval.text", "text.txt").stdout
        report = self.report("singular")["steps"][0]
        expect(all(math.isfinite(matrix["error"]) for matrix in report["matrices"]), report["matrices"])
        expect(math.isfinite(report["figures"]["perplexity"]), said)

    def layouts(self):
        options = ["--method", "gptq", "--weights", "int4", "--group", 32, "--embedding", "int8:32", "--activations", "exact"]
        self.compress("alone", *options)
        alone = self.report("alone")["steps"][0]
        for layout in (["--tp", 2], ["--pp", 2], ["--dp", 2]):
            name = layout[0].strip("-")
            self.compress(name, *options, *layout, ranks=2)
            found = self.report(name)["steps"][0]
            ours, theirs = (step["figures"]["perplexity"] for step in (alone, found))
            expect(math.isclose(ours, theirs, rel_tol=2e-3), f"{layout}: perplexity {theirs} instead of {ours}")
            expect(found["figures"]["bytes"] == alone["figures"]["bytes"], f"{layout}: {found['figures']}")
            for one, two in zip(alone["matrices"], found["matrices"]):
                expect(one["name"] == two["name"] and one["tokens"] == two["tokens"], f"{layout}: {two} instead of {one}")
                expect(math.isclose(one["error"], two["error"], rel_tol=0.05, abs_tol=1e-6), f"{layout}: {two} instead of {one}")
        self.refuse("--gate.size", "--recipe", "int8", "--gate.size", "1/9", "--tp", 2, code=8, ranks=2)

    def ends(self):
        """A signal ends it where the same command goes on; other arguments are refused; a kill leaves nothing half-written."""
        options = ["--method", "gptq", "--group", 32, "--calibration.samples", 400, "--embedding", "int8:32"]
        self.compress("whole", *options)
        for how in (signal.SIGTERM, signal.SIGKILL):
            name = how.name.lower()
            blocks = f"{name}.partial/step-1"
            with subprocess.Popen(self.command("compress", "run", "--out", name, *SHORT, *options), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as running:
                until = time.time() + 60
                while time.time() < until and running.poll() is None:
                    if os.path.isdir(blocks) and any(re.match(r"(block-\d+|embeddings)\.safetensors$", entry) for entry in os.listdir(blocks)):
                        break
                    time.sleep(0.002)
                running.send_signal(how)
                said = running.communicate(timeout=60)
            if running.returncode == 0:  # it was done before the signal came
                continue
            expect(running.returncode in (75, -how), f"{how}: {running.returncode}: {said}")
            expect(not os.path.exists(name) and os.path.isdir(f"{name}.partial"), os.listdir("."))
            done = self.compress(name, *options, "--calibration.seed", 2, code=2)
            expect("--calibration.seed was 1 and is 2; --restart begins anew" in done.stderr, done.stderr)
            done = self.compress(name, *options)
            expect("going on" in done.stdout, done.stdout)
            self.expect_equal_weights(name, "whole")

    def expect_equal_weights(self, one, other):
        read = [open(f"{name}/model.safetensors", "rb").read() for name in (one, other)]
        expect(read[0] == read[1], f"{one} and {other} have other weights")


def main(cases):
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        getattr(cases(program, mpirun), part)()


if __name__ == "__main__":
    main(Cases)

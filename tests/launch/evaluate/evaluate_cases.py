#!/usr/bin/env python3
"""`trireme evaluate` and `trireme bench generate` of small models, as users call them.

usage: evaluate_cases.py PROGRAM MPIRUN one|layouts
"""
import glob
import json
import math
import os
import subprocess
import sys
import tempfile

TINY = ["--data.text", "text.txt", "--model.family", "llama", "--model.layers", "2", "--model.hidden", "64", "--model.heads",
        "4", "--model.kv-heads", "2", "--model.ffn", "64", "--train.seq-len", "64", "--train.steps", "30", "--train.micro-batch",
        "3", "--optimizer.lr", "0.01", "--train.sample-tokens", "0", "--run.threads", "1", "--checkpoint.keep", "1", "--run.dir",
        "run"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")
        with open("other.txt", "w", encoding="utf-8") as file:
            file.write("".join(f"Line {7 * i % 90} of a heart that learns again.\n" for i in range(20)))
        with open("choices.jsonl", "w", encoding="utf-8") as file:
            for right in range(2):
                choices = ["xq#zz", "xq#zz"]
                choices[right] = "learns"
                file.write(json.dumps({"context": "Line 3 of a text that a small model ", "choices": choices, "label": right}) + "\n")
        self.call("train", *TINY)

    def call(self, *arguments, ranks=1, code=0):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        done = subprocess.run([*launcher, self.program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done

    def json(self, *arguments, ranks=1):
        return json.loads(self.call("evaluate", *arguments, "--json", "--threads", 1, ranks=ranks).stdout)

    def refuse(self, words, *arguments, code=2):
        done = self.call("evaluate", *arguments, code=code)
        expect(words in done.stderr and not done.stdout, f"'{words}' is not in: {done.stderr}{done.stdout}")

    # Parts

    def texts(self):
        found = self.json("run", "--text", "other.txt")["text"]
        size = os.path.getsize("other.txt")
        expect((found["tokens"], found["bytes"], found["seq_len"]) == (size - 1, size - 1, 64), found)
        expect(found["windows"] == math.ceil((size - 1) / 64), found)
        expect(0.1 < found["nats_per_token"]["mean"] < 5 and found["nats_per_token"]["standard_error"] > 0, found)
        expect(math.isclose(found["perplexity"], math.exp(found["nats_per_token"]["mean"])), found)
        shorter = self.json("run", "--text", "other.txt", "--seq-len", 16)["text"]
        expect(shorter["nats_per_token"]["mean"] > found["nats_per_token"]["mean"], f"{shorter} after {found}")
        said = self.call("evaluate", "run", "--text", "other.txt").stdout
        expect(f"loss {found['nats_per_token']['mean']:.4f} +- " in said and "perplexity" in said, said)
        checkpoint = glob.glob("run/checkpoints/step-*")[0]
        again = self.json(checkpoint, "--text", "other.txt", "--batch-tokens", 20)["text"]
        expect(again == found, f"{again} of the checkpoint, {found} of the run")

    def references(self):
        same = self.json("run", "--text", "other.txt", "--against", "run")["text"]
        expect(same["kl_divergence"]["mean"] == 0 and same["same_top_token"]["mean"] == 1, same)
        expect(same["reference"]["perplexity"] == same["perplexity"], same)
        means = []
        for options in (["int8"], ["int4", "--activations", "exact"], ["int4"]):
            found = self.json("run", "--text", "other.txt", "--against", "run", "--weights", *options)["text"]
            expect(found["reference"]["perplexity"] == same["perplexity"], found)
            means.append(found["kl_divergence"]["mean"])
        expect(0 < means[0] < means[1] and means[1] < 1 and means[2] > 0, means)
        certain = self.json("run", "--text", "other.txt", "--against", "run", "--exit.layer", 1, "--exit.confidence", 1)
        expect(certain["text"] == same and certain["exits"]["mean_layers"] == certain["exits"]["layers"] == 2, certain)
        some = self.json("run", "--text", "other.txt", "--against", "run", "--exit.layer", 1, "--exit.confidence", 0.1)
        expect(some["text"]["kl_divergence"]["mean"] > 0 and 1 <= some["exits"]["mean_layers"] < 2, some)

    def questions(self):
        found = self.json("run", "--choices", "choices.jsonl")["choices"]
        expect(found["questions"] == found["labels"] == 2 and found["accuracy"]["mean"] == 1, found)
        expect(found["answers"][0]["best"] == 0 and found["answers"][1]["best"] == 1, found)
        flipped = [answer["log_probabilities"] for answer in found["answers"]]
        expect(flipped[0] == flipped[1][::-1], f"the order of choices changes {flipped}")

    def errors(self):
        self.refuse("nothing to evaluate on", "run")
        self.refuse("evaluate takes one MODEL, given 0", "--text", "other.txt")
        self.refuse("--against compares two models on a text", "run", "--choices", "choices.jsonl", "--against", "run")
        self.refuse("--max-seq-len is not an option of trireme evaluate", "run", "--text", "other.txt", "--max-seq-len", 4)
        self.refuse("has positions for 64 tokens", "run", "--text", "other.txt", "--seq-len", 65)
        self.refuse("absent.txt", "run", "--text", "absent.txt", code=3)
        self.refuse("absent", "absent", "--text", "other.txt", code=3)
        self.refuse("--activations has no effect", "run", "--text", "other.txt", "--activations", "int8")
        with open("empty.txt", "w", encoding="utf-8"):
            pass
        self.refuse("predicts nothing", "run", "--text", "empty.txt")
        self.refuse("--tp 2", "run", "--text", "other.txt", "--tp", 2)

    def speeds(self):
        options = ["--prompt-tokens", 40, "--decode-tokens", 3, "--repeats", 2, "--threads", 1, "--json", "speed.json"]
        for model in (["run", "--batch", 2], ["--preset", "llama-tiny"], ["--preset", "llama-tiny", "--weights", "int4"]):
            said = self.call("bench", "generate", *model, *options).stdout
            with open("speed.json", encoding="utf-8") as file:
                found = json.load(file)
            expect(found["decode_tokens_per_second"]["median"] > 0 and found["step_bytes"] > 0, found)
            expect("prompt" in said and "decode" in said and "stream's rate" in said, said)
        done = self.call("bench", "generate", "--preset", "smollm2-135m", "--weights", "q4_k", code=2)
        expect("blocks have 256 inputs" in done.stderr, done.stderr)
        done = self.call("bench", "generate", "run", "--weights", "q4_0", code=2)
        expect("stay as-stored" in done.stderr, done.stderr)

    def one(self):
        self.texts()
        self.references()
        self.questions()
        self.errors()
        self.speeds()

    def layouts(self):
        asked = ["run", "--text", "other.txt", "--choices", "choices.jsonl", "--against", "run", "--weights", "int8"]
        alone = self.json(*asked)
        for layout in (["--tp", 2], ["--pp", 2]):
            found = self.json(*asked, *layout, ranks=2)
            for of_alone, of_two in ((alone["text"]["nats_per_token"], found["text"]["nats_per_token"]),
                                     (alone["text"]["reference"]["nats_per_token"], found["text"]["reference"]["nats_per_token"])):
                # Activations in 8 bits round otherwise where inputs are divided.
                expect(math.isclose(of_alone["mean"], of_two["mean"], rel_tol=2e-3), f"{layout}: {of_two} instead of {of_alone}")
            expect(math.isclose(alone["text"]["reference"]["perplexity"], found["text"]["reference"]["perplexity"], rel_tol=1e-5),
                   f"{layout}: {found['text']} instead of {alone['text']}")
            expect([a["best"] for a in found["choices"]["answers"]] == [0, 1], found["choices"])
        self.call("bench", "generate", "--preset", "llama-tiny", "--tp", 2, "--prompt-tokens", 8, "--decode-tokens", 2, "--repeats", 1,
                  "--threads", 1, ranks=2)


def main():
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        getattr(Cases(program, mpirun), part)()


main()

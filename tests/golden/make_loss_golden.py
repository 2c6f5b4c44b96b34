#!/usr/bin/env python3
"""Writes loss_tiny.safetensors: cross-entropy, z-loss and label smoothing as PyTorch computes them.

Rows of logits and, for each case, the plain cross-entropy of each row, what is minimised of it, and the
gradient of the sum of that. All in float64, stored as float32.

  python3 -m venv --system-site-packages venv       # on Debian: python3-torch is found
  venv/bin/pip install safetensors
  venv/bin/python tests/golden/make_loss_golden.py  # writes beside this script
"""
import pathlib

import torch
from safetensors.torch import save_file

ROWS, VOCAB, IGNORED = 12, 37, -1
# Name: z-loss, label smoothing, soft cap.
CASES = {
    "plain": (0, 0, 0),
    "z": (1e-2, 0, 0),
    "smoothed": (0, 0.1, 0),
    "both": (1e-2, 0.1, 0),
    "both_capped": (1e-2, 0.1, 3),
}


def case(logits, targets, z, smoothing, cap):
    x = logits.double().requires_grad_()
    seen = cap * torch.tanh(x / cap) if cap else x

    def cross_entropy(smoothing):
        return torch.nn.functional.cross_entropy(
            seen, targets, ignore_index=IGNORED, reduction="none", label_smoothing=smoothing)

    objective = cross_entropy(smoothing) + z * torch.logsumexp(seen, 1) ** 2 * (targets != IGNORED)
    objective.sum().backward()
    return {"loss": cross_entropy(0), "objective": objective, "gradient": x.grad}


def main():
    torch.manual_seed(1)
    logits = 2 * torch.randn(ROWS, VOCAB)
    targets = torch.randint(VOCAB, (ROWS,))
    targets[3] = IGNORED
    tensors = {"logits": logits, "targets": targets.int()}
    for name, options in CASES.items():
        for what, values in case(logits, targets, *options).items():
            tensors[f"{name}/{what}"] = values.detach().float().contiguous()
    save_file(tensors, pathlib.Path(__file__).parent / "loss_tiny.safetensors")


if __name__ == "__main__":
    main()

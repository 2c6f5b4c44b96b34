#!/usr/bin/env python3
"""Writes distillation_tiny.safetensors: losses of distillation and their gradients as PyTorch computes them.

Rows of a student's and a teacher's logits, where the teacher has fewer tokens and one target is ignored, and
for each case what is minimised of each row, its plain cross-entropy, and the gradient of the sum. All in
float64, stored as float32.

  python3 -m venv --system-site-packages venv       # on Debian: python3-torch is found
  venv/bin/pip install safetensors
  venv/bin/python tests/golden/make_distillation_golden.py  # writes beside this script
"""
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, kl_div

ROWS, VOCAB, COMMON, FEW, IGNORED = 6, 29, 25, 5, -1
# Temperature, weight, z-loss, label smoothing, cap of the student, cap of the teacher.
SETTINGS = {"plain": (1, 1, 0, 0, 0, 0), "warm": (2.5, 0.7, 0, 0, 0, 0), "all": (0.8, 0.4, 1e-2, 0.1, 3, 4)}
SKEW, BETA = 0.1, 0.3


def kl(log_a, log_b):
    return kl_div(log_b, log_a, log_target=True, reduction="none").sum(1)


def mix(share, log_a, log_b):
    return torch.log(share * log_a.exp() + (1 - share) * log_b.exp())


def jsd(p, q):
    m = mix(BETA, p, q)
    return BETA * kl(p, m) + (1 - BETA) * kl(q, m)


DIVERGENCES = {
    "forward_kl": kl,
    "reverse_kl": lambda p, q: kl(q, p),
    "skew_forward": lambda p, q: kl(p, mix(SKEW, p, q)),
    "skew_reverse": lambda p, q: kl(q, mix(SKEW, q, p)),
    "jsd": jsd,
}


def capped(x, cap):
    return cap * torch.tanh(x / cap) if cap else x


def rest_of(log_p, ids):
    """The few tokens' logarithms, and that of all others together."""
    others = torch.ones_like(log_p, dtype=torch.bool).scatter(1, ids, False)
    rest = torch.logsumexp(torch.where(others, log_p, -torch.inf), 1, keepdim=True)
    return torch.cat([log_p.gather(1, ids), rest], 1)


def case(student, teacher, targets, ids, divergence, settings):
    temperature, weight, z, smoothing, cap, teacher_cap = settings
    x = student.double().requires_grad_()
    seen, of_teacher = capped(x, cap), capped(teacher.double(), teacher_cap)
    if ids is None:
        q = torch.log_softmax(seen[:, :COMMON] / temperature, 1)
        p = torch.log_softmax(of_teacher[:, :COMMON] / temperature, 1)
    else:
        q = rest_of(torch.log_softmax(seen / temperature, 1), ids)
        p = rest_of(torch.log_softmax(of_teacher[:, :COMMON] / temperature, 1), ids)
        # What a file has of them.
        few = p[:, :-1].exp().float().double()
        p = torch.cat([few, 1 - few.sum(1, keepdim=True)], 1).log()

    def entropy(smoothing):
        return cross_entropy(seen, targets, ignore_index=IGNORED, reduction="none", label_smoothing=smoothing)

    counts = targets != IGNORED
    objective = (1 - weight) * entropy(smoothing) + counts * (
        z * torch.logsumexp(seen, 1) ** 2 + weight * temperature**2 * DIVERGENCES[divergence](p, q))
    objective.sum().backward()
    out = {"loss": entropy(0), "objective": objective, "gradient": x.grad}
    if ids is not None:
        out["probabilities"] = p[:, :-1].exp()
    return out


def main():
    torch.manual_seed(1)
    student, teacher = 2 * torch.randn(ROWS, VOCAB), 2 * torch.randn(ROWS, VOCAB)
    targets = torch.randint(VOCAB, (ROWS,))
    targets[3] = IGNORED
    ids = torch.stack([torch.randperm(COMMON)[:FEW] for _ in range(ROWS)])
    teacher[:, COMMON:] = -torch.inf
    tensors = {"student": student, "teacher": teacher, "targets": targets.int(), "ids": ids.int()}
    for divergence in DIVERGENCES:
        for setting, values in SETTINGS.items():
            for few in (False, True):
                prefix = f"{divergence}/{setting}/{'few' if few else 'every'}/"
                result = case(student, teacher, targets, ids if few else None, divergence, values)
                for what, numbers in result.items():
                    tensors[prefix + what] = numbers.detach().float().contiguous()
    save_file(tensors, pathlib.Path(__file__).parent / "distillation_tiny.safetensors")


if __name__ == "__main__":
    main()

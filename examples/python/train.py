#!/usr/bin/env python3
"""Trains a small model on a text, step by step, and looks at what happens meanwhile.

    python3 train.py book.txt
    mpirun -n 2 python3 train.py book.txt --tensor 2
"""
import argparse

import numpy as np
import trireme

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("text")
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--tensor", type=int, default=1, help="tensor-parallel degree")
args = parser.parse_args()

config = {
    "data.text": args.text,
    "model": {"family": "llama", "layers": 2, "hidden": 64, "heads": 4},
    "train": {"steps": args.steps, "seq-len": 64, "micro-batch": 4, "global-batch": 8, "sample-tokens": 0},
    "optimizer": {"lr": 3e-3, "warmup": min(10, args.steps // 2)},
    "parallel.tensor": args.tensor,
}
say = print if trireme.rank() == 0 else lambda *words: None

with trireme.Run(config) as run:
    while not run.is_done:
        passes = run.forward_backward()
        if run.steps_done % 20 == 0:
            # Every rank calls it, whatever the layout; the first gets the arrays.
            norms = {name: float(np.linalg.norm(g)) for name, g in run.gradients().items()}
            for name in sorted(norms, key=norms.get, reverse=True)[:3]:
                say(f"    gradient of {name}: norm {norms[name]:.4f}")
        step = run.update()
        if step.step % 10 == 0 or run.is_done:
            say(f"step {step.step}: loss {step.loss:.4f}, learning rate {step.lr:.2e}")
    run.finish()
    sentence = run.evaluate("It was the best of times, it was the worst of times.")
    say(f"{sentence.num_tokens} tokens, perplexity {sentence.perplexity:.2f}; files in {run.directory}")

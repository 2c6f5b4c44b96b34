#!/usr/bin/env python3
"""Looks into a run that has ended: metrics, checkpoint, weights, and how well it predicts a text.

    python3 read_run.py runs/llama-2x64-book
"""
import sys

import numpy as np
import trireme

run = trireme.RunFiles(sys.argv[1])
metrics = run.metrics()
steps = metrics["step"] > 0
print(f"{run.config['model.layers']} layers, {metrics['step'][-1]} steps, loss {metrics['loss'][steps][0]:.4f} to "
      f"{metrics['loss'][-1]:.4f}, median step {np.median(metrics['step_ms'][steps]):.1f} ms")

checkpoint = run.checkpoints()[0]
print(f"{checkpoint.path}: step {checkpoint.state['step']}, {len(checkpoint.tensors)} tensors")
moment = checkpoint.read("optimizer.first_moment.embedding.tokens.weight")
print(f"first moment of the embedding: {moment.dtype} {moment.shape}, mean of magnitudes {np.abs(moment).mean():.3g}")

with trireme.Model(run.directory) as model:
    weights = model.weights()
    print(f"{sum(w.size for w in weights.values()):,} weights in {len(weights)} arrays")
    print(f"perplexity {model.evaluate('It was the best of times, it was the worst of times.').perplexity:.2f}")

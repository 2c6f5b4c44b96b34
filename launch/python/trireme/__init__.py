"""Trireme from Python: runs are started, stepped and read, and what they leave is NumPy arrays.

    import trireme

    with trireme.Run({"data.text": "book.txt", "model": {"preset": "gpt2-3m"}, "train.steps": 500}) as run:
        for step in run:
            print(step.step, step.loss)
    print(trireme.read_metrics("runs/gpt2-3m-book")["loss"])

docs/python.md has more; under ``mpirun -n 2 python3 script.py`` every rank runs the whole script.
"""

import os as _os

# Threads that wait burn no time that other ranks could use; read when the module is loaded.
if "OMP_WAIT_POLICY" not in _os.environ:
    _os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from ._core import (
    AgreedEnd,
    Checkpoint,
    Error,
    InternalError,
    MachineError,
    Passes,
    Step,
    TextLoss,
    UserError,
    __version__,
    build_line,
    find_checkpoints,
    read_weights,
)
from ._files import RunFiles, read_metrics
from ._ranks import rank, world_size
from ._run import Model, Run, resolve

__all__ = [
    "AgreedEnd",
    "Checkpoint",
    "Error",
    "InternalError",
    "MachineError",
    "Model",
    "Passes",
    "Run",
    "RunFiles",
    "Step",
    "TextLoss",
    "UserError",
    "build_line",
    "find_checkpoints",
    "rank",
    "read_metrics",
    "read_weights",
    "resolve",
    "world_size",
]

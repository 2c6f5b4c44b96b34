#!/usr/bin/env python3
"""What ranks_test.py starts under mpirun: each rank runs it. Usage: ranks_script.py CASE FOLDER [KEY=VALUE...]"""
import ctypes
import json
import pathlib
import sys

if "mpi4py" in sys.argv[1]:
    from mpi4py import MPI

import numpy as np
import trireme

from common import small_run

case, folder, *options = sys.argv[1:]
config = small_run(folder, **dict(option.split("=", 1) for option in options))

if case in ("train", "mpi4py_train"):
    with trireme.Run(config) as run:
        text = pathlib.Path(folder, "text.txt").read_text()
        passes = run.forward_backward()
        gradients, weights = run.gradients(), run.weights(on_all_ranks=True)
        assert bool(gradients) == (trireme.rank() == 0)
        first = run.update()
        losses = [first.loss] + [step.loss for step in run]
        run.finish()
        evaluated = run.evaluate(text[:999])
    if case == "mpi4py_train":
        assert MPI.COMM_WORLD.Get_size() == trireme.world_size()
        assert MPI.COMM_WORLD.allreduce(trireme.rank()) == 1
    np.savez(pathlib.Path(folder, f"weights-{trireme.rank()}.npz"), **weights)
    if trireme.rank() == 0:
        np.savez(pathlib.Path(folder, "gradients.npz"), **gradients)
        result = {"losses": losses, "grad_norm": passes.grad_norm, "evaluated": evaluated.loss}
        pathlib.Path(folder, "result.json").write_text(json.dumps(result))
elif case == "one_fails":
    with trireme.Run(config) as run:
        run.step()
        if trireme.rank() == 1:
            error = RuntimeError("rank 1 has had enough")
            error.code = 7  # of another library, and no exit code
            raise error
        for _ in run:
            pass
elif case == "all_refuse":
    trireme.Run(config)
elif case == "metrics_alone":  # no MPI is needed for them
    assert trireme.read_metrics(pathlib.Path(folder, "run"))["step"].size > 1
    started = ctypes.CDLL(trireme._core.__file__).MPI_Initialized  # of what the module is linked with
    is_started = ctypes.c_int(-1)
    assert started(ctypes.byref(is_started)) == 0
    assert is_started.value == 0, "reading metrics has started MPI"
    trireme.rank()
    assert started(ctypes.byref(is_started)) == 0 and is_started.value == 1
elif case == "model":
    with trireme.Model(pathlib.Path(folder, "run"), {"parallel.tensor": 2}) as model:
        loss = model.evaluate(pathlib.Path(folder, "text.txt").read_text()[:999])
        if trireme.rank() == 0:
            print(repr(loss.loss))
else:
    sys.exit(f"no case {case}")

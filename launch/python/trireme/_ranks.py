"""The ranks of this job: MPI from the first call that needs it to the end of the interpreter."""

import atexit
import contextlib
import os
import sys
import traceback
import weakref
from typing import List, Optional

from . import _core

_ranks: Optional[_core.Ranks] = None
_open: List[weakref.ref] = []  # runs and models in the order of their making, which go before MPI does


def ranks() -> _core.Ranks:
    global _ranks
    if _ranks is None:
        _ranks = _core.Ranks()
        atexit.register(_end)
        if _ranks.size > 1:
            _end_job_with_rank()
    return _ranks


def rank() -> int:
    """This process among those that mpirun started, from 0; 0 without mpirun."""
    return ranks().rank


def world_size() -> int:
    """How many processes mpirun started; 1 without."""
    return ranks().size


def keep(closable):
    _open.append(weakref.ref(closable, _open.remove))
    return closable


def _end():
    """Closes what is open, the last one first, as all ranks have to alike."""
    global _ranks
    with contextlib.ExitStack() as closing:
        for reference in list(_open):
            closable = reference()
            if closable is not None:
                closing.callback(closable.close)
    _open.clear()
    _ranks = None


def _end_job_with_rank():
    """What one rank raises and nobody catches ends the job, since the others may wait for it. What all of them
    raise is said once."""
    before = sys.excepthook

    def hook(kind, error, trace):
        sys.stdout.flush()
        code = error.code if isinstance(error, _core.Error) else 1  # others may have a code that is no exit code
        code = 130 if issubclass(kind, KeyboardInterrupt) else code
        by_all = issubclass(kind, _core.AgreedEnd)
        if not by_all and issubclass(kind, _core.UserError):
            by_all = ranks().is_of_all(str(error))
        if by_all:
            if rank() == 0:
                before(kind, error, trace)
            sys.stderr.flush()
            atexit._run_exitfuncs()  # the interpreter would end with 1, whatever the error
            os._exit(code)
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(f"rank {rank()}: {text}")
        sys.stderr.flush()
        _core.abort_job(code)

    sys.excepthook = hook

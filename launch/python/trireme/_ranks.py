"""The ranks of this job: MPI from the first call that needs it to the end of the interpreter."""

import atexit
import os
import sys
import traceback
import weakref
from typing import Optional

from . import _core

_ranks: Optional[_core.Ranks] = None
_open = weakref.WeakSet()  # runs and models, which go before MPI does


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
    _open.add(closable)
    return closable


def _end():
    global _ranks
    for closable in list(_open):
        closable.close()
    _open.clear()
    _ranks = None


def _end_job_with_rank():
    """What one rank raises and nobody catches ends the job, since the others may wait for it. What all of them
    raise is said once."""
    before = sys.excepthook

    def hook(kind, error, trace):
        sys.stdout.flush()
        code = 130 if issubclass(kind, KeyboardInterrupt) else getattr(error, "code", 1)
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

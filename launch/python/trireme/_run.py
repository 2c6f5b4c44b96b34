"""Runs and models of this job's ranks."""

import os
from typing import Any, Dict, Iterator, Mapping, Optional

from . import _core
from ._config import arguments
from ._ranks import keep, ranks


def resolve(config: Mapping[str, Any], *, world_size: Optional[int] = None) -> Dict[str, str]:
    """All options of the run that ``config`` describes, by their keys, with defaults and what follows from
    others; nothing is started. UserError with all that is wrong, as ``trireme train`` says it."""
    size = ranks().size if world_size is None else world_size
    return _core.parse_config(arguments(config), size)


class Run(_core.Run):
    """A run of ``trireme train``, a step at a time: the same options, validation, files and steps, bit for bit.

    ``config`` has the options of docs/options.md as nested dicts, with dots, or both: ``{"model": {"layers": 2}}``
    is ``{"model.layers": 2}``; ``"config"`` names an INI file that the rest wins over. With ``"run.resume"`` the
    run goes on from a checkpoint. ``screen``: print what the program prints.

    All ranks make one, with equal configurations, and then the same calls. After an error out of one of them
    the run has ended. As a context it is finished at the end, if all its steps are done, and closed.
    """

    def __init__(self, config: Mapping[str, Any], *, screen: bool = False):
        super().__init__(ranks(), arguments(config), screen)
        keep(self)

    @property
    def config(self) -> Dict[str, str]:
        """The resolved configuration, by the keys of the options; those without effect are left out."""
        return _core.parse_ini(self.config_ini)

    def __iter__(self) -> Iterator[_core.Step]:
        """Does the steps that are left, one at a time."""
        while not self.is_done:
            yield self.step()

    def train(self) -> Optional[_core.Step]:
        """Does the steps that are left and finishes: the last step, or None if there was none."""
        last = None
        for last in self:
            pass
        self.finish()
        return last

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None and self.is_open and self.is_done:
            self.finish()
        self.close()


class Model(_core.Model):
    """The model of a run that has ended, from its directory, in any layout.

    ``config`` replaces options of the run: ``{"parallel.tensor": 2}``. The data-parallel degree is what the other
    degrees leave of the ranks. All ranks make one, and then the same calls.
    """

    def __init__(self, directory: "os.PathLike[str] | str", config: Mapping[str, Any] = {}):
        super().__init__(ranks(), os.fspath(directory), arguments(config))
        keep(self)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

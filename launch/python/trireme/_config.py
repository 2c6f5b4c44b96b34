"""A configuration as a dict, and as the arguments that the command line has."""

import os
from collections.abc import Mapping
from typing import Any, Iterator, List, Tuple

from ._core import UserError


def _flat(config: Mapping, prefix: str) -> Iterator[Tuple[str, Any]]:
    for key, value in config.items():
        if not isinstance(key, str):
            raise UserError(f"config: the key {prefix}{key!r} is no string")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(key: str, value: Any) -> str:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a number of NumPy's
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return text
    raise UserError(
        f"config: {key} is {value!r}, a {type(value).__name__}; allowed: text, numbers, paths, True and False"
        + ("; what is left out has its default" if value is None else "")
    )


def arguments(config: Mapping) -> List[str]:
    """``{"model": {"layers": 2}}`` and ``{"model.layers": 2}`` are ``--model.layers=2``."""
    if not isinstance(config, Mapping):
        raise UserError(f"config is a {type(config).__name__}; expected a dict of options")
    seen = {}
    for key, value in _flat(config, ""):
        if key in seen:
            raise UserError(f"config: {key} is given twice, nested and with a dot")
        seen[key] = _text(key, value)
    return [f"--{key}={text}" for key, text in seen.items()]

"""What runs leave, as NumPy arrays."""

import json
import os
from typing import Dict, List, Union

import numpy as np

from . import _core

Path = Union[str, "os.PathLike[str]"]


def _column(values: List[object], missing: object) -> np.ndarray:
    if all(isinstance(v, bool) for v in values):
        return np.array(values, dtype=np.bool_)
    if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        return np.array(values, dtype=np.int64)
    return np.array([missing if v is None else v for v in values], dtype=np.float64)


def _flat(record: dict, prefix: str = "") -> Dict[str, object]:
    """Members of objects by names with dots: "breakdown.exposed_ms.data"."""
    out = {}
    for name, value in record.items():
        out.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return out


def read_metrics(path: Path) -> Dict[str, np.ndarray]:
    """The metrics of a run, from its directory or its metrics.jsonl: an array for each, with an element for each
    step, in their order. Whole numbers are int64, flags bool, all else float64, with NaN where a step has none:
    of step 0, the state before the first, is known ``val_loss`` alone. Where the time of a log window went is told at its end:
    "breakdown.compute_ms", "breakdown.exposed_ms.data". Of experts "experts.layer" is [layers], "experts.load"
    [steps, layers, experts], and the others, like "experts.imbalance", [steps, layers]."""
    file = os.path.join(path, "metrics.jsonl") if os.path.isdir(path) else os.fspath(path)
    try:
        with open(file, encoding="utf-8") as lines:
            text = lines.read()
    except OSError as error:
        raise _core.UserError(f"{file}: {error.strerror}") from error
    by_step = {}
    complete = text[: text.rfind("\n") + 1]  # a line that is being written is not there yet
    for number, line in enumerate(complete.splitlines(), 1):
        try:
            record = json.loads(line)
            by_step[record["step"]] = _flat(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _core.UserError(f"{file}:{number} is no line of metrics: {error}") from error
    records = [by_step[step] for step in sorted(by_step)]
    names = list(dict.fromkeys(name for record in records for name in record if name != "experts"))
    columns = {}
    for name in names:
        default = False if name == "skipped" else None
        columns[name] = _column([record.get(name, default) for record in records], np.nan)
    routed = [record for record in records if "experts" in record]
    if routed:
        columns.update(_routers(records, routed[0]["experts"]))
    return columns


def _routers(records: List[dict], pattern: List[dict]) -> Dict[str, np.ndarray]:
    out = {"experts.layer": np.array([router["layer"] for router in pattern], dtype=np.int64)}
    for name in (name for name in pattern[0] if name != "layer"):
        empty = np.full(np.shape([router[name] for router in pattern]), np.nan)
        rows = [[r[name] for r in record["experts"]] if "experts" in record else empty for record in records]
        out["experts." + name] = np.array(rows, dtype=np.float64)
    return out


class RunFiles:
    """What a run has left in its directory; also while it still goes on, and where it has been resumed."""

    def __init__(self, directory: Path):
        self.directory = os.fspath(directory)
        if not os.path.isfile(os.path.join(self.directory, "config.ini")):
            raise _core.UserError(f"{self.directory} is no run: it has no config.ini")

    def __repr__(self) -> str:
        return f"RunFiles({self.directory!r})"

    @property
    def config(self) -> Dict[str, str]:
        """Its resolved configuration, by the keys of the options."""
        return _core.read_config(os.path.join(self.directory, "config.ini"))

    @property
    def log(self) -> str:
        """The text of log.txt."""
        with open(os.path.join(self.directory, "log.txt"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def metrics(self) -> Dict[str, np.ndarray]:
        """read_metrics() of it."""
        return read_metrics(self.directory)

    def weights(self, *, raw: bool = False) -> Dict[str, np.ndarray]:
        """The tensors of its model.safetensors, float32, by their global names."""
        return _core.read_weights(os.path.join(self.directory, "model.safetensors"), raw=raw)

    def checkpoints(self) -> List[_core.Checkpoint]:
        """Its checkpoints, the newest first. UserError where it has none."""
        return [_core.Checkpoint(path) for path in _core.find_checkpoints(self.directory)]

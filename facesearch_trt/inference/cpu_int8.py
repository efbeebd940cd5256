"""Int8 on the CPU: offered where it was measured to be faster and near enough, kept with what was measured."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import EngineError
from ..types import Array
from .engine import Engine
from .files import file_sha256, write_atomic

__all__ = ["CpuInt8", "cpu_has_vnni", "measured_speedup", "offered_int8", "record_int8"]

_log = logging.getLogger(__name__)
_LEAST_SPEEDUP = 1.1
"""Less is within what a measurement varies by."""
_VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "asimddp"}


@dataclass(frozen=True, slots=True)
class CpuInt8:
    """A quantised network and what it is worth on this machine."""

    file: str
    """Name of the ONNX in the directory of engines."""
    source_sha256: str
    """Of the ONNX in float32."""
    speedup: float
    """Time of float32 divided by that of int8, one thread."""
    accurate: bool
    """Whether it stayed within the limits of int8."""
    accuracy: str
    """What was found, for people."""

    @property
    def offered(self) -> bool:
        """Whether the program takes it when int8 is asked for."""
        return self.accurate and self.speedup >= _LEAST_SPEEDUP


def cpu_has_vnni() -> bool:
    """Return whether the CPU adds int8 products in 32 bits (VNNI on x86, SDOT on ARM); without, 16 bits may
    overflow."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(words & _VNNI_FLAGS)


def measured_speedup(reference: Engine, candidate: Engine, feeds: Mapping[str, Array], seconds: float = 2.0) -> float:
    """Return how many times as fast as ``reference`` the ``candidate`` is.

    By turns, so that what else the machine does meets both; of each the fastest call counts, since load only ever adds.

    Parameters
    ----------
    seconds: about how long to measure.
    """
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for index, engine in enumerate((reference, candidate)):
            begun = time.perf_counter()
            engine.infer(feeds)
            best[index] = min(best[index], time.perf_counter() - begun)
        rounds += 1
    return best[0] / best[1]


def record_int8(directory: Path, model: str, result: CpuInt8) -> Path:
    """Keep what was measured for a model; return the JSON file."""
    path = directory / f"{model}-cpu-int8.json"
    write_atomic(path, (json.dumps({"cpu_int8": asdict(result)}, indent=1) + "\n").encode())
    return path


def offered_int8(directory: Path, model: str, source: Path) -> Path | None:
    """Return the int8 ONNX of a model for ONNX Runtime on this machine; None, with a warning, where it is no gain.

    Parameters
    ----------
    directory: of the engines.
    source: the network in float32.

    Raises EngineError, with the command to make it, where none was made from this file.
    """
    remedy = f"Run: python build_engines.py --models {model} --precision int8 --calibrate ROOT"
    path = directory / f"{model}-cpu-int8.json"
    try:
        result = CpuInt8(**json.loads(path.read_text(encoding="utf-8"))["cpu_int8"])
    except FileNotFoundError:
        raise EngineError(
            "there is no int8 network for this CPU", where=directory, asked=model, remedy=remedy
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("cannot read what was measured", where=path, found=error, remedy=remedy) from error
    if result.source_sha256 != file_sha256(source) or not (directory / result.file).is_file():
        raise EngineError(
            "the int8 network was made from another file, or is gone", where=path, asked=source.name, remedy=remedy
        )
    if not result.offered:
        _log.warning(
            "%s runs in fp32: its int8 was %.2f times as fast on this CPU, and %s",
            model,
            result.speedup,
            result.accuracy,
        )
        return None
    return directory / result.file

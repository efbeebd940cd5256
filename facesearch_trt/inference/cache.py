"""The directory of built engines: their names, what is known of each, and how several processes share it.

An engine is two files, ``<stem>.engine`` as TensorRT made it (DeepStream reads the same file) and ``<stem>.json``
beside it, which says what it was made from and for. The JSON is written last and holds the engine's checksum: an
engine with a fitting JSON is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .files import write_atomic
from .profiles import Profile

__all__ = [
    "EngineEntry",
    "EngineKey",
    "Machine",
    "build_lock",
    "entries",
    "find",
    "read_plan",
    "rebuild",
    "store",
]

_log = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine is tied to."""

    tensorrt: str
    """Full version, "10.3.0" for example."""
    gpu: str
    """The GPU's name as the driver gives it."""
    compute_capability: str
    """ "9.0" for example."""
    platform: str
    """Of the host: "x86_64" or "aarch64"."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What makes one engine differ from another."""

    model: str
    """Name in the catalogue."""
    onnx_sha256: str
    """Of the ONNX in float32, before its precision was changed."""
    precision: str
    """ "fp32", "fp16" or "int8"."""
    profiles: tuple[Profile, ...]
    """Shapes of the one input, one per optimisation profile."""
    machine: Machine
    calibration: str = ""
    """What an INT8 engine was calibrated with: a digest of the pictures."""

    @property
    def max_batch(self) -> int:
        """Largest batch of all profiles."""
        return max(profile.maximum[0] for profile in self.profiles)

    @property
    def stem(self) -> str:
        """File name without its ending."""
        shapes = json.dumps([self.calibration, *(profile.as_lists() for profile in self.profiles)])
        machine = self.machine
        parts = (
            self.model,
            self.onnx_sha256[:8],
            self.precision,
            f"b{self.max_batch}",
            hashlib.sha256(shapes.encode()).hexdigest()[:8],
            f"trt{machine.tensorrt}",
            machine.gpu,
            "sm" + machine.compute_capability.replace(".", ""),
            machine.platform,
        )
        return "-".join(re.sub(r"[^a-z0-9._]+", "_", part.lower()) for part in parts)

    def as_json(self) -> dict[str, Any]:
        """Return the key for a JSON file."""
        return {**asdict(self), "profiles": [profile.as_lists() for profile in self.profiles]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> EngineKey:
        """Return the key that :meth:`as_json` gave."""
        fields = dict(content)
        fields["profiles"] = tuple(Profile.from_lists(lists) for lists in fields["profiles"])
        fields["machine"] = Machine(**fields["machine"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """A built engine."""

    key: EngineKey
    path: Path
    """The ``.engine`` file."""
    sha256: str
    nbytes: int
    seconds: float
    """Time that the build took."""

    def check(self) -> bytes:
        """Return the engine's bytes. Raises EngineError where they are not the ones that were built."""
        try:
            plan = self.path.read_bytes()
        except OSError as error:
            raise EngineError(
                "cannot read the engine", where=self.path, found=error, remedy=rebuild(self.key, force=True)
            ) from error
        if len(plan) != self.nbytes:
            what, asked, found = "the engine is truncated", f"{self.nbytes} bytes", f"{len(plan)} bytes"
        elif hashlib.sha256(plan).hexdigest() != self.sha256:
            what, asked, found = "the engine is damaged", f"sha256 {self.sha256}", "another"
        else:
            return plan
        raise EngineError(what, where=self.path, asked=asked, found=found, remedy=rebuild(self.key, force=True))


def rebuild(key: EngineKey, *, force: bool = False) -> str:
    """Return the sentence that tells how to build an engine."""
    batch = f" --batch {key.max_batch}"
    calibrate = " --calibrate ROOT" if key.precision == "int8" else ""
    again = " --force" if force else ""
    return f"Run: python build_engines.py --models {key.model} --precision {key.precision}{calibrate}{batch}{again}"


def entries(directory: Path) -> list[EngineEntry]:
    """Return the engines of a directory by name; what cannot be read as one is left out with a warning."""
    found = []
    for side in sorted(directory.glob("*.json")):
        try:
            content = json.loads(side.read_text(encoding="utf-8"))
            if content.get("format") != _FORMAT:
                continue
            key = EngineKey.from_json(content["key"])
            found.append(
                EngineEntry(key, side.with_suffix(".engine"), content["sha256"], content["nbytes"], content["seconds"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EngineError) as error:
            _log.warning("%s: not read: %s", side, error)
    return found


def find(directory: Path, wanted: EngineKey, *, one_size: bool = False, remedy: str | None = None) -> EngineEntry:
    """Return the engine for a model on this machine.

    It must be built from the same ONNX in the same precision for the same machine, and take the batches and shapes of
    ``wanted``'s profiles; of several the one with the smallest batch is taken. The digest of a calibration is not
    compared.

    Parameters
    ----------
    one_size: only an engine whose input has no other height and width will do.
    remedy: what to do where there is none; the command that builds it by default.

    Raises EngineError with the difference of the nearest engine and the command to build the right one.
    """
    same_model = [entry for entry in entries(directory) if entry.key.model == wanted.model]
    remedy = remedy or rebuild(wanted)
    judged = [(_differences(wanted, entry.key, one_size), entry) for entry in same_model]
    fitting = [entry for differences, entry in judged if not differences]
    if fitting:
        return min(fitting, key=lambda entry: (entry.key.max_batch, entry.path.name))
    if not judged:
        raise EngineError(
            "there is no TensorRT engine",
            where=directory,
            asked=f"{wanted.model} in {wanted.precision}",
            found="no engine of this model",
            remedy=remedy,
        )
    differences, nearest = min(judged, key=lambda pair: len(pair[0]))
    asked, found = (", ".join(f"{name} {pair[side]}" for name, pair in differences.items()) for side in (0, 1))
    raise EngineError("the TensorRT engine does not fit", where=nearest.path, asked=asked, found=found, remedy=remedy)


def _differences(wanted: EngineKey, built: EngineKey, one_size: bool) -> dict[str, tuple[str, str]]:
    pairs = {
        "ONNX sha256": (wanted.onnx_sha256[:12], built.onnx_sha256[:12]),
        "precision": (wanted.precision, built.precision),
        "TensorRT": (wanted.machine.tensorrt, built.machine.tensorrt),
        "GPU": (wanted.machine.gpu, built.machine.gpu),
        "compute capability": (wanted.machine.compute_capability, built.machine.compute_capability),
        "platform": (wanted.machine.platform, built.machine.platform),
    }
    differences = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    for profile in wanted.profiles:
        if not any(one.covers(profile.maximum) and one.covers(profile.minimum) for one in built.profiles):
            largest = max(built.profiles, key=lambda one: one.maximum).maximum
            differences["largest input"] = str(list(profile.maximum)), str(list(largest))
    if one_size and any(profile.minimum[1:] != profile.maximum[1:] for profile in built.profiles):
        differences["input"] = f"{wanted.profiles[0].maximum[1:]} alone", "of any size"
    return differences


def read_plan(entry: EngineEntry, directory: Path) -> bytes:
    """Return an engine's bytes, checked.

    Between the moments at which a rebuild replaces the engine and its JSON the two do not fit; then the rebuild is
    waited for.
    """
    try:
        return entry.check()
    except EngineError:
        with build_lock(directory, shared=True):
            again = [one for one in entries(directory) if one.path == entry.path]
            return (again[0] if again else entry).check()


def store(
    directory: Path, key: EngineKey, plan: bytes | memoryview, seconds: float, facts: Mapping[str, Any]
) -> EngineEntry:
    """Write an engine and its JSON; call inside :func:`build_lock`.

    Parameters
    ----------
    seconds: that the build took.
    facts: more to be kept in the JSON.
    """
    path = directory / f"{key.stem}.engine"
    entry = EngineEntry(key, path, hashlib.sha256(plan).hexdigest(), len(plan), round(seconds, 1))
    content = {
        "format": _FORMAT,
        "key": key.as_json(),
        "sha256": entry.sha256,
        "nbytes": entry.nbytes,
        "seconds": entry.seconds,
        **facts,
    }
    write_atomic(path, plan)
    write_atomic(path.with_suffix(".json"), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return entry


@contextlib.contextmanager
def build_lock(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes and threads from building in a directory; wait while another does.

    One build at a time also because two on one GPU would spoil each other's timings. The lock goes with the process,
    so a killed build blocks nobody.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".lock").open("a")
    except OSError as error:
        raise EngineError(
            "cannot write into the directory of engines",
            where=directory,
            found=error,
            remedy="Choose another with --engines.",
        ) from error
    with file:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("%s: another process builds engines here; waiting for it", directory)
            fcntl.flock(file, mode)
        if not shared:
            for left in directory.glob(".tmp-*"):  # of a build that was killed
                left.unlink(missing_ok=True)
        yield

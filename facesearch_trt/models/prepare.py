"""Makes a network of the catalogue ready for the runtimes: fetched, checked, converted, cached.

A prepared network is ``<home>/models/<name>-<sha12>-c<converter>.onnx`` beside a stamp (``.json``) with its size,
time and sha256 and with what of its entry the conversion depends on. When the stamp fits, preparing is a matter of
two file look-ups: nothing is fetched, hashed or imported.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..types import DetectorSpec, EmbedderSpec
from .convert import CONVERTER_VERSION, convert_detector, convert_embedder
from .entries import DetectorEntry, EmbedderEntry, ModelEntry
from .files import locked, sha256_of, work_directory
from .licences import require_accepted
from .places import home_directory
from .weights import Progress, fetch_weights

if TYPE_CHECKING:
    import onnx

__all__ = ["is_prepared", "prepare_detector", "prepare_embedder", "prepared_path"]

_log = logging.getLogger(__name__)


def prepared_path(entry: ModelEntry, home: Path) -> Path:
    """Return where the prepared network lies once it is made."""
    return home / "models" / f"{entry.name}-{entry.sha256[:12]}-c{CONVERTER_VERSION}.onnx"


def _recipe(entry: ModelEntry) -> dict[str, Any]:
    """What the conversion depends on beside the weights, in a form that survives JSON."""
    form = entry.decoder if isinstance(entry, DetectorEntry) else None
    chip = (entry.chip_size, entry.dimension) if isinstance(entry, EmbedderEntry) else ()
    recipe = {"weights": entry.sha256, "format": entry.format, "decoder": form, "chip": list(chip)}
    return {**recipe, "normalisation": entry.normalisation.place, "converter": CONVERTER_VERSION}


def _stamp_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _write_stamp(entry: ModelEntry, path: Path, sha256: str) -> None:
    state = path.stat()
    stamp = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": sha256, "recipe": _recipe(entry)}
    partial = _stamp_path(path).with_suffix(".json.partial")
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    partial.replace(_stamp_path(path))


def is_prepared(entry: ModelEntry, home: Path, *, verify: bool = False) -> bool:
    """Whether the prepared network is there, is the one of this entry, and is as it was written.

    Quick: size and time against the stamp. A file of another time (copied, restored) or ``verify`` has its sha256
    taken.
    """
    path = prepared_path(entry, home)
    try:
        stamp = json.loads(_stamp_path(path).read_text(encoding="utf-8"))
        state = path.stat()
        if stamp["recipe"] != _recipe(entry) or stamp["size"] != state.st_size:
            return False
        same_time = stamp["mtime_ns"] == state.st_mtime_ns
        return bool((same_time and not verify) or stamp["sha256"] == sha256_of(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _prepare(
    entry: ModelEntry,
    convert: Callable[[Path], onnx.ModelProto],
    home: Path,
    progress: Progress | None,
    verify: bool,
) -> Path:
    require_accepted(entry, home)
    path = prepared_path(entry, home)
    if is_prepared(entry, home, verify=verify):
        return path
    weights = fetch_weights(entry, home=home, progress=progress)
    with locked(home, path.stem):
        if is_prepared(entry, home, verify=verify):  # another process was quicker
            return path
        if path.exists():
            _log.warning("%s is damaged or of another entry and is made again", path)
        with work_directory(path.parent, path.stem) as work:
            made = work / "model.onnx"
            import onnx

            onnx.save(convert(weights), made)
            onnx.checker.check_model(made, full_check=True)
            sha256 = sha256_of(made)
            _stamp_path(path).unlink(missing_ok=True)
            made.replace(path)
        _write_stamp(entry, path, sha256)
    _log.info("prepared %s: %s", entry.name, path)
    return path


def prepare_detector(
    entry: DetectorEntry, *, home: Path | None = None, progress: Progress | None = None, verify: bool = False
) -> DetectorSpec:
    """Make a detector ready and say how to feed and read it; outputs as in :mod:`~facesearch_trt.models.convert`.

    ``home`` is the program's cache directory (default: :func:`~.places.home_directory`); ``progress`` is called while
    weights are fetched; ``verify`` takes the prepared file's sha256 instead of trusting its size and time.

    Raises LicenceError, FetchError, ChecksumError, or ModelError where the weights are not what the entry says.
    """
    path = _prepare(entry, lambda weights: convert_detector(entry, weights), home or home_directory(), progress, verify)
    return DetectorSpec(
        name=entry.name,
        onnx=path,
        sha256=entry.sha256,
        licence=entry.licence.name,
        decoder=entry.decoder,
        colour=entry.colour,
        mean=entry.normalisation.mean,
        std=entry.normalisation.std,
        multiple=entry.multiple,
        score_threshold=entry.score_threshold,
    )


def prepare_embedder(
    entry: EmbedderEntry, *, home: Path | None = None, progress: Progress | None = None, verify: bool = False
) -> EmbedderSpec:
    """Make an embedder ready and say how to feed it; it gives ``embedding`` [batch, dimension].

    Parameters and errors as for :func:`prepare_detector`.
    """
    path = _prepare(entry, lambda weights: convert_embedder(entry, weights), home or home_directory(), progress, verify)
    return EmbedderSpec(
        name=entry.name,
        onnx=path,
        sha256=entry.sha256,
        licence=entry.licence.name,
        template=entry.template,
        chip_size=entry.chip_size,
        colour=entry.colour,
        mean=entry.normalisation.mean,
        std=entry.normalisation.std,
        dimension=entry.dimension,
        similarity=entry.similarity,
        similarity_strict=entry.similarity_strict,
    )

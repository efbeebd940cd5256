"""Makes a network of the catalogue ready for the runtimes: fetched, checked, converted, cached.

A prepared network is ``<home>/models/<name>-<sha12>-c<converter>.onnx`` with a stamp beside it. When the stamp fits,
preparing is a matter of two file look-ups: nothing is fetched, hashed or imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..types import DetectorSpec, EmbedderSpec
from .convert import CONVERTER_VERSION, convert_detector, convert_embedder
from .entries import DetectorEntry, EmbedderEntry, ModelEntry
from .files import locked, sha256_of, work_directory, writing
from .licences import require_accepted
from .places import home_directory
from .stamp import fits, stamp_path, write_stamp
from .weights import fetch_weights

if TYPE_CHECKING:
    import onnx

__all__ = ["is_prepared", "prepare_detector", "prepare_embedder", "prepared_path"]

_log = logging.getLogger(__name__)


def prepared_path(entry: ModelEntry, home: Path, *, keep_prelu: bool = False) -> Path:
    """Return where the prepared network lies once it is made."""
    variant = "-prelu" if keep_prelu else ""
    return home / "models" / f"{entry.name}-{entry.sha256[:12]}-c{CONVERTER_VERSION}{variant}.onnx"


def _recipe(entry: ModelEntry) -> dict[str, Any]:
    """What the prepared file and its checks depend on, beside the program."""
    recipe = {"weights": entry.sha256, "format": entry.format, "normalisation": entry.normalisation.place}
    if isinstance(entry, DetectorEntry):
        recipe["decoder"] = entry.decoder
    if isinstance(entry, EmbedderEntry):
        recipe["form"] = f"{entry.chip_size} to {entry.dimension}"
    return recipe


def is_prepared(entry: ModelEntry, home: Path) -> bool:
    """Whether the prepared network is there; as quick as preparing one that is."""
    return fits(prepared_path(entry, home), _recipe(entry))


def _prepare(
    entry: ModelEntry,
    path: Path,
    convert: Callable[[Path], onnx.ModelProto],
    *,
    home: Path,
) -> Path:
    require_accepted(entry, home)
    recipe = _recipe(entry)
    if fits(path, recipe):
        return path
    weights = fetch_weights(entry, home=home)
    with locked(home, path.stem):
        if fits(path, recipe):  # another process was quicker
            return path
        if path.exists():
            _log.warning("%s is damaged or of another entry and is made again", path)
        import onnx

        with work_directory(path.parent, path.stem) as work:
            made = work / "model.onnx"
            network = convert(weights)
            with writing(made):
                onnx.save(network, made)
            onnx.checker.check_model(made, full_check=True)
            sha256 = sha256_of(made)
            with writing(path):
                # Without a stamp a file does not count, so an interruption here only costs making it again.
                stamp_path(path).unlink(missing_ok=True)
                made.replace(path)
        with writing(stamp_path(path)):
            write_stamp(path, recipe, sha256)
    _log.info("prepared %s: %s", entry.name, path)
    return path


def prepare_detector(entry: DetectorEntry, *, home: Path | None = None) -> DetectorSpec:
    """Make a detector ready and say how to feed and read it; its outputs are those of
    :mod:`facesearch_trt.models.convert`.

    Parameters
    ----------
    home: the program's cache directory; by default that of :func:`~facesearch_trt.models.places.home_directory`.

    Raises LicenceError, FetchError, ChecksumError, or ModelError where the weights are not what the entry says or
    ``home`` cannot be written.
    """
    home = home or home_directory()
    path = _prepare(
        entry,
        prepared_path(entry, home),
        lambda weights: convert_detector(entry, weights),
        home=home,
    )
    return DetectorSpec(
        name=entry.name,
        onnx=path,
        decoder=entry.decoder,
        colour=entry.colour,
        mean=entry.normalisation.mean,
        std=entry.normalisation.std,
        multiple=entry.multiple,
        score_threshold=entry.score_threshold,
    )


def prepare_embedder(
    entry: EmbedderEntry,
    *,
    home: Path | None = None,
    keep_prelu: bool = False,
) -> EmbedderSpec:
    """Make an embedder ready and say how to feed it; its output is ``embedding`` [batch, dimension].

    Parameters and errors as for :func:`prepare_detector`; ``keep_prelu`` makes the file for TensorRT, which has a
    PRelu of its own, and without it the one for ONNX Runtime.
    """
    home = home or home_directory()
    path = _prepare(
        entry,
        prepared_path(entry, home, keep_prelu=keep_prelu),
        lambda weights: convert_embedder(entry, weights, keep_prelu=keep_prelu),
        home=home,
    )
    return EmbedderSpec(
        name=entry.name,
        onnx=path,
        template=entry.template,
        chip_size=entry.chip_size,
        colour=entry.colour,
        mean=entry.normalisation.mean,
        std=entry.normalisation.std,
        dimension=entry.dimension,
    )

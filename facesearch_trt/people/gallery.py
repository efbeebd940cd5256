"""The gallery of known people: photos in a directory per name, as vectors; and who of a ROOT's people they are."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IdentityError, InputError
from ..graph.inputs import images_of
from ..identity.scale import unit
from ..photo import faces_of_photo, photo_bytes, picture_from_bytes
from ..store.npz import opened_npz
from ..types import Array
from ..wiring import Tools
from .files import write_whole

__all__ = [
    "GALLERY_FILE",
    "Gallery",
    "Photo",
    "embed_photos",
    "enrol",
    "forget_enrolled",
    "load_gallery",
    "names_from_gallery",
    "photos_by_person",
]

GALLERY_FILE = ".gallery.npz"
_SMALL_PX = 40.0
"""Below this side an embedding is not worth trusting."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of one person, or why it cannot be used."""

    path: Path
    person: str
    vector: Array | None
    """float32 [D], unit."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The people that are known by name."""

    model: str
    """Name of the embedder."""
    names: tuple[str, ...]
    vectors: Array
    """float32 [P, D], unit, one row per photo."""
    people: Array
    """int64 [P]: place in ``names``."""

    @property
    def stamp(self) -> str:
        """Changes when the gallery does."""
        digest = hashlib.sha256(repr((self.model, self.names, self.people.tolist())).encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.vectors).tobytes())
        return digest.hexdigest()[:32]


def photos_by_person(directory: Path) -> dict[str, list[Path]]:
    """Return the photos of a directory that has a sub-directory per person, in order of name.

    Raises InputError where it is no such directory.
    """
    if not directory.is_dir():
        raise InputError(
            "is not a directory", where=directory, remedy="Give a directory with a sub-directory per person."
        )
    found = {}
    for folder in sorted(entry for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        photos = images_of(folder)
        if photos:
            found[folder.name] = photos
        else:
            _log.warning("%s: holds no photo", folder)
    loose = images_of(directory)
    if not found:
        raise InputError(
            "holds no sub-directory with photos",
            where=directory,
            found=f"{len(loose)} loose photos" if loose else "nothing",
            remedy="Put each person's photos into a directory of the person's name.",
        )
    if loose:
        _log.warning("%s: %d photos that are in no person's directory are not used", directory, len(loose))
    return found


def enrol(directory: Path, tools: Tools, root: Path) -> Gallery:
    """Enrol the people of a directory and remember them in ``ROOT/.gallery.npz``; photos that are known by their
    content are not looked at again.

    Raises InputError where a photo shows no face, or more than one, naming it.
    """
    photos = list(embed_photos(photos_by_person(directory), tools, root / GALLERY_FILE))
    bad = [photo for photo in photos if photo.vector is None]
    if bad:
        more = f" (and {len(bad) - 1} more photos)" if len(bad) > 1 else ""
        raise InputError(
            f"{bad[0].problem}{more}",
            where=bad[0].path,
            asked="one face in a photo",
            remedy="Crop it to the one person, or take it out of the gallery.",
        )
    names = tuple(dict.fromkeys(photo.person for photo in photos))
    gallery = Gallery(
        tools.embedder_entry.name,
        names,
        np.stack([photo.vector for photo in photos if photo.vector is not None]),
        np.array([names.index(photo.person) for photo in photos], np.int64),
    )
    _remember(root / GALLERY_FILE, gallery=gallery)
    return gallery


def embed_photos(people: dict[str, list[Path]], tools: Tools, cache: Path | None = None) -> Iterator[Photo]:
    """Yield each photo with the embedding of its face; one that is unusable says why."""
    entry, detector = tools.embedder_entry, tools.detector_entry
    maker = f"{entry.name} {entry.sha256} {detector.sha256}"
    known = {} if cache is None else _known(cache, maker)
    seen: dict[str, Array] = {}
    for person, paths in people.items():
        for path in paths:
            try:
                content = photo_bytes(path)
            except InputError as error:
                yield Photo(path, person, None, f"{error.what} ({error.found})")
                continue
            key = hashlib.sha256(content).hexdigest()
            if key not in known:
                vector, problem = _face_of(content, tools)
                if vector is None:
                    yield Photo(path, person, None, problem)
                    continue
                known[key] = vector
            seen[key] = known[key]
            yield Photo(path, person, known[key])
    if cache is not None:
        _remember(cache, maker=maker, photos=seen)


def _face_of(content: bytes, tools: Tools) -> tuple[Array | None, str]:
    try:
        faces = faces_of_photo(picture_from_bytes(content, ""), tools)
    except InputError as error:
        return None, error.what
    if len(faces) != 1:
        return None, "shows no face" if not len(faces) else f"shows {len(faces)} faces"
    assert faces.chips is not None
    size_px = float(np.sqrt(np.prod(faces.boxes[0, 2:] - faces.boxes[0, :2])))
    if size_px < _SMALL_PX:
        return None, f"shows a face of only {size_px:.0f} px; it takes {_SMALL_PX:.0f}"
    return unit(tools.embedder.embed(faces.chips))[0], ""


def load_gallery(root: Path) -> Gallery | None:
    """Return the gallery that was enrolled last in a ROOT; None where there is none.

    Raises IdentityError for a damaged file.
    """
    content = _content(root / GALLERY_FILE)
    if "names" not in content:
        return None
    raw = content["names"].tobytes().decode("utf-8", "surrogateescape")
    try:
        return Gallery(str(content["model"]), tuple(raw.split("\0")), content["vectors"], content["people"])
    except KeyError as error:
        raise _damaged(root / GALLERY_FILE, f"no {error}") from error


def _content(path: Path) -> dict[str, Array]:
    try:
        with opened_npz(path) as content:
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> IdentityError:
    return IdentityError(
        "the enrolled gallery is damaged", where=path, found=found, remedy="Remove it and give --gallery again."
    )


def _known(path: Path, maker: str) -> dict[str, Array]:
    content = _content(path)
    if str(content.get("maker", "")) != maker:
        return {}
    return dict(zip(content["photo_keys"].tolist(), content["photo_vectors"], strict=True))


def _remember(
    path: Path, *, gallery: Gallery | None = None, maker: str = "", photos: dict[str, Array] | None = None
) -> None:
    content = _content(path)
    if gallery is not None:
        content["model"] = np.array(gallery.model)
        content["names"] = np.frombuffer("\0".join(gallery.names).encode("utf-8", "surrogateescape"), np.uint8)
        content["vectors"], content["people"] = gallery.vectors, gallery.people
    if photos is not None:
        content["maker"] = np.array(maker)
        content["photo_keys"] = np.array(list(photos), "U64")
        content["photo_vectors"] = np.stack(list(photos.values())) if photos else np.zeros((0, 1), np.float32)
    _write(path, content)


def _write(path: Path, content: dict[str, Array]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    write_whole(path, buffer.getvalue())


def forget_enrolled(root: Path, gallery: Gallery, names: Collection[str]) -> int:
    """Take the photos of some people out of a ROOT's gallery; return how many. Raises StoreError."""
    gone = np.array([gallery.names[who] in names for who in gallery.people.tolist()], bool)
    if not gone.any():
        return 0
    content = _content(root / GALLERY_FILE)
    left = [name for name in gallery.names if name not in names]
    if not left:
        for key in ("names", "vectors", "people", "model"):
            content.pop(key, None)
    else:
        content["names"] = np.frombuffer("\0".join(left).encode("utf-8", "surrogateescape"), np.uint8)
        content["vectors"] = gallery.vectors[~gone]
        content["people"] = np.array(
            [left.index(gallery.names[who]) for who in gallery.people[~gone].tolist()], np.int64
        )
    if "photo_vectors" in content:
        # Photos are remembered by their content; those of the person have the vectors that were enrolled.
        enrolled = {vector.tobytes() for vector in gallery.vectors[gone]}
        keep = np.array([vector.tobytes() not in enrolled for vector in content["photo_vectors"]], bool)
        content["photo_keys"], content["photo_vectors"] = content["photo_keys"][keep], content["photo_vectors"][keep]
    _write(root / GALLERY_FILE, content)
    return int(gone.sum())


def names_from_gallery(
    gallery: Gallery, means: Array, least: float, apart: Collection[tuple[int, ...]]
) -> list[tuple[int, str, float]]:
    """Return (row, name, similarity) of the people, float32 [N, D] unit, who are in the gallery.

    Each gets the name that is nearest, if ``least`` is reached; else nobody's. Two people who were seen together
    (``apart``, pairs of rows) do not share a name: the more alike one has it.
    """
    count = len(gallery.names)
    templates = np.zeros((count, gallery.vectors.shape[1]), np.float32)
    np.add.at(templates, gallery.people, gallery.vectors)
    templates = unit(templates)
    wishes = []
    for start in range(0, len(means), 4096):
        block = means[start : start + 4096] @ templates.T
        best = block.argmax(axis=1)
        for row in np.flatnonzero(block.max(axis=1) >= least).tolist():
            wishes.append((-float(block[row, best[row]]), start + row, int(best[row])))
    enemies: dict[int, set[int]] = {}
    for one, other in apart:
        enemies.setdefault(one, set()).add(other)
        enemies.setdefault(other, set()).add(one)
    given: dict[int, int] = {}
    found = []
    for similarity, row, name in sorted(wishes):
        if all(given.get(enemy) != name for enemy in enemies.get(row, ())):
            given[row] = name
            found.append((row, gallery.names[name], -similarity))
    return found

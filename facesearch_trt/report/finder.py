"""Search by photo for the web: networks and index held open, as many photos at once as there are cores."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from ..config import Options
from ..errors import FaceSearchError, InputError
from ..indexing import root_name, update_index
from ..inference.onnxruntime import load_library
from ..photo import faces_of_photo, picture_from_bytes, the_face
from ..running.cores import usable_cores
from ..search.index import Answer, Index
from ..search.where import Where
from ..search.writer import IndexWriter
from ..searching import options_for, search_faces
from ..types import Array, FaceBatch
from ..wiring import Tools

__all__ = ["Choice", "Finder", "IndexKeeper", "PhotoFaceView", "jpeg_uri"]

_LOG = logging.getLogger(__name__)
_CUT_PX = 160


def jpeg_uri(image: Array, *, side_px: int, quality: int = 80) -> str:
    """Return a picture, uint8 [H, W, 3] BGR, as a JPEG in a data: URI, its longer side no more than ``side_px``."""
    scale = side_px / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")


@dataclass(frozen=True, slots=True)
class PhotoFaceView:
    """One face of a photo with several, to choose from."""

    number: int
    """From 1, the largest first."""
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2, px of the photo."""
    picture: str
    """data: URI."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A photo shows several faces: which one is searched for has to be said."""

    photo: int
    """Which of the photos, from 0."""
    faces: tuple[PhotoFaceView, ...]


class Finder:
    """Searches an index for the clips of one ROOT. May be used from several threads.

    Parameters
    ----------
    options: the networks to use.
    location: the index.
    given: names of the options that were asked for; where no network is among them, the index's own is taken.
    """

    def __init__(self, root: Path, options: Options, location: str, given: Container[str] = ()) -> None:
        self._root = root_name(root)
        self._options, self._given = options, given
        self._location = location
        self._lock = threading.Lock()
        self._index: Index | None = None
        self._tools: Tools | None = None
        self.at_once = usable_cores()
        """Searches that make sense at once: each keeps a core busy."""

    def index(self) -> Index:
        """Return the index, open. Raises InputError where there is none yet."""
        with self._lock:
            if self._index is None:
                # Loaded after pyarrow, an exception inside ONNX Runtime could end the process.
                load_library()
                self._index = Index.open(self._location)
            return self._index

    def _ready(self) -> tuple[Index, Tools]:
        index = self.index()
        with self._lock:
            if self._tools is None:
                self._tools = Tools(options_for(index, self._options, self._given))
            tools = self._tools
        return index, tools

    def search(
        self,
        photos: Sequence[bytes],
        *,
        face: int | None = None,
        clips: Sequence[str] = (),
        top: int = 20,
        min_similarity: float | None = None,
    ) -> Answer | Choice:
        """Return who resembles the person of some photos, or the faces to choose from where a photo shows several.

        The photos are decoded in memory and forgotten. Raises InputError for no photo, one that cannot be used, or one
        without a face, OptionError for a face number that there is not, and what :meth:`Index.search` raises.
        """
        index, tools = self._ready()
        if not photos:
            raise InputError("no photo was given", remedy="Give a JPEG, PNG, BMP or WebP picture.")
        chosen = []
        for number, content in enumerate(photos):
            name = f"photo {number + 1}" if len(photos) > 1 else "the photo"
            image = picture_from_bytes(content, name)
            faces = faces_of_photo(image, tools)
            if len(faces) > 1 and face is None:
                return Choice(number, tuple(_views(image, faces)))
            # With several photos the number is for those that show several faces.
            wanted = face if len(photos) == 1 or len(faces) > 1 else None
            chosen.append(the_face(faces, tools, name, number=wanted))
        where = Where(roots=(self._root,), clips=tuple(clips))
        answer = search_faces(index, chosen, tools, where=where, top=top, min_similarity=min_similarity)
        warnings = [f"Photo {at + 1}: {one.warning}" for at, one in enumerate(chosen) if one.warning]
        return _with_warnings(answer, warnings)

    def close(self) -> None:
        """Free the networks."""
        with self._lock:
            if self._tools is not None:
                self._tools.__exit__(None, None, None)
                self._tools = None


def _with_warnings(answer: Answer, warnings: list[str]) -> Answer:
    from dataclasses import replace

    return replace(answer, warnings=(*answer.warnings, *warnings))


def _views(image: Array, faces: FaceBatch) -> list[PhotoFaceView]:
    views = []
    for number, box in enumerate(faces.boxes[:20].tolist(), start=1):
        x1, y1, x2, y2 = box
        border = max(x2 - x1, y2 - y1) * 0.25
        left, top = max(0, int(x1 - border)), max(0, int(y1 - border))
        cut = image[top : max(top + 1, int(y2 + border)), left : max(left + 1, int(x2 + border))]
        if cut.size:
            views.append(PhotoFaceView(number, (x1, y1, x2, y2), jpeg_uri(cut, side_px=_CUT_PX)))
    return views


class IndexKeeper:
    """Brings the index up to date with a ROOT in a thread of its own, whenever it is told that something changed."""

    def __init__(self, root: Path, location: str) -> None:
        self._root, self._location = root, location
        self._wanted = threading.Condition()
        self._asked = self._done = 0
        self._stopped = False
        self.problem: str | None = None
        """Why the last update failed; None where it did not."""
        self._thread = threading.Thread(target=self._work, name="index", daemon=True)
        self._thread.start()

    def update(self) -> None:
        """Have the index updated soon; returns at once."""
        with self._wanted:
            self._asked += 1
            self._wanted.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was asked for is done; return whether it is."""
        with self._wanted:
            return self._wanted.wait_for(lambda: self._done >= self._asked or self._stopped, timeout_s)

    def close(self) -> None:
        """End the thread after the update at work."""
        with self._wanted:
            self._stopped = True
            self._wanted.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._asked > self._done or self._stopped)
                if self._stopped:
                    return
                asked = self._asked
            try:
                load_library()
                with IndexWriter(self._location, wait_s=600) as writer:
                    update = update_index(writer, [self._root])
                self.problem = update.failed[0][1] if update.failed else None
            except FaceSearchError as error:
                self.problem = str(error)
                _LOG.info("the index was not updated: %s", error)
            except Exception as error:
                # The pages go on without; a search says what it can find.
                self.problem = f"internal error: {error!r}"
                _LOG.exception("the index was not updated")
            with self._wanted:
                self._done = asked
                self._wanted.notify_all()

"""A ROOT with three clips of made-up people, and the web application over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch_trt.config import Options
from facesearch_trt.indexing import update_index
from facesearch_trt.people.files import read_people_table
from facesearch_trt.people.update import update_people
from facesearch_trt.search.writer import IndexWriter
from facesearch_trt.store import ClipStore, Model
from facesearch_trt.types import FaceBatch, Frame
from facesearch_trt.wiring import Tools

from ..clip_results import DIMENSION, sighting

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'facesearch_trt[web]'")
pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install 'facesearch_trt[web]'")

from fastapi.testclient import TestClient

from facesearch_trt.report.security import Access
from facesearch_trt.report.service import Service
from facesearch_trt.report.views import shown
from facesearch_trt.report.web import create_app

HOSTILE = "<img src=x onerror=alert(1)>&\"'"
"""A name of a clip and of a person that is HTML."""

with Tools(Options()) as _tools:
    EMBEDDER = _tools.embedder_entry.name
    SIMILARITIES = _tools.similarities


def write_clip(root: Path, name: str, frames: list[list[int]], *, video: bool = True, crops: bool = True) -> None:
    """Write a clip's results with pictures, and a file that stands for its video; who is who is its own number."""
    rng = np.random.default_rng(len(name))

    def stream() -> Iterator[Frame]:
        for number, people in enumerate(frames):
            faces = FaceBatch.empty()
            if people:
                boxes = np.array([[10 + 60 * at, 10, 60 + 60 * at, 60] for at in range(len(people))], np.float32)
                count = len(people)
                faces = FaceBatch(boxes, np.full(count, 0.9, np.float32), np.zeros((count, 5, 2), np.float32))
                faces.quality = np.tile(np.array([[50, 0.8, 0.8, 0.6]], np.float32), (count, 1))
                faces.chips = rng.integers(0, 255, (count, 32, 32, 3), np.uint8)
                faces.embeddings = np.stack([sighting(who, number, len(name), alike=0.995) for who in people]).astype(
                    np.float32
                )
            image = np.full((96, 160, 3), 40 + number, np.uint8)
            yield Frame(number, number / 25, 160, 96, image=image, faces=faces)

    store = ClipStore(root / f"{name}.pipeline")
    steps = dict.fromkeys(("frames", "faces", "embeddings", "identity"), shown(name))
    with ThreadPoolExecutor(1) as pool, store.begin(steps) as writer:
        passed = writer.write_frames(stream(), keep="all" if crops else "none", png_compression=1, executor=pool)
        passed = writer.write_faces(passed, executor=pool, crops=crops)
        for _ in writer.write_embeddings(passed, model=EMBEDDER, dimension=DIMENSION):
            pass
        ids = np.array([who for people in frames for who in people], np.int64)
        writer.write_identity(ids, ids)
        writer.record.clip = shown(name)
        writer.record.models["embedder"] = Model(EMBEDDER, "0" * 64, "none")
        writer.commit()
    if video:
        (root / f"{name}.mp4").write_bytes(bytes(range(256)) * 64)


@dataclass
class Web:
    """The application over a ROOT, and a browser."""

    root: Path
    service: Service
    access: Access
    client: TestClient

    def clip(self, name: str) -> str:
        """Return a clip's id."""
        return self.service.snapshot().clip_named[name].id

    def csrf(self) -> str:
        """Return the CSRF token of the client's session."""
        return str(self.client.get("/api/session").json()["csrf"])

    def change(self, method: str, address: str, body: Any = None) -> Any:
        """Make a change through the API."""
        return self.client.request(method, address, json=body, headers={"x-csrf-token": self.csrf()})

    def post(self, address: str, **fields: Any) -> Any:
        """Send a form of a page."""
        return self.client.post(address, data={"csrf": self.csrf(), **fields})

    def people(self) -> dict[tuple[str, int], int]:
        """Return who is who."""
        return read_people_table(self.root)


def made(root: Path) -> Path:
    """Write the ROOT: people 0 and 1 share clip "a", 0 and 2 are in "b", a hostile name has 3; "todo" is not done."""
    root.mkdir()
    write_clip(root, "a", [[0, 1]] * 30)
    write_clip(root, "b", [[2]] * 10 + [[]] * 60 + [[2, 0]] * 10)
    write_clip(root, HOSTILE, [[3]] * 5)
    (root / "todo.mp4").write_bytes(b"not yet")
    (root.parent / "secret.txt").write_text("secret")
    update_people(root, *SIMILARITIES)
    with IndexWriter(root.parent / "index") as writer:
        update_index(writer, [root])
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A ROOT of its own for each test."""
    return made(tmp_path / "root")


def opened(root: Path, access: Access, base: str = "http://localhost:8000") -> Iterator[Web]:
    """Run the application."""
    with (
        Service(root, Options(), str(root.parent / "index")) as service,
        TestClient(create_app(service, access), base_url=base, follow_redirects=False) as client,
    ):
        yield Web(root, service, access, client)


@pytest.fixture
def web(root: Path) -> Iterator[Web]:
    """The application, for this machine only."""
    yield from opened(root, Access("127.0.0.1"))


TOKEN = "0123456789abcdef-token"


@pytest.fixture
def guarded(root: Path) -> Iterator[Web]:
    """The application, with a token and for others."""
    access = Access("0.0.0.0", TOKEN, frozenset({"faces.example"}))
    yield from opened(root, access, "http://192.0.2.1:8000")


@pytest.fixture
def photo(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A picture in which the detector, replaced here, sees person 0; two pixels wide it shows two people."""
    import cv2

    from facesearch_trt.photo import PhotoFace
    from facesearch_trt.report import finder

    def faces(image: Any, tools: Any) -> FaceBatch:
        count = 2 if image.shape[1] == 2 else 1
        return FaceBatch(
            np.tile(np.array([[0, 0, 1, 1]], np.float32), (count, 1)),
            np.ones(count, np.float32),
            np.zeros((count, 5, 2), np.float32),
        )

    def the_face(faces: FaceBatch, tools: Any, name: str, *, number: int | None = None) -> PhotoFace:
        return PhotoFace(sighting(0, 777, alike=0.995), (0, 0, 1, 1), 0.9)

    monkeypatch.setattr(finder, "faces_of_photo", faces)
    monkeypatch.setattr(finder, "the_face", the_face)
    done, coded = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    assert done
    return bytes(coded.tobytes())


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESEARCH_TOKEN", raising=False)
    assert "FACESEARCH_TOKEN" not in os.environ

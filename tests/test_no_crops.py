"""Without crops: no picture of a face stays, and everything else is as with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facesearch_trt import steps
from facesearch_trt.config import Options
from facesearch_trt.graph.inputs import find_clips
from facesearch_trt.store import ClipStore
from facesearch_trt.store.schema import FACES_IDENTIFIED
from facesearch_trt.store.tables import read_rows
from facesearch_trt.wiring import Tools


class Silent:
    def started(self, *_: object) -> None: ...
    def advanced(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...


def rows(directory: Path) -> list[list[object]]:
    return list(read_rows(directory / "faces.csv", FACES_IDENTIFIED))


@pytest.fixture(scope="module")
def crops_or_not(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's results with crops, without, and without but step by step."""
    found = {}
    for name in ("with", "without", "steps"):
        root = tmp_path_factory.mktemp(name)
        shutil.copy(demo_clip, root)
        (clip,) = find_clips(root)
        with Tools(Options(crops=name == "with", every=25)) as tools:
            if name == "steps":
                for step in (
                    steps.video_to_frames,
                    steps.frames_to_faces,
                    steps.faces_to_embeddings,
                    steps.face_to_faceid,
                ):
                    step(clip, tools, Silent())
            else:
                steps.run_pipeline(clip, tools, Silent())
            assert steps.run_pipeline(clip, tools, Silent()).state == "skipped"
        found[name] = clip.output
    return found


def test_no_picture_of_a_face(crops_or_not: dict[str, Path]) -> None:
    assert list((crops_or_not["with"] / "faces").iterdir())
    for name in ("without", "steps"):
        assert not (crops_or_not[name] / "faces").exists()


def test_the_tables_are_the_same(crops_or_not: dict[str, Path]) -> None:
    chip = FACES_IDENTIFIED.names.index("file")
    whole = rows(crops_or_not["with"])
    assert all(row[chip] for row in whole)
    for name in ("without", "steps"):
        bare = rows(crops_or_not[name])
        assert {row[chip] for row in bare} == {""}
        assert [row[:chip] + row[chip + 1 :] for row in bare] == [row[:chip] + row[chip + 1 :] for row in whole]
        assert (crops_or_not[name] / "embeddings.pth").read_bytes() == (
            crops_or_not["with"] / "embeddings.pth"
        ).read_bytes()


def test_another_embedder_needs_the_clip(crops_or_not: dict[str, Path], tmp_path: Path) -> None:
    """There are no chips to make embeddings of, so the clip is read again."""
    root = tmp_path / "root"
    shutil.copytree(crops_or_not["without"].parent, root)
    (clip,) = find_clips(root)
    with Tools(Options(crops=False, every=25, similarity_threshold=0.9)) as tools:
        record = ClipStore(clip.output).record()
        assert record is not None
        del record.steps["embeddings"], record.steps["identity"]
        (clip.output / "run.json").write_text(record.to_json())
        assert steps.run_pipeline(clip, tools, Silent()).state == "done"
    assert not (clip.output / "faces").exists()

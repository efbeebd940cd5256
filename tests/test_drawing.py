"""Videos with people made unrecognisable, or with boxes: looked at picture by picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt import demo
from facesearch_trt.cli.main import main
from facesearch_trt.drawing import TrackBoxes, boxes_by_frame, make_unrecognisable
from facesearch_trt.graph.inputs import find_clips
from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.types import Array

EVERY = 2
SAMPLE = [0, 1, 20, 49, 50, 55, 70, 100, 124, 125, 130, 160, 173]
"""Frames of the demo that are looked at: around its cuts, and such as were not looked at for faces."""
AWAY_FROM_CUTS = [0, 1, 20, 70, 100, 160, 173]
"""A box stands a moment longer, and so over somebody else behind a cut."""


@pytest.fixture(scope="module")
def root(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawing")
    shutil.copy(demo_clip, root)
    options = ["--every", str(EVERY), "--frames", "none", "--no-crops", "--no-report"]
    assert main(["run", "--input_directory", str(root), *options]) == 0
    return root


def pictures(video: Path) -> dict[int, tuple[Array, float]]:
    directory = video.parent / "only"
    directory.mkdir(exist_ok=True)
    shutil.copy(video, directory / "x.mp4")
    (clip,) = find_clips(directory)
    found = {}
    with SoftwareSource(clip, stall_timeout_s=60) as source:
        for frame in source:
            if frame.frame_num in SAMPLE:
                assert frame.image is not None
                found[frame.frame_num] = (frame.image.copy(), frame.pts_s)
    shutil.rmtree(directory)
    return found


def detail(image: Array, box: Array) -> float:
    """Return how much detail there is inside a face: the mean step between neighbouring pixels."""
    x1, y1, x2, y2 = (int(side) for side in box)
    part = image[max(0, y1) : y2, max(0, x1) : x2].astype(np.float64).mean(axis=2)
    return float(np.abs(np.diff(part, axis=0)).mean() + np.abs(np.diff(part, axis=1)).mean())


@pytest.fixture(scope="module")
def exported(root: Path) -> Callable[..., dict[int, tuple[Array, float]]]:
    def export(form: str, *options: str) -> dict[int, tuple[Array, float]]:
        assert main(["export", str(root), "--format", form, *options]) == 0
        return pictures(root / "exports" / f"demo.{form}.mp4")

    return export


def shares(root: Path, drawn: dict[int, tuple[Array, float]], frames: Sequence[int] = SAMPLE) -> dict[str, list[float]]:
    """Return for each person what is left of a face's detail in each of its frames."""
    plain, found = pictures(root / "demo.mp4"), {}
    for number, x1, y1, x2, y2, person in demo.truth():
        if number in frames:
            box = np.array([x1, y1, x2, y2])
            found.setdefault(person, []).append(detail(drawn[number][0], box) / detail(plain[number][0], box))
    return found


def test_everybody_is_blurred_in_every_frame(root: Path, exported: Callable[..., dict]) -> None:
    drawn = exported("blurred")
    assert sorted(drawn) == SAMPLE
    assert [round(at, 2) for _, at in drawn.values()] == [round(number / 25, 2) for number in SAMPLE]
    left = shares(root, drawn)
    assert set(left) == {"collins", "obama", "biden"}
    assert max(share for person in left.values() for share in person) < 0.5, left


def test_all_but_one_and_only_one(root: Path, exported: Callable[..., dict]) -> None:
    assert main(["people", "name", str(root), "1", "Obama"]) == 0
    drawn = exported("blurred", "--except", "Obama")
    assert min(shares(root, drawn, AWAY_FROM_CUTS)["obama"]) > 0.7
    left = shares(root, drawn)
    assert max(left["collins"] + left["biden"]) < 0.5
    drawn = exported("blurred", "--only", "1")
    assert max(shares(root, drawn)["obama"]) < 0.5
    left = shares(root, drawn, AWAY_FROM_CUTS)
    assert min(left["collins"] + left["biden"]) > 0.7


def test_annotated(root: Path, exported: Callable[..., dict]) -> None:
    drawn, plain = exported("annotated"), pictures(root / "demo.mp4")
    for number in (0, 1, 70, 130):
        changed = np.abs(drawn[number][0].astype(int) - plain[number][0]).max(axis=2) > 60
        assert 200 < changed.sum() < 8000, number


def test_who_is_ignored_is_not_annotated(root: Path, exported: Callable[..., dict]) -> None:
    plain = pictures(root / "demo.mp4")
    assert main(["people", "ignore", str(root), "0", "1", "2"]) == 0
    try:
        drawn = exported("annotated")
        blurred = shares(root, exported("blurred"))
    finally:
        assert main(["people", "notice", str(root), "0", "1", "2"]) == 0
    for number in SAMPLE:
        changed = np.abs(drawn[number][0].astype(int) - plain[number][0]).max(axis=2) > 60
        assert changed.sum() < 20, number
    assert max(share for person in blurred.values() for share in person) < 0.5, "nobody is shown for that"


def test_wrong_use(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(root), "--format", "annotated", "--only", "1"]) == 2
    assert main(["export", str(root), "--format", "blurred", "--only", "77"]) == 2
    assert "no such person" in capsys.readouterr().err


def test_boxes_of_other_pictures_blur_nobody(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("exports"))
    table = other / "demo.pipeline" / "frames.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    wide = [[*line[:2], str(2 * int(line[2])), *line[3:]] for line in lines[1:]]
    table.write_text("".join(",".join(line) + "\n" for line in [lines[0], *wide]))
    assert main(["export", str(other), "--format", "blurred"]) != 0
    assert "frames of another size" in capsys.readouterr().err
    assert not list((other / "exports").glob("*.mp4"))


def test_nothing_finer_is_left() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    before = image.copy()
    make_unrecognisable(image, np.array([60, 60, 120, 120], np.float32))
    assert (image[:30] == before[:30]).all()
    assert image[60:120, 60:120].std() < 20
    make_unrecognisable(image, np.array([-50, -50, -20, -20], np.float32))
    make_unrecognisable(image, np.array([199, 199, 400, 400], np.float32))


def test_between_detections() -> None:
    box = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [100, 0, 110, 10]], np.float32)
    track = TrackBoxes(4, np.array([10, 12, 60]), box)
    shown = boxes_by_frame([track], hold=2, gap=5)
    found = {frame: [(who, value.tolist()) for who, value in shown(frame)] for frame in range(70)}
    assert found[7] == []
    assert found[8] == found[10] == [(4, [0, 0, 10, 10])]
    assert found[11] == [(4, [5, 0, 15, 10])]
    assert found[14] == [(4, [10, 0, 20, 10])]
    assert found[15] == found[57] == []
    assert found[58] == found[62] == [(4, [100, 0, 110, 10])]
    assert found[63] == []


def test_older_than(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    index = ["--index", str(tmp_path / "index")]
    assert main(["index", str(copy), *index]) == 0
    assert main(["erase", str(copy), "--older-than", "30", "--yes", *index]) == 0
    assert "no clip was processed so long ago" in capsys.readouterr().out
    table = copy / "demo.pipeline" / "frames.csv"
    os.utime(table, (0, table.stat().st_mtime - 31 * 86_400))
    assert main(["erase", str(copy), "--older-than", "30", "--yes", *index]) == 0
    assert "1 clips" in capsys.readouterr().out
    assert not table.parent.exists()
    assert (copy / "demo.mp4").exists()
    assert main(["index", "--list", *index]) == 0
    assert "demo" not in capsys.readouterr().out

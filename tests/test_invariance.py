"""People stay who they are when the order of clips, the frame rate or ``--every`` changes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.bench_invariance import common_faces, order_agreement, run
from benchmarks.testbench import Portrait
from benchmarks.testbench_clips import write_clip as film_clip
from benchmarks.testbench_scenes import corridor
from facesearch_trt import demo
from facesearch_trt.evaluation.grouping import agreement
from facesearch_trt.people.update import update_people
from tests.clip_results import SIMILARITY, STRICT, write_clip

WIDTH, HEIGHT = 480, 270


def test_the_order_of_clips_and_coming_one_by_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    random = np.random.default_rng(4)
    for number in range(9):
        seen = random.permutation(12)[:4].tolist()
        write_clip(root, f"c{number}", [seen[:2], seen[1:], seen[3:]], alike=0.7, seed=number)
    update_people(root, SIMILARITY, STRICT)
    renamed, one_by_one = order_agreement(root, tmp_path / "scratch")
    assert renamed == 1
    assert one_by_one >= 0.97


def test_twice_the_frame_rate_and_every_third_frame(tmp_path: Path, demo_pictures: dict[str, Path]) -> None:
    people: dict[str, list[Portrait]] = {}
    for name, path in demo_pictures.items():
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        x1, y1, x2, y2 = demo.PICTURES[name].face
        people.setdefault(name.split("_")[0], []).append(Portrait(name.split("_")[0], image, (x1, y1, x2, y2)))
    scenes = corridor(people, np.random.default_rng(7), WIDTH, HEIGHT, cast=3, length=24)
    places = {name: tmp_path / name for name in ("plain", "rate", "every")}
    for name, place in places.items():
        place.mkdir()
        film_clip(
            scenes, place / "clip.mp4", place / "clip.csv", WIDTH, HEIGHT, rate=2 if name == "rate" else 1, seed=7
        )
        run(place, "open", *(("--every", "3") if name == "every" else ()))
    for name, factor in (("rate", 2), ("every", 1)):
        left, right = common_faces(places["plain"] / "clip.pipeline", places[name] / "clip.pipeline", factor)
        assert len(left) > 30
        assert len(set(left)) >= 3
        assert agreement(left, right) >= 0.97


def test_agreement_counts_only_faces_that_both_have(tmp_path: Path) -> None:
    one = write_clip(tmp_path, "one", [[1, 2], [1, 2], [1]])
    other = write_clip(tmp_path, "other", [[1, 2], [1], [1, 2], [2], [1]])
    left, right = common_faces(one, other, 2)
    assert (left, right) == (["0", "1", "0", "1", "0"], ["0", "1", "0", "1", "0"])
    with pytest.raises(FileNotFoundError):
        common_faces(one, tmp_path / "gone")

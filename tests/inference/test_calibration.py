"""Which of a user's pictures int8 is calibrated with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.calibration import calibration_from_pictures, calibration_pictures


def clip(root: Path, name: str, faces: dict[int, int], *, frames: bool = True) -> Path:
    """Make a clip's directory with so many faces per frame; also one frame without a face."""
    directory = root / f"{name}.pipeline"
    (directory / "faces").mkdir(parents=True)
    for number, count in {**faces, 9999: 0}.items():
        if frames:
            cv2.imwrite(str(directory / f"frame_{number:04d}.png"), np.full((8, 8, 3), number % 256, np.uint8))
        for index in range(count):
            cv2.imwrite(
                str(directory / "faces" / f"frame_{number:04d}_face_{index:02d}.png"), np.zeros((4, 4, 3), np.uint8)
            )
    return directory


def test_chips_are_spread_over_all_clips(tmp_path: Path) -> None:
    clips = [clip(tmp_path, name, dict.fromkeys(range(10), 2)) for name in ("a", "b")]
    assert len(calibration_pictures(clips, "chips", 100)) == 40
    chosen = calibration_pictures(clips, "chips", 5)
    assert len(chosen) == len(set(chosen)) == 5
    assert {path.parents[1].name for path in chosen} == {"a.pipeline", "b.pipeline"}


def test_frames_are_those_with_faces_each_once(tmp_path: Path) -> None:
    directory = clip(tmp_path, "a", {3: 2, 12345: 1})
    names = [path.name for path in calibration_pictures([directory], "frames", 100)]
    assert names == ["frame_0003.png", "frame_12345.png"]


def test_clips_without_faces_are_an_error(tmp_path: Path) -> None:
    directory = clip(tmp_path, "empty", {})
    with pytest.raises(
        EngineError, match=r"empty\.pipeline: no faces to calibrate with .*1 finished clips.*run_pipeline"
    ):
        calibration_pictures([directory], "chips", 10)
    with pytest.raises(EngineError, match="no faces"):
        calibration_pictures([], "frames", 10)


def test_faces_whose_frames_were_not_kept(tmp_path: Path) -> None:
    directory = clip(tmp_path, "a", {1: 1}, frames=False)
    assert len(calibration_pictures([directory], "chips", 10)) == 1
    with pytest.raises(EngineError, match=r"no frame was kept.*--frames faces"):
        calibration_pictures([directory], "frames", 10)


def test_pictures_are_read_one_by_one_each_time_anew(tmp_path: Path) -> None:
    pictures = calibration_pictures([clip(tmp_path, "a", {5: 1, 6: 1, 7: 1})], "frames", 10)
    calibration = calibration_from_pictures(pictures, lambda image: image[None])
    for _ in range(2):
        assert [int(batch[0, 0, 0, 0]) for batch in calibration.batches()] == [5, 6, 7]
    assert calibration_from_pictures(pictures[:2], lambda image: image).digest != calibration.digest


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    pictures = calibration_pictures([clip(tmp_path, "a", {5: 1})], "frames", 10)
    pictures[0].write_bytes(b"no picture")
    with pytest.raises(EngineError, match=r"frame_0005\.png: this is no picture"):
        list(calibration_from_pictures(pictures, lambda image: image).batches())
    pictures[0].unlink()
    with pytest.raises(EngineError, match=r"frame_0005\.png: cannot read"):
        calibration_from_pictures(pictures, lambda image: image)

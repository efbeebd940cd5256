"""Names and number formats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.store import schema
from facesearch_trt.types import QUALITY_COLUMNS


@pytest.mark.parametrize(
    ("number", "index", "frame", "chip"),
    [
        (0, 0, "frame_0000.png", "faces/frame_0000_face_00.png"),
        (42, 7, "frame_0042.png", "faces/frame_0042_face_07.png"),
        (12345, 123, "frame_12345.png", "faces/frame_12345_face_123.png"),
    ],
)
def test_file_names(number: int, index: int, frame: str, chip: str) -> None:
    assert schema.frame_file(number) == frame
    assert schema.chip_file(number, index) == chip
    assert schema.FRAME_PATTERN.fullmatch(frame)
    assert schema.CHIP_PATTERN.fullmatch(chip.removeprefix("faces/"))


def test_columns_of_the_contract() -> None:
    assert schema.FRAMES.names == ("frame_num", "pts_s", "width", "height", "file")
    assert schema.FACES_IDENTIFIED.header == (
        "face_num,frame_num,x1,y1,x2,y2,score,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
        "left_mouth_x,left_mouth_y,right_mouth_x,right_mouth_y,file,enorm,track_id,face_id\n"
    )
    assert schema.FACES_EMBEDDED.names == schema.FACES_IDENTIFIED.names[:-2]
    assert schema.FACES.names == schema.FACES_IDENTIFIED.names[:-3]
    assert schema.QUALITY.names == ("face_num", *QUALITY_COLUMNS)
    assert schema.SHOTS.names == ("shot", "first_frame_num", "last_frame_num", "start_s", "end_s")


@pytest.mark.parametrize("decimals", [2, 4, 6])
@given(st.floats(-8, 8, width=32) | st.floats(0, 1, width=32))
def test_a_rounded_value_survives_its_cell(decimals: int, value: float) -> None:
    column = schema.Column("x", "float32", decimals)
    rounded = schema.rounded(np.array([value], np.float32), decimals)
    text = column.format % rounded.tolist()[0]
    assert np.float32(column.parse(text)) == rounded[0]
    assert abs(rounded[0] - value) <= 0.51 * 10.0**-decimals + 1e-6
    assert "-0" not in text or any(digit in text for digit in "123456789")


@given(st.floats(-1000, 65536, width=32))
def test_pixels_up_to_16k_survive(value: float) -> None:
    rounded = schema.rounded(np.array([value], np.float32), 2)
    assert np.float32(float("%.2f" % rounded.tolist()[0])) == rounded[0]  # noqa: UP031 - the schema's own format
    np.testing.assert_array_equal(schema.rounded(rounded, 2), rounded)


@given(st.floats(0, 200, width=32))
def test_norms_survive(value: float) -> None:
    rounded = schema.rounded(np.array([value], np.float32), 6)
    assert np.float32(float(schema.ENORM.format % rounded.tolist()[0])) == rounded[0]

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.faces.letterbox import Letterbox, detector_input_size, letterbox_for


@pytest.mark.parametrize(
    ("frame", "long_side", "multiple", "expected"),
    [
        ((640, 360), 640, 32, (640, 384)),
        ((640, 360), 0, 32, (640, 384)),
        ((1280, 720), 640, 32, (640, 384)),
        ((360, 640), 640, 32, (384, 640)),
        ((1920, 1080), 0, 32, (1280, 736)),
        ((3840, 2160), 0, 32, (1280, 736)),
        ((320, 240), 0, 32, (640, 480)),
        ((1500, 1000), 0, 32, (1024, 704)),
        ((1280, 720), 1280, 16, (1280, 720)),
        ((500, 500), 600, 32, (608, 608)),
        ((5000, 10), 640, 32, (640, 32)),
        # 3 * 640 / 480 is exact only in integers.
        ((480, 3 * 160), 640, 32, (640, 640)),
    ],
)
def test_input_size(frame: tuple[int, int], long_side: int, multiple: int, expected: tuple[int, int]) -> None:
    assert detector_input_size(*frame, long_side, multiple) == expected


sides = st.integers(1, 4000)


@given(sides, sides, st.sampled_from([0, 128, 320, 640, 1000]), st.sampled_from([1, 16, 32]))
def test_the_whole_frame_fits(width: int, height: int, long_side: int, multiple: int) -> None:
    net = detector_input_size(width, height, long_side, multiple)
    assert net[0] % multiple == net[1] % multiple == 0
    letterbox = letterbox_for(width, height, *net)
    assert round(width * letterbox.scale) <= net[0]
    assert round(height * letterbox.scale) <= net[1]
    # It fills one side, and of the other less than a multiple is left.
    assert max(width * letterbox.scale - net[0], height * letterbox.scale - net[1]) == pytest.approx(0, abs=1e-6)
    assert min(net[0] - width * letterbox.scale, net[1] - height * letterbox.scale) < multiple + 1e-6


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 64, 96]))
def test_apply_gives_the_network_its_size(width: int, height: int, long_side: int) -> None:
    letterbox = letterbox_for(width, height, *detector_input_size(width, height, long_side, 32))
    padded = letterbox.apply(np.full((height, width, 3), 255, np.uint8))
    assert padded.shape == (letterbox.net_height, letterbox.net_width, 3)
    across, down = max(1, round(width * letterbox.scale)), max(1, round(height * letterbox.scale))
    assert (padded[:down, :across] == 255).all()
    assert not padded[down:].any()
    assert not padded[:, across:].any()


@pytest.mark.parametrize(("width", "height", "net"), [(31, 21, (64, 64)), (21, 31, (64, 64)), (63, 45, (32, 32))])
def test_pixel_centres_map_by_one_scale(width: int, height: int, net: tuple[int, int]) -> None:
    """A ramp keeps its slope on both axes: the value at a network pixel is that of the frame at (x + 0.5) / s - 0.5.

    The slopes are so steep that half a pixel makes two grey levels, and so does a size rounded to whole pixels.
    """
    letterbox = letterbox_for(width, height, *net)
    ramp = np.stack(
        np.broadcast_arrays(np.arange(width) * 255 / width, np.arange(height)[:, None] * 255 / height, 0), axis=2
    )
    resized = letterbox.resize(ramp.round().astype(np.uint8)).astype(float)
    columns = (np.arange(resized.shape[1]) + 0.5) / letterbox.scale - 0.5
    rows = (np.arange(resized.shape[0]) + 0.5) / letterbox.scale - 0.5
    inside = (columns > 0) & (columns < width - 1), (rows > 0) & (rows < height - 1)
    assert np.abs(resized[:, :, 0] - columns * 255 / width)[:, inside[0]].max() < 1.2
    assert np.abs(resized[:, :, 1] - (rows * 255 / height)[:, None])[inside[1]].max() < 1.2


def test_back_to_the_frame_is_the_inverse_of_the_resize() -> None:
    """The edges of a bright square, measured in the network's picture, come back to where they are in the frame."""
    image = np.zeros((600, 1000, 3), np.uint8)
    image[120:360, 250:700] = 255
    letterbox = letterbox_for(1000, 600, 640, 384)
    net = letterbox.apply(image)[:, :, 0] / 255.0
    row, column = net[150], net[:, 300]
    edges = np.array([row.argmax() + 1 - row[row.argmax()], column.argmax() + 1 - column[column.argmax()]])
    sizes = np.array([row.sum(), column.sum()])
    box = letterbox.to_frame(np.concatenate([edges, edges + sizes])[None].astype(np.float32))
    np.testing.assert_allclose(box, [[250, 120, 700, 360]], atol=0.6)


def test_to_frame_takes_any_shape_and_keeps_single_precision() -> None:
    points = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    frame = Letterbox(0.5, 64, 64).to_frame(points)
    assert frame.dtype == np.float32
    np.testing.assert_array_equal(frame, points * 2)


def test_a_frame_of_the_networks_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assert letterbox_for(96, 64, 96, 64).resize(image) is image


@given(
    st.integers(1, 8000),
    st.integers(1, 8000),
    st.sampled_from([0, 128, 320, 640, 1000]),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
)
def test_what_the_network_sees_comes_back_to_its_place(
    width: int, height: int, long_side: int, places: list[tuple[float, float]]
) -> None:
    letterbox = letterbox_for(width, height, *detector_input_size(width, height, long_side, 32))
    frame = np.array(places) * (width, height)
    # Pixel centres: the middle of pixel 0 is at 0.5 of both pictures' scales.
    back = letterbox.to_frame((frame * letterbox.scale).astype(np.float32))
    np.testing.assert_allclose(back, frame, atol=1e-3 * max(width, height) / 100 + 1e-3)

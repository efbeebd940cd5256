"""Pictures have the colours that the coded stream says, whatever its container says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.graph.helpers import decode, made
from tests.media import CODECS

GREYS = (20, 120, 235)
COLOURS = ((200, 60, 40), (40, 200, 60), (60, 40, 200))
FULL = (
    "videoconvert ! video/x-raw,format=I420,colorimetry={colorimetry} ! x265enc speed-preset=ultrafast"
    " option-string=log-level=none:pools=none:frame-threads=1:range=full:{said} ! h265parse"
)
BT601 = "colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m"
NOTHING = "colorprim=unknown:transfer=unknown:colormatrix=unknown"
RANGES = {
    "limited": CODECS["h265"],
    "full": FULL.format(colorimetry="1:4:16:4", said=BT601),
    "full, no matrix": FULL.format(colorimetry="1:4:16:4", said=NOTHING),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("values", RANGES)
def test_dark_and_bright_are_as_in_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, values: str
) -> None:
    monkeypatch.setitem(CODECS, "ranged", RANGES[values])
    flat = (np.full((96, 128, 3), grey, np.uint8) for grey in GREYS)
    frames, _ = decode(made(tmp_path / f"clip{suffix}", flat, codec="ranged"))
    np.testing.assert_allclose([frame.image.mean() for frame in frames], GREYS, atol=4)


@pytest.mark.parametrize(("size", "colorimetry"), [((640, 360), "1:4:16:4"), ((1280, 720), "1:3:5:1")])
def test_a_stream_that_does_not_say_its_matrix_has_the_usual_one_for_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], colorimetry: str
) -> None:
    monkeypatch.setitem(CODECS, "unsaid", FULL.format(colorimetry=colorimetry, said=NOTHING))
    flat = (np.full((size[1], size[0], 3), colour, np.uint8) for colour in COLOURS)
    frames, _ = decode(made(tmp_path / "clip.ts", flat, codec="unsaid"))
    for frame, colour in zip(frames, COLOURS, strict=True):
        np.testing.assert_allclose(frame.image.mean((0, 1)), colour, atol=5)

"""What a video file's own sizes say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.graph.containers import Layout, layout_of
from tests.graph.helpers import made, pictures
from tests.media import cut_short


@pytest.mark.parametrize(
    ("suffix", "muxer"),
    [(".mp4", "mp4mux faststart=true"), (".mkv", None), (".avi", None), (".mp4", "mp4mux fragment-duration=400")],
)
def test_a_layout_tells_how_much_is_missing(tmp_path: Path, suffix: str, muxer: str | None) -> None:
    whole = made(tmp_path / f"whole{suffix}", pictures(100), muxer=muxer)
    assert layout_of(whole).missing_bytes == 0
    with whole.open("ab") as file:
        # Some writers leave something behind the end.
        file.write(bytes(64))
    assert layout_of(whole) == layout_of(whole)
    assert layout_of(whole).missing_bytes == 0
    size = whole.stat().st_size
    cut = cut_short(whole, tmp_path / f"cut{suffix}", 0.7)
    layout = layout_of(cut)
    assert 0 < layout.missing_bytes <= size - cut.stat().st_size
    assert layout.has_index


def test_a_layout_of_an_mp4_knows_its_index_and_edit_list(tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(10))
    assert layout_of(path) == Layout(frames=10, edited=True)
    plain = tmp_path / "plain.mp4"
    plain.write_bytes(path.read_bytes().replace(b"edts", b"free"))
    assert layout_of(plain) == Layout(frames=10, edited=False)
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(path.read_bytes().replace(b"moov", b"free"))
    assert not layout_of(headless).has_index


@pytest.mark.parametrize(
    "content", [b"", b"\x1a\x45\xdf\xa3", b"RIFF", b"\0\0\0\x08ftyp" * 3, b"RIFF\xff\xff\xff\xffAVI "]
)
def test_a_layout_of_a_stump_is_no_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stump.mp4"
    path.write_bytes(content)
    assert layout_of(path).missing_bytes >= 0

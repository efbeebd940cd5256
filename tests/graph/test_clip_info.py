"""What is known of a clip before it is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.errors import DecodeError
from facesearch_trt.graph.clip_info import ClipInfo, probe
from facesearch_trt.graph.containers import Layout, layout_of
from facesearch_trt.types import Clip
from tests.graph.helpers import made, pictures
from tests.media import audio_only, clip_of, cut_short, missing


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("h264", ".mp4", "H.264"), ("h265", ".mkv", "H.265"), ("vp9", ".webm", "VP9"), ("mjpeg", ".avi", "JPEG")],
)
def test_says_how_long_a_clip_is(tmp_path: Path, codec: str, suffix: str, name: str) -> None:
    info = probe(clip_of(made(tmp_path / f"clip{suffix}", pictures(40), codec=codec)), stall_timeout_s=30)
    assert (info.frames_expected, info.width, info.height) == (40, 128, 96)
    assert info.duration_s == pytest.approx(1.6, abs=0.01)
    assert name in info.codec


def test_an_mp4_lists_its_frames_whatever_their_rate(tmp_path: Path) -> None:
    times_s = [0.0, 0.01, 0.02, 5.0, 5.5]
    path = made(tmp_path / "clip.mp4", pictures(5), pts_s=times_s, audio=True)
    assert probe(clip_of(path), stall_timeout_s=30).frames_expected == 5


def test_real_clips(shared_data: Path) -> None:
    hamilton = probe(clip_of(shared_data / "clips" / "hamilton.mp4"), stall_timeout_s=30)
    assert (hamilton.frames_expected, hamilton.width, hamilton.height) == (275, 640, 360)
    assert probe(clip_of(shared_data / "clips" / "no_faces.mp4"), stall_timeout_s=30).frames_expected == 1394


def test_counts_the_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.PNG", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    clip = Clip("folder", tmp_path, "images", tmp_path.with_suffix(".pipeline"))
    assert probe(clip, stall_timeout_s=30) == ClipInfo(None, 2, 0, 0, "images")


def test_what_cannot_be_probed_says_why(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all\n" * 100)
    with pytest.raises(DecodeError, match=r"text\.mp4: is not a video file"):
        probe(clip_of(text), stall_timeout_s=30)
    with pytest.raises(DecodeError, match=r"absent\.mp4: cannot be read .*No such file"):
        probe(clip_of(tmp_path / "absent.mp4"), stall_timeout_s=30)
    with pytest.raises(DecodeError, match="not at hand"):
        probe(Clip("gone", None, "video", tmp_path / "gone.pipeline"), stall_timeout_s=30)
    if not missing("avenc_aac"):
        with pytest.raises(DecodeError, match=r"no video in this file \(there is MPEG-4 AAC\)"):
            probe(clip_of(audio_only(tmp_path / "sound.mp4")), stall_timeout_s=30)


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

"""The software graph on files that are broken: what can be decoded is, and the report says what cannot."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.errors import DecodeError, StallError
from facesearch_trt.graph import gst as gst_module
from facesearch_trt.graph import software
from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.types import Clip
from tests.graph.helpers import decode, made, pictures, source_of, state_threads, wait_until
from tests.media import audio_only, clip_of, cut_short, missing, number_of, numbered, write_clip

COUNT = 100


def refusal(path: Path) -> str:
    """Return the message of the error that decoding a file raises; it is one line and names the file."""
    with pytest.raises(DecodeError) as caught:
        decode(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert caught.value.remedy
    return message


@pytest.mark.parametrize(
    ("codec", "suffix", "muxer"),
    [
        ("h264", ".mp4", "mp4mux faststart=true"),
        ("h265", ".mov", "qtmux faststart=true"),
        ("h264", ".mp4", "mp4mux fragment-duration=400"),
        ("h264", ".mkv", None),
        ("vp9", ".webm", None),
        ("mpeg4", ".avi", None),
        ("mjpeg", ".avi", None),
    ],
)
def test_a_file_that_was_cut_off_gives_what_is_there(
    tmp_path: Path, codec: str, suffix: str, muxer: str | None
) -> None:
    whole = made(tmp_path / f"whole{suffix}", pictures(COUNT), codec=codec, muxer=muxer)
    frames, damage = decode(cut_short(whole, tmp_path / f"cut{suffix}", 0.6))
    assert 20 < len(frames) < 90
    # The last one may be half there.
    assert [number_of(frame.image) for frame in frames[:-1]] == list(range(len(frames) - 1))
    assert damage is not None
    assert "bytes early" in damage
    assert f"{len(frames)} frames could be decoded" in damage


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_an_mp4_without_its_index_cannot_be_decoded(tmp_path: Path, keep: float) -> None:
    whole = made(tmp_path / "whole.mp4", pictures(COUNT))
    message = refusal(cut_short(whole, tmp_path / "cut.mp4", keep))
    assert "no index" in message
    assert "record it again" in message


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "mpeg4"])
def test_noise_in_the_middle_loses_only_what_it_hits(tmp_path: Path, codec: str) -> None:
    path = made(tmp_path / "clip.mp4", pictures(COUNT), codec=codec)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    length = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    noise = random.Random(1)
    for _ in range(40):
        content[start + noise.randrange(length // 2, length * 3 // 4)] = noise.randrange(256)
    path.write_bytes(content)
    frames, damage = decode(path)
    assert [number_of(frame.image) for frame in frames[:20]] == list(range(20))
    assert number_of(frames[-1].image) == COUNT - 1
    assert frames[-1].pts_s == pytest.approx((COUNT - 1) / 25, abs=1e-3)
    assert len(frames) < COUNT
    assert damage is not None
    assert "frames could not be decoded" in damage


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_container_that_breaks_in_the_middle_is_reported(tmp_path: Path, suffix: str) -> None:
    path = made(tmp_path / f"clip{suffix}", pictures(COUNT), codec="vp9")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(len(content) - middle))
    frames, damage = decode(path)
    assert 20 < len(frames) < 80
    assert damage is not None
    assert "4.0 s are declared" in damage


def test_a_later_programme_of_another_codec_is_reported(tmp_path: Path) -> None:
    first = made(tmp_path / "first.ts", pictures(COUNT))
    second = made(tmp_path / "second.ts", pictures(COUNT), codec="h265")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames, damage = decode(joined)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert damage is not None


def test_an_error_in_mid_stream_keeps_what_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "clip.mp4", pictures(COUNT))
    gst = gst_module.gstreamer()

    def breaking(_: object, __: Path) -> object:
        # The decoder's place is taken by one that ends in an error after 20 frames, as a demuxer or decoder may.
        return gst.parse_bin_from_description("avdec_h264 ! identity error-after=20", True)

    if missing("avdec_h264"):
        pytest.skip("GStreamer has no avdec_h264 here")
    monkeypatch.setattr(software, "decoder_element", breaking)
    frames, damage = decode(path)
    assert [number_of(frame.image) for frame in frames[:19]] == list(range(19))
    assert len(frames) < COUNT
    assert damage is not None
    assert damage.startswith(f"decoding broke off after {len(frames)} frames (identity")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_sound_alone_is_no_video(tmp_path: Path, suffix: str) -> None:
    if missing("avenc_aac"):
        pytest.skip("GStreamer has no avenc_aac here to make the clip with")
    message = refusal(audio_only(tmp_path / f"sound{suffix}"))
    assert "no video" in message
    assert "AAC" in message
    assert "Take it out" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, this is a text\n" * 100, "not a video file (there is text/plain)"),
        (bytes(5000), "Could not determine type of stream"),
        (random.Random(2).randbytes(50_000), "Could not determine type of stream"),
        (cv2.imencode(".jpg", np.zeros((300, 300, 3), np.uint8))[1].tobytes(), "not a video file (there is JPEG)"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n" * 9, "not a video file"),
    ],
    ids=["empty", "text", "zeros", "random", "picture", "playlist"],
)
def test_files_that_are_no_video(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert words in refusal(path)


def test_an_mp4_without_a_sample_is_an_error_every_time(tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(1))
    content = bytearray(path.read_bytes())
    for table in (b"stsz", b"stco", b"stsc", b"stts"):
        at = content.index(table)
        entries = at + (12 if table == b"stsz" else 8)
        content[entries : entries + 4] = bytes(4)
    path.write_bytes(content)
    # GStreamer's own bins lose this error in a part of the runs.
    for _ in range(5):
        assert "qtdemux" in refusal(path)


def test_a_file_that_grows_while_it_is_read_is_reported(tmp_path: Path) -> None:
    path = made(tmp_path / "clip.ts", pictures(COUNT))
    content = path.read_bytes()
    half = len(content) // 376 * 188
    path.write_bytes(content[:half])
    with source_of(path) as source:
        for frame in source:
            if frame.frame_num == 10:
                path.write_bytes(content)
        assert source.damage is not None
        assert f"its size changed from {half:,} to {len(content):,} bytes while it was read" in source.damage
        list(source)
        assert source.damage is None


def test_a_missing_and_an_unreadable_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.mp4")
    if os.geteuid() != 0:
        path = tmp_path / "locked.mp4"
        path.write_bytes(b"x")
        path.chmod(0)
        assert "Permission denied" in refusal(path)


def test_results_without_their_clip(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="not at hand"):
        SoftwareSource(Clip("gone", None, "video", tmp_path / "gone.pipeline"), stall_timeout_s=1)


@pytest.mark.parametrize(
    ("codec", "suffix", "words"),
    [
        ("h264", ".mp4", ("H.264", "gstreamer1.0-libav")),
        ("vp9", ".webm", ("VP9", "gstreamer1.0-plugins-good")),
        ("mjpeg", ".avi", ("JPEG", "gstreamer1.0-plugins-good")),
    ],
)
def test_a_missing_decoder_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, suffix: str, words: tuple[str, str]
) -> None:
    path = made(tmp_path / f"clip{suffix}", codec=codec)
    monkeypatch.setattr(software, "_SOFTWARE_PLUGINS", set())
    message = refusal(path)
    assert "no software decoder" in message
    assert all(word in message for word in words)


def test_a_file_that_cannot_be_opened_in_time_is_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_module, "_STOP_S", 0.1)
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    # Nobody writes to the pipe, so that opening it hangs as it does on a dead network mount.
    with pytest.raises(StallError) as caught, SoftwareSource(clip_of(path), stall_timeout_s=0.2) as source:
        list(source)
    assert str(caught.value).startswith(f"{path}: ")
    assert "stall" in str(caught.value)
    assert state_threads()
    wait_until(lambda: _freed(path))


def _freed(pipe: Path) -> bool:
    """Let who waits for a writer of the pipe go on; return whether all have gone. GStreamer opens it more than once."""
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    return not state_threads()


def test_a_file_that_stops_giving_data_is_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_module, "_STOP_S", 0.1)
    content = made(tmp_path / "whole.mkv", pictures(COUNT)).read_bytes()
    path = tmp_path / "pipe.mkv"
    os.mkfifo(path)
    # Opened for both, so that neither side waits for the other.
    with path.open("r+b", buffering=0) as writer:
        writer.write(content[: len(content) // 4])
        with pytest.raises(StallError, match="made no progress"), source_of(path, stall_timeout_s=0.5) as source:
            list(source)
        writer.write(bytes(1 << 15))
        wait_until(lambda: not state_threads())


@pytest.mark.parametrize("taken", [1, 7])
def test_a_consumer_may_stop_early(tmp_path: Path, taken: int) -> None:
    path = made(tmp_path / "clip.mp4", pictures(COUNT))
    with source_of(path) as source:
        iterator = iter(source)
        for _ in range(taken):
            next(iterator)
        assert source._graph is not None
        pipeline = source._graph._pipeline.weak_ref()
        assert pipeline() is not None
    del iterator
    assert pipeline() is None
    # Without the with statement too.
    iterator = iter(source)
    next(iterator)
    pipeline = source._graph._pipeline.weak_ref()
    del iterator
    assert pipeline() is None


def test_a_source_that_is_never_read_can_be_closed(tmp_path: Path) -> None:
    with source_of(made(tmp_path / "clip.mp4", pictures(3))):
        pass


def test_opening_and_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    whole = made(tmp_path / "clip.mp4", pictures(10), audio=True)
    cut = cut_short(whole, tmp_path / "cut.mp4", 0.5)
    threads, files = [], []
    for turn in range(55):
        with source_of(whole) as source:
            for frame in source:
                if turn % 2 and frame.frame_num == 3:
                    break
        with pytest.raises(DecodeError):
            decode(cut)
        if turn >= 5:
            threads.append(len(list(Path("/proc/self/task").iterdir())))
            files.append(len(list(Path("/proc/self/fd").iterdir())))
    # GLib keeps up to 8 threads for the next task; each clip uses 4 or more. What tests before this one left may go meanwhile.
    assert max(threads) - threads[0] <= 8
    assert max(files) <= files[0]


def test_a_name_that_is_not_utf_8_is_an_error_of_that_clip(tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.mp4", (numbered(n) for n in range(3)))
    path = Path(os.fsdecode(os.fsencode(tmp_path / "clip-") + b"\xff.mp4"))
    plain.rename(path)
    with pytest.raises(DecodeError, match=r"not UTF-8.*Rename it"), source_of(path) as source:
        list(source)

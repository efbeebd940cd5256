"""The software graph on whole clips: every frame, the right one, at its time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.graph.gst import gstreamer
from facesearch_trt.graph.plug import best_factory
from facesearch_trt.types import Frame
from tests.graph.helpers import decode, made, pictures, source_of
from tests.media import MUXERS, number_of, numbered, turned

COUNT = 30


CONTAINERS = {
    "h264": (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".ts", ".m2ts"),
    "h265": (".mp4", ".mkv", ".ts"),
    "vp8": (".webm", ".mkv"),
    "vp9": (".webm", ".mkv", ".mp4"),
    "av1": (".mp4", ".webm", ".mkv"),
    "mpeg4": (".mp4", ".avi", ".mkv"),
    "mjpeg": (".avi", ".mov", ".mkv"),
    "theora": (".mkv",),
    "raw": (".avi", ".mkv"),
}
REGULAR_S = [number / 25 for number in range(COUNT)]
VARIABLE_S = [0, 0.04, 0.05, 0.2, 0.5] + [0.6 + number * 0.013 for number in range(COUNT - 5)]
TIMES = {"regular": REGULAR_S, "variable": VARIABLE_S}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(
    ("codec", "suffix"), [(codec, suffix) for codec, all_ in CONTAINERS.items() for suffix in all_]
)
def test_gives_every_frame_in_order_at_its_time(tmp_path: Path, codec: str, suffix: str, times: str) -> None:
    if suffix == ".avi" and times == "variable":
        pytest.skip("AVI has one frame rate and no times")
    expected_s = np.array(TIMES[times])
    frames, damage = decode(made(tmp_path / f"clip{suffix}", codec=codec, pts_s=TIMES[times]))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.frame_num for frame in frames] == list(range(COUNT))
    pts_s = np.array([frame.pts_s for frame in frames])
    if suffix in (".ts", ".m2ts"):
        # A transport stream has no zero: times count from its first clock reference.
        assert 0 <= pts_s[0] < 1
        pts_s -= pts_s[0]
    np.testing.assert_allclose(pts_s, expected_s, atol=1e-3)
    assert damage is None
    assert {(frame.width, frame.height) for frame in frames} == {(128, 96)}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_video_that_starts_late_keeps_its_time(tmp_path: Path, codec: str, suffix: str) -> None:
    times_s = [0.852 + number / 25 for number in range(COUNT)]
    # The sound starts at 0, so the container has to say when the video does.
    frames, damage = decode(made(tmp_path / f"clip{suffix}", codec=codec, pts_s=times_s, audio=True))
    np.testing.assert_allclose([frame.pts_s for frame in frames], times_s, atol=1e-3)
    assert damage is None


def test_a_matroska_video_alone_that_starts_late_keeps_its_time(tmp_path: Path) -> None:
    times_s = [1.5 + number / 25 for number in range(COUNT)]
    frames, _ = decode(made(tmp_path / "clip.mkv", pts_s=times_s))
    np.testing.assert_allclose([frame.pts_s for frame in frames], times_s, atol=1e-3)


@pytest.mark.parametrize("variant", ["no edit list", "fragments", "index first"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_no_frame_of_an_mp4_is_lost_at_its_end(tmp_path: Path, codec: str, variant: str) -> None:
    muxers = {"fragments": "mp4mux fragment-duration=400", "index first": "mp4mux faststart=true"}
    path = made(tmp_path / "clip.mp4", codec=codec, muxer=muxers.get(variant))
    if variant == "no edit list":
        path.write_bytes(path.read_bytes().replace(b"edts", b"free"))
    frames, damage = decode(path)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert damage is None


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turns_pictures_upright_as_the_container_says(tmp_path: Path, degrees: int) -> None:
    back = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}[degrees]
    plain = made(tmp_path / "plain.mp4", (np.ascontiguousarray(cv2.rotate(frame, back)) for frame in pictures()))
    frames, damage = decode(turned(plain, tmp_path / "turned.mp4", degrees))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert {(frame.width, frame.height) for frame in frames} == {(128, 96)}
    assert damage is None


@pytest.mark.parametrize("size", [(129, 97), (130, 98), (127, 95), (641, 361), (66, 50)])
@pytest.mark.parametrize(("codec", "suffix"), [("vp9", ".webm"), ("mjpeg", ".avi"), ("raw", ".mkv")])
def test_odd_sizes_are_kept(tmp_path: Path, codec: str, suffix: str, size: tuple[int, int]) -> None:
    frames, _ = decode(made(tmp_path / f"clip{suffix}", pictures(5, size), codec=codec))
    assert [number_of(frame.image) for frame in frames] == list(range(5))
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [("5/4", (160, 96)), ("16/11", (186, 96)), ("1/2", (128, 192)), ("100/101", (128, 96)), ("100/1", (128, 96))],
)
def test_pixels_become_square(tmp_path: Path, aspect: str, size: tuple[int, int], suffix: str) -> None:
    frames, damage = decode(made(tmp_path / f"clip{suffix}", pixel_aspect=aspect))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert {(frame.width, frame.height, *frame.image.shape[1::-1]) for frame in frames} == {size * 2}
    assert damage is None


def test_pixels_become_square_before_they_are_turned(tmp_path: Path) -> None:
    wide = made(
        tmp_path / "wide.mp4",
        (cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE) for frame in pictures()),
        pixel_aspect="4/3",
    )
    frames, _ = decode(turned(wide, tmp_path / "turned.mp4", 90))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert {frame.image.shape for frame in frames} == {(128, 128, 3)}


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".ts"), ("vp9", ".webm"), ("vp8", ".mkv"), ("mjpeg", ".avi")])
def test_the_size_may_change_in_mid_stream(tmp_path: Path, codec: str, suffix: str) -> None:
    sizes = [(128, 96)] * 7 + [(192, 144)] * 7 + [(96, 128)] * 7
    path = made(tmp_path / f"clip{suffix}", (numbered(n, size) for n, size in enumerate(sizes)), codec=codec)
    frames, damage = decode(path)
    assert [number_of(frame.image) for frame in frames] == list(range(len(sizes)))
    assert [(frame.width, frame.height) for frame in frames] == sizes
    assert damage is None


def test_colours_are_bgr(tmp_path: Path) -> None:
    colours = [(200, 60, 40), (40, 200, 60), (60, 40, 200)]
    frames, _ = decode(made(tmp_path / "clip.mp4", (np.full((96, 128, 3), colour, np.uint8) for colour in colours)))
    for frame, colour in zip(frames, colours, strict=True):
        np.testing.assert_allclose(frame.image.mean((0, 1)), colour, atol=6)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts", ".avi"])
def test_sound_is_not_decoded(tmp_path: Path, suffix: str) -> None:
    path = made(tmp_path / f"clip{suffix}", codec="vp9" if suffix == ".webm" else "h264", audio=True)
    with source_of(path) as source:
        iterator = iter(source)
        next(iterator)
        assert source._graph is not None
        elements = source._graph._pipeline.iterate_recurse()
        factories = []
        while (found := elements.next())[0] == gstreamer().IteratorResult.OK:
            factories.append(found[1].get_factory())
        assert len(list(iterator)) == COUNT - 1
    classes = [factory.get_metadata("klass") for factory in factories]
    assert sum("Decoder" in klass for klass in classes) == 1
    assert not any("Audio" in klass for klass in classes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_of_several_videos_the_first_is_used_with_a_warning(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    second = "videotestsrc num-buffers=9 ! video/x-raw,width=64,height=48 ! openh264enc ! h264parse ! queue ! mux."
    one = made(tmp_path / f"one{suffix}")
    decode(one)
    assert not caplog.records
    two = made(tmp_path / f"two{suffix}", muxer=f"{second} {MUXERS[suffix]}")
    frames, damage = decode(two)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert damage is None
    assert f"{two}: of its videos the first is used, not H.264" in caplog.text


def test_frames_outlive_their_source_and_are_read_only(tmp_path: Path) -> None:
    frames, _ = decode(made(tmp_path / "clip.mp4"))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert all(frame.image.flags.c_contiguous and not frame.image.flags.writeable for frame in frames)
    assert all(frame.image.dtype == np.uint8 for frame in frames)


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = source_of(made(tmp_path / "clip.mp4"))
    assert [frame.pts_s for frame in source] == [frame.pts_s for frame in source]


def test_several_clips_decode_at_once(tmp_path: Path) -> None:
    paths = [made(tmp_path / f"clip{n}.mp4", pictures(5 + n)) for n in range(4)]
    sources = [source_of(path) for path in paths]
    counts = [0] * len(sources)
    iterators: list[Iterator[Frame] | None] = [iter(source) for source in sources]
    while any(iterators):
        for index, iterator in enumerate(iterators):
            frame = next(iterator, None) if iterator else None
            if frame is None:
                iterators[index] = None
            else:
                assert number_of(frame.image) == counts[index]
                counts[index] += 1
    assert counts == [5, 6, 7, 8]


def test_a_bare_stream_gets_times_from_its_frame_rate(tmp_path: Path) -> None:
    bare = "capsfilter caps=video/x-h264,stream-format=byte-stream,alignment=au"
    frames, _ = decode(made(tmp_path / "bare.ts", muxer=bare))
    np.testing.assert_allclose([frame.pts_s for frame in frames], REGULAR_S, atol=1e-3)


def test_b_frames_in_an_avi_have_the_times_at_which_they_are_shown(tmp_path: Path) -> None:
    frames, damage = decode(made(tmp_path / "clip.avi", codec="mpeg4-b"))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.pts_s for frame in frames], REGULAR_S, atol=1e-3)
    assert damage is None


def test_what_an_mpeg4_stream_says_not_to_be_coded_is_not_lost(tmp_path: Path) -> None:
    bare = "capsfilter caps=video/mpeg"
    start, path = b"\0\0\1\xb6", tmp_path / "bare.ts"
    first, *pictures_ = made(path, codec="mpeg4", muxer=bare).read_bytes().split(start)
    # As the VOP before, but with vop_coded 0 behind its time of 16 bits, and stuffing (ISO/IEC 14496-2, 6.2.5): Xvid
    # leaves that in an AVI file for each B-frame that it packed into the chunk before.
    before = pictures_[9]
    pictures_[10:10] = [before[:2] + bytes([before[2] & 0xF0 | 0b1001])] * 3
    path.write_bytes(start.join([first, *pictures_]))
    frames, damage = decode(path)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert damage is None


@pytest.mark.parametrize("name", ["ümläut – 名前.mp4", 'it\'s "quoted" ! (1).mp4', "a b  c.mp4"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    frames, _ = decode(made(tmp_path / name, pictures(3)))
    assert len(frames) == 3


def test_only_decoders_of_the_list_are_taken() -> None:
    gst = gstreamer()
    caps = gst.Caps.from_string("video/x-vp9")
    decoder = gst.ELEMENT_FACTORY_TYPE_DECODER
    best = best_factory(decoder, caps)
    others = {"vpx", "libav"} - {best.get_plugin_name()}
    second = best_factory(decoder, caps, others)
    assert second.get_plugin_name() in others
    assert second.get_rank() <= best.get_rank()
    assert best_factory(decoder, caps, {"nvcodec"}) is None


def test_real_clip_with_a_late_start(shared_data: Path) -> None:
    frames, damage = decode(shared_data / "clips" / "hamilton.mp4")
    # Its track header: time scale 11,988, every sample 400 long, an empty edit of 852 ms before.
    expected_s = 0.852 + np.arange(275) * 400 / 11988
    np.testing.assert_allclose([frame.pts_s for frame in frames], expected_s, atol=1e-6)
    assert damage is None
    reader = cv2.VideoCapture(str(shared_data / "clips" / "hamilton.mp4"))
    for frame in frames[::25]:
        reader.set(cv2.CAP_PROP_POS_FRAMES, frame.frame_num)
        other = reader.read()[1]
        assert np.abs(frame.image.astype(int) - other).mean() < 2
    reader.release()


def test_real_clip_with_frames_out_of_order(shared_data: Path) -> None:
    count = 0
    with source_of(shared_data / "clips" / "no_faces.mp4") as source:
        for frame in source:
            assert frame.pts_s == pytest.approx(frame.frame_num / 10, abs=1e-6)
            count += 1
    assert (count, source.damage) == (1394, None)

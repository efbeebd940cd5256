"""The DeepStream graph's handling of clips: frames, times and order, entering and leaving, and all that can be wrong with one."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch_trt.errors import DecodeError, EngineError, StallError
from facesearch_trt.graph import deepstream as graph_module
from facesearch_trt.graph.deepstream_bindings import choose_bindings
from facesearch_trt.graph.deepstream_lane import Lane
from facesearch_trt.graph.servicemaker_clip import ClipPipeline
from facesearch_trt.types import Array, Clip, Frame
from tests.doubles import deepstream
from tests.doubles.deepstream import memory
from tests.graph.deepstream_graph import Mean, Result, Tuning, taken
from tests.media import clip_of, cut_short, number_of, numbered, turned, write_clip


@pytest.fixture(params=["pyds", "pyservicemaker"])
def double(request: pytest.FixtureRequest) -> Iterator[deepstream.State]:
    with deepstream.installed(apis=(request.param,)) as state:
        yield state


def clip(path: Path, count: int, *, first: int = 0, size: tuple[int, int] = (128, 96), **how: Any) -> Clip:
    """Write a clip whose frames show their numbers."""
    return clip_of(write_clip(path, (numbered(first + n, size) for n in range(count)), **how))


class Numbers:
    """Reads the numbers that the frames show."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}

    def __call__(self, clip: Clip, frame: Frame) -> None:
        assert frame.image is not None and frame.image.shape == (frame.height, frame.width, 3)
        self.of.setdefault(clip.name, []).append(number_of(frame.image))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def whole(result: Result, count: int) -> bool:
    """Return whether a clip came through with all its frames in order."""
    return result.error is None and result.damage is None and [f.frame_num for f in result.frames] == list(range(count))


@pytest.mark.parametrize(
    ("double", "source"),
    [("pyds", "nvv4l2decoder"), ("pyds", "nvurisrcbin"), ("pyservicemaker", "nvurisrcbin")],
    indirect=["double"],
)
@pytest.mark.parametrize("eos_late", [False, True])
def test_clips_of_several_sizes_rates_and_containers(
    double: deepstream.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, eos_late: bool
) -> None:
    monkeypatch.setattr(graph_module, "source_element", lambda: source)
    double.eos_late = eos_late
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 0.9, 1.0]
    clips = [
        clip(tmp_path / "a.mp4", 20, fps=25),
        clip(tmp_path / "b.mp4", 7, first=100, pts_s=times),
        clip(tmp_path / "c.mkv", 15, first=200, size=(160, 96), fps=10, codec="h264"),
        clip(tmp_path / "d.mp4", 11, first=300, codec="h265"),
    ]
    numbers, tuning = Numbers(), Tuning(batch=4, at_once=4)
    with Mean(tmp_path).graph(tuning) as graph:
        results = taken(graph, clips, numbers)
    for one, first, count in zip(clips, (0, 100, 200, 300), (20, 7, 15, 11), strict=True):
        assert whole(results[one.name], count), (one.name, results[one.name].error, results[one.name].damage)
        assert numbers.of[one.name] == list(range(first, first + count))
    assert [frame.pts_s for frame in results["b"].frames] == pytest.approx(times, abs=1e-3)
    assert [frame.pts_s for frame in results["c"].frames] == pytest.approx(np.arange(15) / 10, abs=1e-3)
    assert sorted(set(tuning.lanes)) == [(128, 96), (160, 96)]
    assert double.decoders_alive == 0 and memory.alive() == 0


def test_networks_see_each_clips_own_pictures(double: deepstream.State, tmp_path: Path) -> None:
    def coloured(level: int) -> Iterator[Array]:
        for _ in range(8):
            # Blue, green, red.
            yield np.full((96, 128 if level < 100 else 192, 3), (level, level + 20, level + 40), np.uint8)

    clips = [clip_of(write_clip(tmp_path / f"{level}.mp4", coloured(level))) for level in (60, 100)]
    network = Mean(tmp_path, net=(96, 96))
    with network.graph(Tuning(), network.engine(colour="bgr", mean=(10.0, 20.0, 30.0), std=2.0)) as graph:
        taken(graph, clips)
    assert len(network.said) == 16
    for width, said in network.said:
        level = 60 if width == 128 else 100
        # The picture fills its share of the square, what is black beside it shares the mean.
        share = 96 / width
        wanted = [((level + add) * share - mean) / 2 for add, mean in ((0, 10), (20, 20), (40, 30))]
        assert said == pytest.approx(wanted, abs=3)


def test_the_next_clip_enters_when_one_has_ended(double: deepstream.State, tmp_path: Path) -> None:
    clips = [clip(tmp_path / f"{n}.mp4", 6 + n, first=50 * n) for n in range(7)]
    numbers, inside, most = Numbers(), set(), 0

    def each(one: Clip, frame: Frame) -> None:
        nonlocal most
        numbers(one, frame)
        if frame.frame_num == 0:
            inside.add(one.name)
            most = max(most, len(inside))
        if frame.frame_num == 5 + int(one.name):
            inside.discard(one.name)

    tuning = Tuning(batch=2, at_once=2)
    with Mean(tmp_path).graph(tuning) as graph:
        results = taken(graph, clips, each)
    for n, one in enumerate(clips):
        assert whole(results[one.name], 6 + n), results[one.name].error
        assert numbers.of[one.name] == list(range(50 * n, 50 * n + 6 + n))
    assert most <= 2
    # Clips of one size share a pipeline, where the API can.
    assert len(tuning.lanes) == (1 if choose_bindings().name == "pyds" else 7)


def test_a_pipeline_is_not_stopped_for_room_while_a_clip_is_on_its_way_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two threads can meet: between the one's choice of an idle pipeline and its entering, the other needs room."""
    sizes = {"first": (128, 96), "second": (160, 120), "third": (192, 144), "again": (128, 96)}
    clips = {name: clip(tmp_path / f"{name}.mp4", 5, size=size) for name, size in sizes.items()}
    tuning = Tuning(batch=2, at_once=2)
    add = Lane.add
    with deepstream.installed(), Mean(tmp_path).graph(tuning) as graph:
        assert isinstance(graph, graph_module.DeepStreamGraph)
        for name in ("first", "second"):
            assert whole(taken(graph, [clips[name]])[name], 5)
        until(lambda: all(lane.is_idle for lane in graph._lanes.values()))

        def late(lane: Lane, *args: Any) -> Any:
            monkeypatch.setattr(Lane, "add", add)
            assert whole(taken(graph, [clips["third"]])["third"], 5)
            return add(lane, *args)

        monkeypatch.setattr(Lane, "add", late)
        assert whole(taken(graph, [clips["again"]])["again"], 5)
        # The idle one had to go.
        assert sorted(graph._lanes) == [sizes["again"], sizes["third"]]
    assert tuning.lanes == [sizes["first"], sizes["second"], sizes["third"]]


def test_a_slow_clip_does_not_hold_up_the_others(double: deepstream.State, tmp_path: Path) -> None:
    clips = [clip(tmp_path / f"{name}.mp4", 60) for name in ("slow", "fast")]
    fast_is_done = threading.Event()
    order = []

    def each(one: Clip, frame: Frame) -> None:
        if one.name == "slow" and frame.frame_num == 2:
            # With far more frames to come than there is room for.
            assert fast_is_done.wait(60)
        if frame.frame_num == 59:
            order.append(one.name)
            if one.name == "fast":
                fast_is_done.set()

    with Mean(tmp_path).graph(Tuning(batch=2, ahead=4)) as graph:
        results = taken(graph, clips, each)
    assert order == ["fast", "slow"]
    assert all(whole(result, 60) for result in results.values())


def test_a_consumer_that_gives_up_leaves_the_others_alone(double: deepstream.State, tmp_path: Path) -> None:
    clips = [
        clip(tmp_path / f"{name}.mp4", 60, first=first) for name, first in (("left", 0), ("stays", 100), ("next", 200))
    ]
    numbers = Numbers()

    class Enough(Exception):
        pass

    def each(one: Clip, frame: Frame) -> None:
        numbers(one, frame)
        if one.name == "left" and frame.frame_num == 3:
            raise Enough

    with Mean(tmp_path).graph(Tuning(batch=2, at_once=2)) as graph:
        results = taken(graph, clips, each)
    assert isinstance(results["left"].error, Enough)
    assert whole(results["stays"], 60) and whole(results["next"], 60)
    # The clip that took the place that was left has none of its frames.
    assert numbers.of["next"] == list(range(200, 260))
    assert double.decoders_alive == 0


def test_pictures_are_turned_upright(double: deepstream.State, tmp_path: Path) -> None:
    clips = []
    for degrees in (90, 180, 270):
        # The container turns back what is turned here.
        frames = (np.ascontiguousarray(np.rot90(numbered(n), degrees // 90)) for n in range(5))
        plain = write_clip(tmp_path / "plain.mp4", frames)
        clips.append(clip_of(turned(plain, tmp_path / f"turned-{degrees}.mp4", degrees)))
    numbers = Numbers()
    with Mean(tmp_path).graph(Tuning(batch=4, at_once=4)) as graph:
        results = taken(graph, clips, numbers)
    for one in clips:
        assert whole(results[one.name], 5), (one.name, results[one.name].error)
        assert numbers.of[one.name] == [0, 1, 2, 3, 4]
        assert (results[one.name].frames[0].width, results[one.name].frames[0].height) == (128, 96)


@pytest.mark.parametrize("later", [(192, 96), (64, 96), (64, 48)], ids=["wider", "narrower", "smaller"])
def test_a_clip_that_changes_its_size(double: deepstream.State, tmp_path: Path, later: tuple[int, int]) -> None:
    """The mux brings the later pictures into the first ones' size, with black beside them; they come out in their own."""
    frames = [numbered(n, (128, 96) if n < 6 else later) for n in range(12)]
    one = clip_of(write_clip(tmp_path / "changes.ts", iter(frames), gop=1))
    numbers = Numbers()
    with Mean(tmp_path).graph(Tuning()) as graph:
        result = taken(graph, [one], numbers)["changes"]
    assert whole(result, 12), (result.error, result.damage)
    assert numbers.of["changes"] == list(range(12))
    assert {(frame.width, frame.height) for frame in result.frames[6:]} == {later}


def test_bad_clips_among_good_ones(double: deepstream.State, tmp_path: Path) -> None:
    good = [clip(tmp_path / f"good{n}.mp4", 30) for n in range(2)]
    (tmp_path / "rubbish.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    cut = cut_short(clip(tmp_path / "long.mkv", 40).source, tmp_path / "cut.mkv", 0.6)
    bad = [clip_of(tmp_path / "rubbish.mp4"), clip_of(tmp_path / "empty.mp4"), clip_of(cut)]
    broken = bytearray(good[0].source.read_bytes())
    start = broken.index(b"mdat") + 8
    broken[start : start + 4000] = b"\xff" * len(broken[start : start + 4000])
    (tmp_path / "broken.mp4").write_bytes(broken)
    bad.append(clip_of(tmp_path / "broken.mp4"))
    bad.append(clip_of(write_clip(tmp_path / "anamorphic.mp4", (numbered(n) for n in range(9)), pixel_aspect="4/3")))
    with Mean(tmp_path).graph(Tuning(batch=4, at_once=6)) as graph:
        results = taken(graph, [*bad, *good])
    for one in good:
        assert whole(results[one.name], 30), results[one.name].error
    for name in ("rubbish", "empty", "broken", "anamorphic"):
        assert isinstance(results[name].error, DecodeError), name
        assert name in str(results[name].error)
    assert results["cut"].error is None
    assert "early" in (results["cut"].damage or "")
    assert 0 < len(results["cut"].frames) < 40
    assert double.decoders_alive == 0


def test_a_source_that_stalls_is_removed_and_the_others_go_on(double: deepstream.State, tmp_path: Path) -> None:
    double.stalling_width = 160
    stalls, good = clip(tmp_path / "stalls.mp4", 30, size=(160, 96)), clip(tmp_path / "good.mp4", 30)
    same = clip(tmp_path / "same.mp4", 30, size=(160, 96), codec="h264")
    with Mean(tmp_path).graph(Tuning(stall_timeout_s=2.0, batch=2, at_once=2)) as graph:
        results = taken(graph, [stalls, good])
        double.stalling_width = 0
        after = taken(graph, [same])
    assert whole(results["good"], 30)
    assert isinstance(results["stalls"].error, StallError) and len(results["stalls"].frames) == 2
    assert "2 s" in str(results["stalls"].error)
    # Its lane serves the next clip.
    assert whole(after["same"], 30)
    assert double.decoders_alive == 0


def test_waiting_for_a_consumer_is_no_stall(double: deepstream.State, tmp_path: Path) -> None:
    one = clip(tmp_path / "one.mp4", 30)

    def each(_: Clip, frame: Frame) -> None:
        if frame.frame_num == 3:
            time.sleep(3)

    with Mean(tmp_path).graph(Tuning(stall_timeout_s=1.0, ahead=4, batch=1)) as graph:
        assert whole(taken(graph, [one], each)["one"], 30)


def test_frames_that_the_mux_drops_are_told_and_leave_gaps(double: deepstream.State, tmp_path: Path) -> None:
    double.swallow = {0}
    one = clip(tmp_path / "one.mp4", 30)
    numbers = Numbers()
    with Mean(tmp_path).graph(Tuning(batch=1)) as graph:
        result = taken(graph, [one], numbers)["one"]
    wanted = [n for n in range(30) if n % 3 != 1]
    assert [frame.frame_num for frame in result.frames] == wanted == numbers.of["one"]
    assert result.damage == "10 frames were lost in the graph"


def test_every(double: deepstream.State, tmp_path: Path) -> None:
    network, one = Mean(tmp_path), clip(tmp_path / "one.mp4", 10)
    with network.graph(Tuning(every=4)) as graph:
        result = taken(graph, [one])["one"]
    assert whole(result, 10), "all frames come, for the shots"
    assert len(network.said) == 3


def test_leaving_the_graph_ends_clips_that_are_in_work(double: deepstream.State, tmp_path: Path) -> None:
    one = clip(tmp_path / "one.mp4", 60)
    ready, left = threading.Event(), threading.Event()

    def each(_: Clip, frame: Frame) -> None:
        if frame.frame_num == 2:
            ready.set()
            assert left.wait(60)

    results: dict[str, Result] = {}
    with Mean(tmp_path).graph(Tuning(ahead=6)) as graph:
        thread = threading.Thread(target=lambda: results.update(taken(graph, [one], each)))
        thread.start()
        assert ready.wait(60)
        leaving = threading.Thread(target=graph.close)
        leaving.start()
        time.sleep(0.2)
        left.set()
        for each_thread in (leaving, thread):
            each_thread.join(60)
            assert not each_thread.is_alive()
    assert "was stopped" in str(results["one"].error)
    assert double.decoders_alive == 0


@pytest.mark.parametrize("double", ["pyservicemaker"], indirect=True)
def test_nothing_of_a_clip_is_kept(double: deepstream.State, tmp_path: Path) -> None:
    """Operators are held by the library, which Python's collector does not see into."""
    network, one = Mean(tmp_path), clip(tmp_path / "one.mp4", 10)
    with network.graph(Tuning()) as graph:
        assert whole(taken(graph, [one])["one"], 10)
    with network.graph(Tuning(), network.engine(outputs=("heat",))) as graph:
        assert taken(graph, [one])["one"].error is not None
    gc.collect()
    assert not [kept for kept in gc.get_objects() if isinstance(kept, ClipPipeline)]
    assert memory.alive() == 0


@pytest.mark.parametrize("double", ["pyservicemaker"], indirect=True)
def test_a_service_maker_whose_call_to_end_has_the_other_name(
    double: deepstream.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = deepstream.pyservicemaker.Pipeline
    ended = []
    monkeypatch.setattr(pipeline, "stop", lambda self: ended.append(self) or self._stop(), raising=False)
    monkeypatch.setattr(pipeline, "deactivate", None)
    double.stalling_width = 128
    with Mean(tmp_path).graph(Tuning(stall_timeout_s=1.0)) as graph:
        result = taken(graph, [clip(tmp_path / "one.mp4", 30)])["one"]
    assert isinstance(result.error, StallError) and len(ended) == 1
    assert double.decoders_alive == 0


class TestEngines:
    """Engines that do not fit concern all clips and are told before or instead of frames."""

    def failed(self, tmp_path: Path, network: Mean, engine: Any, tuning: Tuning | None = None) -> str:
        one = clip(tmp_path / "one.mp4", 10)
        with network.graph(tuning or Tuning(), engine) as graph:
            result = taken(graph, [one])["one"]
        assert isinstance(result.error, EngineError), result.error
        assert not result.frames
        return str(result.error)

    def test_smaller_batch(self, double: deepstream.State, tmp_path: Path) -> None:
        network = Mean(tmp_path, max_batch=2)
        said = self.failed(tmp_path, network, network.engine())
        assert "batch 3" in said and "at most 2" in said and "build_engines.py --clips" in said

    def test_batch_that_only_nvinfer_knows_to_be_smaller(self, double: deepstream.State, tmp_path: Path) -> None:
        network = Mean(tmp_path, max_batch=2)
        said = self.failed(tmp_path, network, network.engine(max_batch=8))
        # pyservicemaker prints what nvinfer says, and tells nothing.
        assert "batch-size" in said or "although the clip decodes; what failed is on standard error" in said
        assert "mean.engine" in said

    def test_missing(self, double: deepstream.State, tmp_path: Path) -> None:
        network = Mean(tmp_path)
        said = self.failed(tmp_path, network, network.engine(engine=tmp_path / "none.engine"))
        assert "none.engine" in said

    def test_other_input_size(self, double: deepstream.State, tmp_path: Path) -> None:
        network = Mean(tmp_path)
        assert "mean.engine" in self.failed(tmp_path, network, network.engine(width=256))

    def test_other_outputs(self, double: deepstream.State, tmp_path: Path) -> None:
        network = Mean(tmp_path)
        said = self.failed(tmp_path, network, network.engine(outputs=("heat", "mean")))
        assert "heat" in said and "mean" in said

    def test_nvinfer_fails_on_its_first_batch(self, double: deepstream.State, tmp_path: Path) -> None:
        double.infer_fails_after = 0
        network = Mean(tmp_path)
        self.failed(tmp_path, network, network.engine(), Tuning(stall_timeout_s=2.0))

    def test_nvinfer_fails_on_the_way(self, double: deepstream.State, tmp_path: Path) -> None:
        double.infer_fails_after = 3
        clips = [clip(tmp_path / f"{n}.mp4", 40) for n in range(2)]
        with Mean(tmp_path).graph(Tuning(batch=2, at_once=2)) as graph:
            results = taken(graph, clips)
            if choose_bindings().name == "pyds":
                assert all(isinstance(result.error, EngineError) for result in results.values())
                assert "Failed to queue" in str(results["0"].error)
            else:
                for result in results.values():
                    assert result.error is None and 0 < len(result.frames) <= 6
                    assert f"broke off after {len(result.frames)} frames" in (result.damage or "")
                    assert "still in the pipeline; what failed is on standard error" in (result.damage or "")
            double.infer_fails_after = None
            again = taken(graph, [clip(tmp_path / "again.mp4", 10)])
        assert whole(again["again"], 10), "a new pipeline is made for the next clip"

"""What runs a graph: its end, its errors, its watchdog and its teardown."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facesearch_trt.errors import BackendError, DecodeError, StallError
from facesearch_trt.graph import gst as gst_module
from facesearch_trt.graph.bounded import bounded
from facesearch_trt.graph.buffers import mapped, pts_s_of
from facesearch_trt.graph.gst import PACKAGES, Graph, gstreamer, launch
from tests.graph.helpers import state_threads, wait_until

SINK = "appsink name=sink sync=false"


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[Graph, Any]]]:
    """Start a pipeline that ends in SINK; returns the graph and the sink. It is stopped after the test."""
    graphs = []

    def start(description: str, *, stall_timeout_s: float = 30) -> tuple[Graph, Any]:
        pipeline = launch(description)
        graph = Graph(pipeline, where="a clip", stall_timeout_s=stall_timeout_s)
        sink = pipeline.get_by_name("sink")
        graphs.append(graph.__enter__())
        return graph, sink

    yield start
    for graph in graphs:
        graph.stop()


def test_returns_everything_and_then_none(run: Callable[..., tuple[Graph, Any]]) -> None:
    graph, sink = run(f"fakesrc num-buffers=5 sizetype=fixed sizemax=10 ! {SINK}")
    for _ in range(5):
        assert graph.pull(sink) is not None
    assert graph.pull(sink) is None
    assert graph.pull(sink) is None
    assert graph.warnings == []


def test_an_error_comes_after_what_was_made_before_it(run: Callable[..., tuple[Graph, Any]]) -> None:
    graph, sink = run(
        f"fakesrc num-buffers=50 sizetype=fixed sizemax=10 ! identity name=culprit error-after=4 ! {SINK}"
    )
    for _ in range(3):
        assert graph.pull(sink) is not None
    with pytest.raises(DecodeError) as caught:
        graph.pull(sink)
    assert str(caught.value).startswith("a clip: cannot be decoded (there is culprit: ")
    assert "Failed after iterations as requested." in str(caught.value)


def test_an_error_without_an_end_of_stream_is_raised_too(
    run: Callable[..., tuple[Graph, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gst_module, "_DRAIN_S", 0.1)
    graph, sink = run(f"appsrc ! {SINK}")
    graph.fail(DecodeError("no decoder for it"))
    graph.fail(DecodeError("what follows from that"))
    with pytest.raises(DecodeError, match="no decoder for it"):
        graph.pull(sink)


def test_warnings_are_kept_once_each_and_counted(run: Callable[..., tuple[Graph, Any]]) -> None:
    graph, sink = run(f"fakesrc num-buffers=1 sizetype=fixed sizemax=10 ! {SINK}")
    for number in (1, 1, *range(50)):
        graph._pipeline.post_message(_warning(graph._pipeline, f"trouble {number}"))
    while graph.pull(sink) is not None:
        pass
    assert graph.warning_count == 52
    assert len(graph.warnings) == 20
    assert "trouble 1" in graph.warnings[0]


def _warning(element: Any, text: str) -> Any:
    from gi.repository import GLib

    quark = GLib.quark_from_string("test")
    return gstreamer().Message.new_warning(element, GLib.Error.new_literal(quark, text, 1), "where\nwhy")


def test_a_graph_that_makes_nothing_stalls(run: Callable[..., tuple[Graph, Any]]) -> None:
    # Nobody feeds the source.
    graph, sink = run(f"appsrc ! {SINK}", stall_timeout_s=0.3)
    with pytest.raises(StallError) as caught:
        graph.pull(sink)
    assert str(caught.value).startswith("a clip: the decoder made no progress for 0.3 s")
    assert "--stall-timeout-s" in str(caught.value)


def test_a_graph_that_stops_after_some_frames_stalls(run: Callable[..., tuple[Graph, Any]]) -> None:
    graph, sink = run(f"appsrc name=in ! {SINK}", stall_timeout_s=0.3)
    gst = gstreamer()
    source = graph._pipeline.get_by_name("in")
    source.emit("push-buffer", gst.Buffer.new_wrapped(b"x"))
    assert graph.pull(sink) is not None
    with pytest.raises(StallError):
        graph.pull(sink)


def test_a_slow_consumer_is_no_stall(run: Callable[..., tuple[Graph, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    graph, sink = run(f"fakesrc num-buffers=20 sizetype=fixed sizemax=10 ! {SINK} max-buffers=2", stall_timeout_s=60)
    now_s = 0.0
    monkeypatch.setattr(gst_module, "time", SimpleNamespace(monotonic=lambda: now_s))
    count = 0
    while graph.pull(sink) is not None:
        # An hour passes between any two frames.
        now_s += 3600
        count += 1
    assert count == 20


def test_the_graph_runs_ahead_only_as_far_as_its_queue_goes() -> None:
    pipeline = launch(f"fakesrc num-buffers=1000 sizetype=fixed sizemax=10 name=src ! {SINK} max-buffers=3")
    sink, gst = pipeline.get_by_name("sink"), gstreamer()
    made = 0

    def count(*_: object) -> Any:
        nonlocal made
        made += 1
        return gst.PadProbeReturn.OK

    pipeline.get_by_name("src").get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, count)
    with Graph(pipeline, where="a clip", stall_timeout_s=30) as graph:
        assert graph.pull(sink) is not None
        # One was taken, three wait, the fifth waits for room.
        wait_until(lambda: made == 5)
        time.sleep(0.1)
        assert made == 5


def test_stopping_wakes_a_graph_that_waits_for_its_consumer() -> None:
    pipeline = launch(f"fakesrc sizetype=fixed sizemax=10 ! {SINK} max-buffers=1")
    with Graph(pipeline, where="a clip", stall_timeout_s=30) as graph:
        assert graph.pull(pipeline.get_by_name("sink")) is not None
    assert pipeline.get_state(0).state == gstreamer().State.NULL
    graph.stop()
    assert not state_threads()


def test_a_graph_that_cannot_start_is_stopped() -> None:
    pipeline = launch(f"filesrc location=/does/not/exist ! {SINK}")
    with pytest.raises(DecodeError, match="No such file"), Graph(pipeline, where="a clip", stall_timeout_s=30):
        pass
    assert pipeline.get_state(0).state == gstreamer().State.NULL


def test_what_hangs_is_left_behind() -> None:
    free = threading.Event()
    assert bounded(lambda: free.wait(30), 0.05) is None
    assert state_threads()
    free.set()
    assert bounded(lambda: 7, 30) == 7


def test_what_fails_in_bounded_time_is_no_timeout() -> None:
    def broken() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        bounded(broken, 30)


@pytest.mark.parametrize(
    ("namespace", "name"), [("GstPbutils", "pb_utils_get_codec_description"), ("GstVideo", "VideoInfo")]
)
def test_what_threads_may_ask_for_at_once_is_made_ahead(namespace: str, name: str) -> None:
    program = f"""
from facesearch_trt.graph.gst import gstreamer
gstreamer()
from gi.repository import {namespace}
assert {name!r} in vars({namespace})
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_missing_element_names_the_packages() -> None:
    with pytest.raises(BackendError) as caught:
        launch("nosuchelement ! fakesink")
    assert "nosuchelement" in str(caught.value)
    assert all(package in str(caught.value) for package in PACKAGES)


def test_missing_typelibs_name_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    import gi

    def absent(namespace: str, version: str) -> None:
        raise ValueError(f"Namespace {namespace} not available")

    monkeypatch.setattr(gi, "require_version", absent)
    with pytest.raises(BackendError) as caught:
        gstreamer.__wrapped__()
    assert "Namespace Gst not available" in str(caught.value)
    assert "gir1.2-gstreamer-1.0" in str(caught.value)


def test_an_old_gstreamer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_module, "OLDEST", (99, 0))
    with pytest.raises(BackendError, match=r"asked for 99\.0 or newer; there is GStreamer 1\."):
        gstreamer.__wrapped__()


def test_buffers_are_read_without_a_copy_and_cannot_be_written() -> None:
    content = np.arange(1000, dtype=np.uint8).tobytes()
    buffer = gstreamer().Buffer.new_wrapped(content)
    with mapped(buffer) as first, mapped(buffer) as second:
        assert first.tobytes() == content
        assert np.shares_memory(first, second)
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1


@pytest.mark.parametrize(("absolute", "expected_s"), [(False, 12.5), (True, 2.5)])
def test_times_follow_the_segment_unless_they_are_absolute(absolute: bool, expected_s: float) -> None:
    gst = gstreamer()
    segment = gst.Segment()
    segment.init(gst.Format.TIME)
    segment.start, segment.time = 2 * gst.SECOND, 12 * gst.SECOND
    buffer = gst.Buffer.new_wrapped(b"x")
    buffer.pts = 2_500_000_000
    assert pts_s_of(gst.Sample.new(buffer, None, segment, None), absolute=absolute) == expected_s
    buffer.pts = gst.CLOCK_TIME_NONE
    assert pts_s_of(gst.Sample.new(buffer, None, segment, None), absolute=absolute) is None

"""When the parts of a pipeline are linked: not while another thread changes its state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.graph.autoplug import Autoplug
from facesearch_trt.graph.gst import gstreamer, launch
from tests.graph.helpers import made, pictures, wait_until


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[tuple[Any, Autoplug]]:
    """A pipeline in state NULL and what links it."""
    pipeline = launch("identity name=coded ! fakesink sync=false async=false")
    errors: list[Exception] = []
    plug = Autoplug(
        pipeline,
        made(tmp_path / "clip.mp4", pictures(10), audio=True),
        decoder_for=lambda _: gstreamer().ElementFactory.make("identity"),
        after=pipeline.get_by_name("coded"),
        fail=errors.append,
    )
    yield pipeline, plug
    plug.close()
    pipeline.set_state(gstreamer().State.NULL)
    assert errors == []


def test_links_once_the_pipeline_plays(plugged: tuple[Any, Autoplug]) -> None:
    pipeline, plug = plugged
    state = gstreamer().State
    pipeline.set_state(state.PAUSED)
    time.sleep(0.1)
    # The type of the file is known by now, but the pipeline is still on its way.
    assert plug.container == ""
    pipeline.set_state(state.PLAYING)
    wait_until(lambda: plug.linked_caps is not None and bool(plug.others))
    assert plug.container == "isomp4"
    assert plug.linked_caps.get_structure(0).get_name() == "video/x-h264"
    assert plug.others == ["MPEG-4 AAC"]


def test_links_nothing_once_it_is_closed(plugged: tuple[Any, Autoplug]) -> None:
    pipeline, plug = plugged
    state = gstreamer().State
    pipeline.set_state(state.PAUSED)
    plug.close()
    pipeline.set_state(state.PLAYING)
    time.sleep(0.1)
    assert plug.container == ""
    assert plug.linked_caps is None


def test_a_pipeline_that_never_plays_can_be_stopped(plugged: tuple[Any, Autoplug]) -> None:
    pipeline, plug = plugged
    state = gstreamer().State
    pipeline.set_state(state.PAUSED)
    # The thread that found the type waits for the pipeline to play; stopping must not wait for it in turn.
    assert pipeline.set_state(state.NULL) == gstreamer().StateChangeReturn.SUCCESS
    assert plug.linked_caps is None


def test_what_a_callback_raises_is_reported(tmp_path: Path) -> None:
    pipeline = launch("identity name=coded ! fakesink sync=false async=false")
    errors: list[Exception] = []

    def refuse(_: object) -> None:
        raise ValueError("no decoder today")

    path = made(tmp_path / "clip.mp4", pictures(3))
    plug = Autoplug(pipeline, path, decoder_for=refuse, after=pipeline.get_by_name("coded"), fail=errors.append)
    pipeline.set_state(gstreamer().State.PLAYING)
    wait_until(lambda: bool(errors))
    plug.close()
    pipeline.set_state(gstreamer().State.NULL)
    assert [str(error) for error in errors] == ["no decoder today"]

from __future__ import annotations

import numpy as np
import pytest

from facesearch_trt.graph.buffers import mapped
from facesearch_trt.graph.gst import Graph, launch
from facesearch_trt.graph.orientation import UPRIGHT, upright
from facesearch_trt.types import Array

TAGS = [f"{flip}rotate-{degrees}" for flip in ("", "flip-") for degrees in (0, 90, 180, 270)]


def by_videoflip(tag: str) -> tuple[Array, Array]:
    """Return GStreamer's test picture and the same turned by its own element."""
    pictures = []
    for turn in ("identity", f"taginject tags=image-orientation={tag} ! videoflip video-direction=auto"):
        pipeline = launch(
            "videotestsrc num-buffers=1 ! video/x-raw,format=BGRx,width=64,height=48"
            f" ! {turn} ! appsink name=sink sync=false"
        )
        with Graph(pipeline, where=tag, stall_timeout_s=30) as graph:
            sample = graph.pull(pipeline.get_by_name("sink"))
        structure = sample.get_caps().get_structure(0)
        with mapped(sample.get_buffer()) as content:
            pictures.append(
                content.reshape(structure.get_value("height"), structure.get_value("width"), 4)[..., :3].copy()
            )
    return pictures[0], pictures[1]


@pytest.mark.parametrize("tag", TAGS)
def test_turns_as_gstreamer_does(tag: str) -> None:
    plain, expected = by_videoflip(tag)
    np.testing.assert_array_equal(upright(plain, tag), expected)
    assert (tag == UPRIGHT) == np.array_equal(plain, expected)


def test_an_upright_picture_is_not_copied() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    assert upright(picture, UPRIGHT) is picture
    assert upright(picture, "no such tag") is picture

"""Which streams NVIDIA's decoders are given: by their pads' own words, and where those are silent by what the hardware does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.graph import deepstream_source, nvcodec
from facesearch_trt.graph.gst import gstreamer
from facesearch_trt.graph.nvdec import is_usual, takes
from facesearch_trt.graph.video_facts import look_into
from tests.doubles import deepstream
from tests.doubles import nvcodec as nvcodec_double
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from .helpers import made, pictures

AVC, HEVC = "video/x-h264, stream-format=avc, parsed=true", "video/x-h265, stream-format=hvc1, parsed=true"
PLAIN = "chroma-format=4:2:0, bit-depth-luma=(uint)8, bit-depth-chroma=(uint)8"


def form(chroma: str, bits: int) -> str:
    return f"chroma-format={chroma}, bit-depth-luma=(uint){bits}, bit-depth-chroma=(uint){bits}"


def caps_of(text: str) -> Any:
    return gstreamer().Caps.from_string(text)


class Element:
    """A factory with one pad that takes data, and one that gives what it decoded."""

    def __init__(self, caps: str) -> None:
        self._caps = caps

    def get_static_pad_templates(self) -> list[Any]:
        gst = gstreamer()
        pads = (("sink", gst.PadDirection.SINK, self._caps), ("src", gst.PadDirection.SRC, "video/x-h264"))
        return [
            gst.PadTemplate.new(name, direction, gst.PadPresence.ALWAYS, caps_of(caps))
            for name, direction, caps in pads
        ]


@pytest.mark.parametrize(
    ("pad", "stream", "taken"),
    [
        ("video/x-h264, profile={ main, high }", f"{AVC}, profile=high, {PLAIN}", True),
        ("video/x-h264, profile={ main, high }", f"{AVC}, profile=high-4:2:2, {form('4:2:2', 8)}", False),
        # A newer GPU's element says what it can; nothing is known better than that.
        ("video/x-h264, profile={ high, high-4:2:2 }", f"{AVC}, profile=high-4:2:2, {form('4:2:2', 10)}", True),
        ("video/x-h264, width=[ 48, 4096 ]", f"{AVC}, width=1920", True),
        ("video/x-h264, width=[ 48, 4096 ]", f"{AVC}, width=7680", False),
        ("video/x-h264", f"{AVC}, {PLAIN}", True),
        ("video/x-h264", AVC, True),
        ("video/x-h264", f"{AVC}, {form('4:2:2', 8)}", False),
        ("video/x-h264", f"{AVC}, {form('4:4:4', 8)}", False),
        ("video/x-h264", f"{AVC}, {form('4:2:0', 10)}", False),
        ("video/x-h264, stream-format=byte-stream, alignment=au; video/x-h265", f"{HEVC}, {form('4:2:0', 10)}", True),
        ("video/x-h265", f"{HEVC}, {form('4:4:4', 12)}", True),
        ("video/x-h265", f"{HEVC}, {form('4:2:2', 10)}", False),
        ("video/x-vp9", f"video/x-vp9, {form('4:4:4', 8)}", False),
        ("video/x-vp8", "video/x-vp8", True),
        ("video/mpeg, mpegversion={ 1, 2, 4 }", "video/mpeg, mpegversion=2, systemstream=false", True),
        ("video/x-h265", f"{AVC}, {PLAIN}", False),
    ],
)
def test_the_pads_caps_decide_and_then_what_the_hardware_does(pad: str, stream: str, taken: bool) -> None:
    assert takes(Element(pad), caps_of(stream)) is taken


@pytest.mark.parametrize(("text", "usual"), [(PLAIN, True), (form("4:2:0", 10), False), (form("4:4:4", 8), False)])
def test_usual_pictures_need_no_conversion(text: str, usual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = caps_of(f"{HEVC}, {text}")
    assert is_usual(stream) is usual
    machine = GpuMachine()
    with installed(machine, "10.3.0"), nvcodec_double.installed(machine):
        for converter in (True, False):
            monkeypatch.setattr(nvcodec, "has_element", lambda name, there=converter: there)
            assert nvcodec.decodes(stream) is (usual or converter)


@pytest.mark.parametrize(
    ("file", "codec", "taken"),
    [
        ("clip.mp4", "h264", True),
        ("clip.mkv", "h265", True),
        ("clip.mkv", "h265-422-10", False),
        ("clip.mov", "prores", False),
        ("clip.mkv", "ffv1", False),
        ("clip.avi", "raw", False),
    ],
)
def test_files_of_many_codings(tmp_path: Path, file: str, codec: str, taken: bool) -> None:
    path = made(tmp_path / file, pictures(4), codec=codec)
    caps = look_into(path, stall_timeout_s=20).caps
    machine = GpuMachine()
    with installed(machine, "10.3.0"), nvcodec_double.installed(machine):
        assert nvcodec.decodes(caps) is taken
    with deepstream.installed():
        assert deepstream_source.decodes(caps) is taken

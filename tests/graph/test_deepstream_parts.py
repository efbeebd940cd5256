"""The parts of the DeepStream graph by themselves: geometry, configuration, the feed of one clip, bindings, platforms."""

from __future__ import annotations

import configparser
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.errors import BackendError, DecodeError, StallError
from facesearch_trt.graph import deepstream_clip, elements
from facesearch_trt.graph.deepstream_bindings import choose_bindings
from facesearch_trt.graph.deepstream_clip import check_elements
from facesearch_trt.graph.feed import ClipFeed, Raw
from facesearch_trt.graph.nvinfer_config import DetectorEngine, NvInferSettings
from facesearch_trt.graph.placement import placement, region_in_mux
from facesearch_trt.graph.probe import PydsReader, load_pyds
from facesearch_trt.graph.servicemaker import load_service_maker
from facesearch_trt.graph.video_facts import look_into
from facesearch_trt.types import Array, Clip, Frame
from tests.doubles import deepstream
from tests.doubles.deepstream import bindings, colour
from tests.doubles.deepstream.infer_config import read_config
from tests.graph.deepstream_graph import Mean, Tuning, agree, by_software, deepstream_graph, taken, yunet
from tests.media import audio_only, clip_of, number_of, numbered, turned, write_clip

SIDES = st.integers(2, 4000)
APIS = ("pyds", "pyservicemaker")


class TestPlacement:
    def test_same_size_is_a_plain_scale(self) -> None:
        found = placement((640, 360), (640, 360), (320, 192))
        assert (found.scale_x, found.scale_y, found.offset_x, found.offset_y) == (0.5, 0.5, 0, 0)
        boxes = np.array([[10, 20, 30, 40]], np.float32)
        assert found.to_frame(boxes).tolist() == [[20, 40, 60, 80]]
        assert found.to_frame(boxes.reshape(1, 2, 2)).tolist() == [[[20, 40], [60, 80]]]

    def test_padding_of_the_mux(self) -> None:
        # 400x400 in 1280x720: 720x720 in the middle; nvinfer halves that.
        found = placement((400, 400), (1280, 720), (640, 384))
        assert region_in_mux((400, 400), (1280, 720)) == (280, 0, 720, 720)
        assert found.to_frame(np.array([140.0, 0.0], np.float32)).tolist() == [0, 0]
        assert found.to_frame(np.array([500.0, 360.0], np.float32)).tolist() == [400, 400]
        assert found.scale == pytest.approx(0.9)

    @given(SIDES, SIDES, SIDES, SIDES, SIDES, SIDES)
    def test_corners_come_back(self, w: int, h: int, mux_w: int, mux_h: int, net_w: int, net_h: int) -> None:
        region = region_in_mux((w, h), (mux_w, mux_h))
        assert region.x >= 0 and region.y >= 0
        assert region.x + region.width <= mux_w and region.y + region.height <= mux_h
        factor = min(net_w / mux_w, net_h / mux_h)
        corners = np.array([region.x, region.y, region.x + region.width, region.y + region.height], np.float32) * factor
        back = placement((w, h), (mux_w, mux_h), (net_w, net_h)).to_frame(corners)
        assert back == pytest.approx([0, 0, w, h], abs=0.01 * max(w, h))

    @pytest.mark.parametrize("size", [(128, 96), (96, 128), (64, 48), (200, 100)])
    def test_pictures_come_back_from_the_double_s_mux(self, size: tuple[int, int]) -> None:
        mux = 160, 120
        nv12 = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
        nv12[: size[1]] = numbered(5, size)[:, :, 0]
        region = region_in_mux(size, mux)
        scaled = colour.scaled(nv12, *size, (region.width, region.height))
        canvas = colour.rgba(colour.placed(scaled, (region.width, region.height), mux), *mux, "bt601")[:, :, :3]
        picture = region.picture(canvas, size)
        assert picture.shape == (size[1], size[0], 3) and number_of(picture) == 5

    def test_an_unscaled_picture_is_not_copied(self) -> None:
        canvas = np.zeros((96, 128, 3), np.uint8)
        assert region_in_mux((128, 96), (128, 96)).picture(canvas, (128, 96)).base is canvas


class TestConfig:
    ENGINE = DetectorEngine(
        engine=Path("/engines/d.engine"),
        max_batch=8,
        width=640,
        height=384,
        outputs=("a",),
        colour="bgr",
        mean=(104.0, 117.5, 123.25),
        std=127.5,
        precision="fp16",
    )

    def test_rendered(self, tmp_path: Path) -> None:
        text = NvInferSettings(self.ENGINE, batch=4, unique_id=2, gpu_id=1).render()
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.read_string(text)
        assert dict(parser["property"]) == {
            "gpu-id": "1",
            "gie-unique-id": "2",
            "process-mode": "1",
            "batch-size": "4",
            "interval": "0",
            "model-engine-file": "/engines/d.engine",
            "network-mode": "2",
            "infer-dims": "3;384;640",
            "model-color-format": "1",
            "offsets": "104;117.5;123.25",
            "net-scale-factor": "0.00784313725",
            "maintain-aspect-ratio": "1",
            "symmetric-padding": "0",
            "scaling-filter": "1",
            "network-type": "100",
            "output-tensor-meta": "1",
        }
        path = tmp_path / "config.txt"
        path.write_text(text)
        assert read_config(path)["net-scale-factor"] == pytest.approx(1 / 127.5, rel=1e-8)

    def test_impossible_engines(self) -> None:
        for changes in ({"std": 0.0}, {"outputs": ()}, {"max_batch": 0}, {"width": 0}, {"std": float("nan")}):
            values = {name: getattr(self.ENGINE, name) for name in self.ENGINE.__slots__}
            with pytest.raises(ValueError, match="got"):
                DetectorEngine(**{**values, **changes})


def raw(feed: ClipFeed, pts_ns: int) -> Raw:
    ticket = feed.claim(pts_ns)
    assert ticket is not None
    return Raw(ticket, (4, 4), np.zeros((4, 4, 3), np.uint8), {})


class TestFeed:
    def test_numbers_and_times(self) -> None:
        feed = ClipFeed("clip", 10)
        for pts_ns, pts_s in ((0, 0.5), (40, 0.54), (None, None), (120, 0.62)):
            assert feed.enter(pts_ns, pts_s, 0.04)
        tickets = [feed.claim(pts) for pts in (0, 40, None, 120)]
        assert [ticket.frame_num for ticket in tickets if ticket] == [0, 1, 2, 3]
        assert [round(ticket.pts_s, 3) for ticket in tickets if ticket] == [0.5, 0.54, 0.58, 0.62]
        assert feed.claim(160) is None

    def test_room(self) -> None:
        feed = ClipFeed("clip", 2)
        entered = []

        def decode() -> None:
            for number in range(5):
                feed.enter(number, number / 25, 0.04)
                entered.append(number)

        thread = threading.Thread(target=decode)
        thread.start()
        time.sleep(0.2)
        assert entered == [0, 1] and feed.idle_s() == 0, "a decoder that has to wait does not stall"
        feed.deliver(raw(feed, 0))
        time.sleep(0.1)
        assert entered == [0, 1], "a frame that waits for its consumer takes room too"
        for number in range(1, 6):
            assert feed.take() is not None
            if number < 5:
                while len(entered) < min(number + 1, 5):
                    time.sleep(0.01)
                feed.deliver(raw(feed, number))
        thread.join(5)
        assert entered == [0, 1, 2, 3, 4]

    def test_refusing_frees_the_decoder_and_keeps_what_is_inside(self) -> None:
        feed = ClipFeed("clip", 1)
        assert feed.enter(0, 0.0, 0.04)
        results: list[bool] = []
        thread = threading.Thread(target=lambda: results.append(feed.enter(1, 0.04, 0.04)))
        thread.start()
        time.sleep(0.1)
        assert not results
        feed.refuse()
        thread.join(5)
        assert results == [False] and not feed.closed and feed.inside == 1
        feed.deliver(raw(feed, 0))
        assert feed.take() is not None and feed.inside == 0

    def test_closing_frees_the_decoder(self) -> None:
        feed = ClipFeed("clip", 1)
        assert feed.enter(0, 0.0, 0.04)
        results: list[bool] = []
        thread = threading.Thread(target=lambda: results.append(feed.enter(1, 0.04, 0.04)))
        thread.start()
        feed.close()
        thread.join(5)
        assert results == [False]
        # It still comes out of the graph, and nobody takes it.
        assert feed.claim(0) is None and feed.drained(100)

    def test_its_end_waits_for_what_is_inside(self) -> None:
        feed = ClipFeed("clip", 4)
        feed.enter(0, 0.0, 0.04)
        feed.end()
        assert not feed.settle(100)
        feed.deliver(raw(feed, 0))
        assert feed.settle(100)
        assert feed.take() is not None and feed.take() is None and feed.dropped == 0

    def test_a_frame_that_is_being_copied_is_not_lost_at_the_end(self) -> None:
        feed = ClipFeed("clip", 4)
        feed.enter(0, 0.0, 0.04)
        feed.end()
        copied = raw(feed, 0)
        assert not feed.settle(100) and not feed.drained(100)
        feed.deliver(copied)
        assert feed.settle(100)
        assert feed.take() is copied and feed.take() is None

    def test_what_does_not_come_out_is_lost(self) -> None:
        feed = ClipFeed("clip", 4)
        for number in range(3):
            feed.enter(number, 0.0, 0.04)
        feed.deliver(raw(feed, 1))
        feed.end()
        assert feed.settle(0.0) and feed.dropped == 2
        assert feed.take() is not None and feed.take() is None

    def test_an_error_comes_after_the_last_frame_and_the_first_stays(self) -> None:
        feed = ClipFeed("clip", 4)
        feed.enter(0, 0.0, 0.04)
        feed.fail(DecodeError("first"))
        feed.fail(StallError("second"))
        feed.deliver(raw(feed, 0))
        assert feed.settle(100)
        assert feed.take() is not None
        with pytest.raises(DecodeError, match="first"):
            feed.take()

    def test_watchdog_times(self) -> None:
        feed = ClipFeed("clip", 4)
        time.sleep(0.05)
        assert feed.idle_s() >= 0.05 and feed.stuck_s() == 0
        feed.enter(0, 0.0, 0.04)
        time.sleep(0.05)
        assert feed.idle_s() == 0 and feed.stuck_s() >= 0.05


class TestMissing:
    def test_no_deepstream(self) -> None:
        with pytest.raises(BackendError, match=r"DeepStream is not installed.*nvinfer.*--graph software"):
            check_elements("nvv4l2decoder", "nvurisrcbin")

    def test_no_pyds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyds", None)
        with pytest.raises(BackendError, match="not installed"):
            load_pyds()

    def test_the_unrelated_package_of_that_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = types.ModuleType("pyds")
        other.MassFunction = object  # type: ignore[attr-defined]
        other.__file__ = "/site-packages/pyds/__init__.py"
        monkeypatch.setitem(sys.modules, "pyds", other)
        with pytest.raises(BackendError, match=r"not DeepStream's.*site-packages/pyds.*pip uninstall pyds"):
            PydsReader(jetson=False, download=None)

    def test_no_service_maker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyservicemaker", None)
        with pytest.raises(BackendError, match=r"not installed.*service-maker/python"):
            load_service_maker()

    def test_no_such_element(self) -> None:
        with pytest.raises(BackendError, match="no element nvnothing"):
            elements.element("nvnothing", None, {})


class TestChoice:
    """pyds where it is installed, else pyservicemaker, else the error that names both."""

    @pytest.mark.parametrize(
        ("apis", "name", "why"),
        [
            (("pyds", "pyservicemaker"), "pyds", "it is installed"),
            (("pyds",), "pyds", "it is installed"),
            (("pyservicemaker",), "pyservicemaker", "DeepStream's Python bindings are not installed"),
        ],
    )
    def test_what_is_installed(self, apis: tuple[str, ...], name: str, why: str) -> None:
        with deepstream.installed(apis=apis):
            found = choose_bindings()
        assert found.name == name and why in found.why

    def test_another_package_of_pyds_s_name_is_passed_over(self) -> None:
        with deepstream.installed(apis=("pyservicemaker",)), pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "pyds", types.ModuleType("pyds"))
            found = choose_bindings()
        assert found.name == "pyservicemaker" and "is not DeepStream's" in found.why

    def test_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with deepstream.installed(apis=()), pytest.raises(BackendError) as caught:
            choose_bindings()
        said = str(caught.value)
        for words in ("pyds or pyservicemaker", "6.4 to 8.0", "deepstream_python_apps", "8.0 and newer", "*.whl"):
            assert words in said, said

    def test_pyservicemaker_needs_deepstream_s_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        present = deepstream_clip.has_element
        monkeypatch.setattr(deepstream_clip, "has_element", lambda name: name != "nvurisrcbin" and present(name))
        with deepstream.installed(apis=("pyservicemaker",)), pytest.raises(BackendError, match="without nvurisrcbin"):
            choose_bindings()
        with deepstream.installed():
            assert choose_bindings().name == "pyds"


@pytest.fixture(scope="module")
def faces_clip(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A second of the real clip in another size."""
    video = cv2.VideoCapture(str(shared_data / "clips" / "hamilton.mp4"))
    video.set(cv2.CAP_PROP_POS_FRAMES, 225)

    def frames() -> Iterator[Array]:
        for _ in range(10):
            yield cv2.resize(video.read()[1], (480, 270), interpolation=cv2.INTER_AREA)

    return clip_of(write_clip(tmp_path_factory.mktemp("faces") / "faces.mp4", frames()))


def frames_agree(found: list[Frame], wanted: list[Frame]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        agree(one, other)


class TestPlatforms:
    """The same faces whatever memory the surfaces lie in."""

    def run(self, clip: Clip, models: Path, directory: Path, tuning: Tuning, close_up: int = 0) -> None:
        detector = yunet(models, close_up_size=close_up)
        with deepstream_graph(detector, directory, tuning) as graph:
            result = taken(graph, [clip])[clip.name]
        assert result.error is None and result.damage is None
        frames_agree(result.frames, by_software(clip, detector))
        assert sum(len(frame.faces) for frame in result.frames) > 20

    @pytest.mark.parametrize("api", APIS)
    def test_jetson(self, faces_clip: Clip, shared_models: Path, tmp_path: Path, api: str) -> None:
        with deepstream.installed(jetson=True, apis=(api,)):
            self.run(faces_clip, shared_models, tmp_path, Tuning(jetson=True))

    @pytest.mark.parametrize(
        ("api", "picture"),
        # The last row of pitched memory ends with its last pixel.
        [("pyds", 480 * 270 * 4), ("pyservicemaker", 1536 * 269 + 480 * 3)],
    )
    def test_device_pointer(
        self, faces_clip: Clip, shared_models: Path, tmp_path: Path, api: str, picture: int
    ) -> None:
        asked = []

        def download(pointer: int, count: int) -> Array:
            asked.append(count)
            return bindings.bytes_at(pointer, count).copy()

        with deepstream.installed(apis=(api,)):
            self.run(faces_clip, shared_models, tmp_path, Tuning(download=download))
        assert asked == [picture] * 10

    def test_tensors_on_the_device(self, faces_clip: Clip, shared_models: Path, tmp_path: Path) -> None:
        with deepstream.installed(apis=("pyservicemaker",)) as state:
            state.tensors_on_device = True
            self.run(faces_clip, shared_models, tmp_path, Tuning())

    @pytest.mark.parametrize("api", APIS)
    def test_two_looks(self, faces_clip: Clip, shared_models: Path, tmp_path: Path, api: str) -> None:
        with deepstream.installed(apis=(api,)):
            self.run(faces_clip, shared_models, tmp_path, Tuning(), close_up=160)

    @pytest.mark.parametrize(
        ("api", "words"),
        [("pyds", "cannot be read by the CPU"), ("pyservicemaker", "cannot read a tensor where it lies")],
    )
    def test_memory_that_nobody_can_read_is_an_error_of_the_graph(self, tmp_path: Path, api: str, words: str) -> None:
        clip = clip_of(write_clip(tmp_path / "one.mp4", (numbered(n) for n in range(5))))
        with deepstream.installed(apis=(api,)) as state:
            with Mean(tmp_path).graph(Tuning(download=None)) as graph:
                result = taken(graph, [clip])["one"]
            assert words in str(result.error)
            state.violations.clear()

    def test_is_jetson(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not elements.is_jetson()
        (tmp_path / "nv_tegra_release").write_text("# R36")
        real = Path
        monkeypatch.setattr(elements, "Path", lambda name: tmp_path / real(name).name)
        assert elements.is_jetson()


class TestFacts:
    @pytest.mark.parametrize(("degrees", "size"), [(0, (128, 96)), (90, (96, 128)), (180, (128, 96)), (270, (96, 128))])
    def test_upright_size(self, tmp_path: Path, degrees: int, size: tuple[int, int]) -> None:
        path = write_clip(tmp_path / "plain.mp4", (numbered(n) for n in range(12)), audio=True)
        if degrees:
            path = turned(path, tmp_path / "turned.mp4", degrees)
        facts = look_into(path, stall_timeout_s=20)
        assert (facts.media, facts.size, facts.coded_width) == ("video/x-h264", size, 128)
        assert "H.264" in facts.codec

    def test_no_video(self, tmp_path: Path) -> None:
        with pytest.raises(DecodeError, match="no video"):
            look_into(audio_only(tmp_path / "sound.mp4"), stall_timeout_s=20)

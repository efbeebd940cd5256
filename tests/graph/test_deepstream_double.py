"""The double of DeepStream is strict: whatever the real one refuses, stalls on or lies about raises here."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch_trt.graph.gst import gstreamer
from tests.doubles import deepstream
from tests.doubles.deepstream import ContractViolation, memory, pyds, rules
from tests.doubles.deepstream.contract import contract
from tests.doubles.deepstream.infer_config import read_config
from tests.graph.deepstream_graph import Mean
from tests.media import numbered, write_clip

GOOD = {"gie-unique-id": 3, "batch-size": 2, "network-type": 100, "output-tensor-meta": 1, "maintain-aspect-ratio": 1}


@pytest.fixture
def double() -> Iterator[deepstream.State]:
    with deepstream.installed() as state:
        yield state
        # Each test breaks the contract on purpose.
        state.violations.clear()


class Rig:
    """A pipeline of the double, and what a probe behind nvinfer does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = Mean(directory)
        self.engine = self.network.engine().engine
        self.clip = write_clip(directory / "clip.mp4", (numbered(n) for n in range(8)))
        self.errors: list[BaseException] = []

    def config(self, **changes: Any) -> Path:
        values = {**GOOD, "model-engine-file": self.engine, **{k.replace("_", "-"): v for k, v in changes.items()}}
        path = self.directory / "config.txt"
        path.write_text("[property]\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
        return path

    def run(
        self,
        probe: Callable[[Any], None],
        *,
        config: Path | None = None,
        memory_type: int = 3,
        colour: str = "RGBA",
        mux: str = "batch-size=2 width=128 height=96 batched-push-timeout=2000",
        sources: int = 2,
    ) -> str | None:
        """Run to the end; returns the error on the bus, None where there was none. What the probe raised is kept."""
        gst = gstreamer()
        text = (
            f"nvstreammux name=mux nvbuf-memory-type={memory_type} {mux}"
            f" ! nvvideoconvert nvbuf-memory-type={memory_type} ! video/x-raw(memory:NVMM),format={colour}"
            f" ! nvinfer name=infer config-file-path={config or self.config()} ! fakesink sync=false async=false"
        )
        for number in range(sources):
            text += f" filesrc location={self.clip} ! qtdemux ! h264parse ! nvv4l2decoder ! nvvideoconvert ! mux.sink_{number}"
        pipeline = gst.parse_launch(text)

        def passed(_: Any, info: Any) -> Any:
            try:
                probe(info.get_buffer())
            except BaseException as error:
                # Without its frames, which hold the buffer and would exhaust the mux's pool.
                self.errors.append(error.with_traceback(None))
            return gst.PadProbeReturn.OK

        pad = pipeline.get_by_name("infer").get_static_pad("src")
        handle = pad.add_probe(gst.PadProbeType.BUFFER, passed)
        pipeline.set_state(gst.State.PLAYING)
        kinds = gst.MessageType.EOS | gst.MessageType.ERROR
        message = pipeline.get_bus().timed_pop_filtered(30 * gst.SECOND, kinds)
        pipeline.set_state(gst.State.NULL)
        pad.remove_probe(handle)
        assert message is not None, "the pipeline hangs"
        return None if message.type == gst.MessageType.EOS else message.parse_error()[0].message


@pytest.fixture
def rig(double: deepstream.State, tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def frames_of(buffer: Any) -> Iterator[Any]:
    node = pyds.gst_buffer_get_nvds_batch_meta(hash(buffer)).frame_meta_list
    while node is not None:
        yield pyds.NvDsFrameMeta.cast(node.data)
        node = node.next


def tensor_of(frame_meta: Any) -> Any:
    user_meta = pyds.NvDsUserMeta.cast(frame_meta.frame_user_meta_list.data)
    assert user_meta.base_meta.meta_type == pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META
    return pyds.NvDsInferTensorMeta.cast(user_meta.user_meta_data)


def test_what_is_allowed_works(rig: Rig, double: deepstream.State) -> None:
    seen: list[tuple[int, int, int]] = []

    def probe(buffer: Any) -> None:
        for frame_meta in frames_of(buffer):
            seen.append((frame_meta.pad_index, frame_meta.frame_num, frame_meta.buf_pts))
            tensor_meta = tensor_of(frame_meta)
            assert tensor_meta.unique_id == 3
            layer = pyds.get_nvds_LayerInfo(tensor_meta, 0)
            assert (layer.layerName, layer.inferDims.numDims, layer.inferDims.d[0]) == ("mean", 1, 3)
            assert pyds.get_ptr(layer.buffer) > 0
            assert pyds.get_nvds_buf_surface(hash(buffer), frame_meta.batch_id).shape == (96, 128, 4)

    assert rig.run(probe) is None and not rig.errors
    assert [frame_num for pad, frame_num, _ in seen if pad == 1] == list(range(8))
    assert {pts for _, _, pts in seen} == {n * 40_000_000 for n in range(8)}
    assert {len(batch) for batch in double.batches} <= {1, 2}
    assert not double.violations and memory.alive() == 0


class TestPyds:
    def raised(self, rig: Rig, probe: Callable[[Any], None], error: type[BaseException], words: str) -> None:
        rig.run(probe)
        assert rig.errors and isinstance(rig.errors[0], error) and words in str(rig.errors[0]), rig.errors

    def test_unknown_function(self, rig: Rig) -> None:
        self.raised(rig, lambda buffer: pyds.get_tensor(hash(buffer)), AttributeError, "get_tensor")

    def test_unknown_field(self, rig: Rig) -> None:
        self.raised(rig, lambda buffer: next(frames_of(buffer)).pipeline_width, AttributeError, "pipeline_width")

    def test_buffer_instead_of_its_hash(self, rig: Rig) -> None:
        self.raised(rig, pyds.gst_buffer_get_nvds_batch_meta, ContractViolation, "no int")

    def test_layer_without_its_pointer(self, rig: Rig) -> None:
        self.raised(
            rig,
            lambda buffer: tensor_of(next(frames_of(buffer))).output_layers_info(0).buffer,
            ContractViolation,
            "get_nvds_LayerInfo",
        )

    def test_cast_of_another_kind(self, rig: Rig) -> None:
        def probe(buffer: Any) -> None:
            pyds.NvDsUserMeta.cast(pyds.gst_buffer_get_nvds_batch_meta(hash(buffer)).frame_meta_list.data)

        self.raised(rig, probe, ContractViolation, "cast")

    def test_memory_that_the_cpu_cannot_read(self, rig: Rig) -> None:
        rig.run(lambda buffer: pyds.get_nvds_buf_surface(hash(buffer), 0), memory_type=0)
        assert isinstance(rig.errors[0], ContractViolation) and "CPU" in str(rig.errors[0])

    def test_surface_that_is_not_rgba(self, rig: Rig) -> None:
        # Refused by the double's nvinfer already; what pyds says is asked for directly.
        batch = memory.Batch([], [memory.Surface(np.zeros((6, 4), np.uint8), "NV12", 4, 4, 3, "bt601")], 1)
        buffer = gstreamer().Buffer.new_allocate(None, 8, None)
        memory.attach(buffer, batch)
        with pytest.raises(RuntimeError, match="RGBA"):
            pyds.get_nvds_buf_surface(hash(buffer), 0)
        assert "NV12" in (rig.run(lambda buffer: None, colour="NV12") or "")

    def test_tensor_meta_after_the_probe_returned(self, rig: Rig) -> None:
        kept: list[Any] = []
        rig.run(lambda buffer: kept.append(tensor_of(next(frames_of(buffer)))))
        assert not rig.errors
        with pytest.raises(ContractViolation, match="after the probe returned"):
            pyds.get_nvds_LayerInfo(kept[0], 0).layerName  # noqa: B018

    def test_pointer_kept_beyond_the_probe_shows_rubbish(self, rig: Rig) -> None:
        kept: list[Any] = []

        def probe(buffer: Any) -> None:
            layer = pyds.get_nvds_LayerInfo(tensor_of(next(frames_of(buffer))), 0)
            kept.append(layer.buffer._target)
            assert np.isfinite(kept[-1]).all()

        rig.run(probe)
        assert not rig.errors and np.isnan(kept[0]).all()

    def test_more_than_six_buffers_held(self, rig: Rig, double: deepstream.State) -> None:
        held: list[Any] = []
        said = rig.run(held.append, mux="batch-size=1 width=128 height=96 batched-push-timeout=1 buffer-pool-size=16")
        assert said is not None and "6 tensor buffers" in said
        assert len(held) == 6


class TestJetson:
    @pytest.fixture
    def jetson(self, tmp_path: Path) -> Iterator[Rig]:
        with deepstream.installed(jetson=True) as state:
            yield Rig(tmp_path)
            state.violations.clear()

    def test_no_device_pointers(self, jetson: Rig) -> None:
        jetson.run(lambda buffer: pyds.get_nvds_buf_surface_gpu(hash(buffer), 0), memory_type=0)
        assert isinstance(jetson.errors[0], RuntimeError) and "Jetson" in str(jetson.errors[0])

    def test_a_surface_that_stays_mapped(self, jetson: Rig) -> None:
        jetson.run(lambda buffer: pyds.get_nvds_buf_surface(hash(buffer), 0), memory_type=0)
        assert not jetson.errors
        assert any("never unmapped" in text for text in rules.STATE.violations)

    def test_properties_of_the_other_platform(self, jetson: Rig) -> None:
        gst = gstreamer()
        gst.ElementFactory.make("nvv4l2decoder").set_property("gpu-id", 0)
        assert any("dgpu only" in text for text in rules.STATE.violations)


class TestElements:
    def test_unknown_property(self, double: deepstream.State) -> None:
        for name in ("nvstreammux", "nvinfer", "nvvideoconvert", "nvv4l2decoder", "nvurisrcbin"):
            made = gstreamer().ElementFactory.make(name)
            with pytest.raises(TypeError, match="does not have property"):
                made.set_property("batchsize", 1)

    def test_every_property_of_the_contract_is_there(self, double: deepstream.State) -> None:
        for name in ("nvstreammux", "nvinfer", "nvvideoconvert", "nvv4l2decoder", "nvurisrcbin"):
            made = gstreamer().ElementFactory.make(name)
            for key, facts in contract()["elements"][name]["properties"].items():
                if facts["type"] in (None, "pointer"):
                    continue
                wanted = facts.get("initial_value", facts.get("default"))
                assert made.get_property(key) == wanted, (name, key)

    def test_value_out_of_range(self, double: deepstream.State) -> None:
        made = gstreamer().ElementFactory.make("nvstreammux")
        with pytest.warns(Warning, match="out of range"):
            made.set_property("batch-size", 2000)

    def test_value_that_an_enumeration_lacks(self, double: deepstream.State) -> None:
        gstreamer().ElementFactory.make("nvurisrcbin").set_property("select-rtp-protocol", 5)
        assert any("no value 5" in text for text in double.violations)

    def test_property_that_cannot_change_while_running(self, rig: Rig, double: deepstream.State) -> None:
        infer: list[Any] = []

        def probe(buffer: Any) -> None:
            infer[0].set_property("batch-size", 4)

        gst = gstreamer()
        original = gst.ElementFactory.make("nvinfer")
        original.set_property("config-file-path", str(rig.config()))
        pipeline = gst.Pipeline.new(None)
        pipeline.add(original)
        pipeline.set_state(gst.State.PAUSED)
        pipeline.get_state(gst.SECOND)
        infer.append(original)
        probe(None)
        pipeline.set_state(gst.State.NULL)
        assert any("while the pipeline runs" in text for text in double.violations)

    def test_mux_without_a_size(self, rig: Rig) -> None:
        assert "must be set" in (rig.run(lambda buffer: None, mux="batch-size=2") or "")

    def test_pad_that_is_in_use(self, double: deepstream.State) -> None:
        mux = gstreamer().ElementFactory.make("nvstreammux")
        assert mux.request_pad_simple("sink_0") is not None
        mux.request_pad_simple("sink_0")
        assert any("in use" in text for text in double.violations)

    def test_wrong_order_of_elements(self, double: deepstream.State) -> None:
        gst = gstreamer()
        decoder, infer = gst.ElementFactory.make("nvv4l2decoder"), gst.ElementFactory.make("nvinfer")
        test, mux = gst.ElementFactory.make("videotestsrc"), gst.ElementFactory.make("nvstreammux")
        pipeline = gst.Pipeline.new(None)
        for one in (decoder, infer, test, mux):
            pipeline.add(one)
        # System memory does not fit, and coded data must be a byte stream.
        assert not test.link(infer)
        caps = gst.Caps.from_string("video/x-h264,stream-format=avc,alignment=au")
        assert not decoder.get_static_pad("sink").query_caps(None).can_intersect(caps)

    def test_batches_with_padding_are_centred(self, rig: Rig) -> None:
        seen: list[Any] = []

        def probe(buffer: Any) -> None:
            for frame_meta in frames_of(buffer):
                seen.append(pyds.get_nvds_buf_surface(hash(buffer), frame_meta.batch_id).copy())
                assert (frame_meta.source_frame_width, frame_meta.source_frame_height) == (128, 96)

        mux = "batch-size=1 width=256 height=96 enable-padding=true batched-push-timeout=2000"
        assert rig.run(probe, mux=mux, sources=1) is None and not rig.errors
        # 128 px of picture in the middle of 256, the first of its corners bright.
        assert seen[0][:, :64, :3].max() < 10 and seen[0][:, 192:, :3].max() < 10
        assert seen[0][4, 68, 0] > 150

    def test_live_batches_hold_one_frame_of_each_source(self, rig: Rig, double: deepstream.State) -> None:
        mux = "batch-size=2 width=128 height=96 live-source=true batched-push-timeout=100000"
        assert rig.run(lambda buffer: None, mux=mux) is None
        assert all(len(batch) == len(set(batch)) for batch in double.batches)

    def test_a_batch_larger_than_the_number_of_sources_waits(self, rig: Rig, double: deepstream.State) -> None:
        rig.run(lambda buffer: None, mux="batch-size=4 width=128 height=96 batched-push-timeout=20000", sources=1)
        assert {len(set(batch)) for batch in double.batches} == {1}
        # Frames of one source fill it while it waits.
        assert max(len(batch) for batch in double.batches) > 1


class TestConfig:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("batchsize=2", "unknown key batchsize"),
            ("threshold=0.5", "unknown key threshold"),
            ("network-mode=5", "none of"),
            ("batch-size=0", "out of range"),
            ("batch-size=two", "no int"),
            ("maintain-aspect-ratio=yes", "no bool"),
            ("net-scale-factor=0", "out of range"),
            ("infer-dims=3;384", "takes 3 values"),
            ("offsets=1;2;3;4;5", "at most 4"),
            ("is-classifier=1", "old versions"),
            ("symmetric-padding=1", "needs maintain-aspect-ratio"),
        ],
    )
    def test_refuses(self, double: deepstream.State, tmp_path: Path, line: str, words: str) -> None:
        path = tmp_path / "config.txt"
        path.write_text(f"[property]\n{line}\n")
        with pytest.raises(ContractViolation, match=words):
            read_config(path)

    def test_unknown_group(self, double: deepstream.State, tmp_path: Path) -> None:
        path = tmp_path / "config.txt"
        path.write_text("[property]\nbatch-size=1\n[primary]\n")
        with pytest.raises(ContractViolation, match=r"\[primary\]"):
            read_config(path)


def test_leaving_it_takes_everything_away(tmp_path: Path) -> None:
    gst = gstreamer()
    with deepstream.installed():
        assert gst.ElementFactory.find("nvstreammux") is not None
        assert sys.modules["pyds"] is pyds
    assert gst.ElementFactory.find("nvstreammux") is None
    assert "pyds" not in sys.modules


def test_a_swallowed_violation_fails_the_test_that_left_it() -> None:
    with pytest.raises(AssertionError, match="no value 9"), deepstream.installed():
        thread = threading.Thread(
            target=lambda: gstreamer().ElementFactory.make("nvvideoconvert").set_property("flip-method", 9)
        )
        with pytest.warns(Warning, match="out of range"):
            thread.start()
            thread.join()
        gstreamer().ElementFactory.make("nvurisrcbin").set_property("select-rtp-protocol", 9)


def test_the_contract_is_the_shared_one(shared_data: Path) -> None:
    shared = shared_data.parent / "contracts" / "deepstream.json"
    assert json.loads(shared.read_text()) == contract()

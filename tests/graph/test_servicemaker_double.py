"""The double of pyservicemaker is strict: what would crash, hang or lie on the real thing is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import deepstream
from tests.doubles.deepstream import ContractViolation
from tests.media import numbered, write_clip


@pytest.fixture
def double() -> Iterator[deepstream.State]:
    with deepstream.installed(apis=("pyservicemaker",)) as state:
        yield state


def operator(handle: Callable[[Any], Any], *, buffers: bool) -> Any:
    maker = deepstream.pyservicemaker

    class Buffers(maker.BufferOperator):  # type: ignore[misc, name-defined]
        def handle_buffer(self, buffer: Any) -> Any:
            return handle(buffer)

    class Metadata(maker.BatchMetadataOperator):  # type: ignore[misc, name-defined]
        def handle_metadata(self, batch_meta: Any) -> None:
            handle(batch_meta)

    return Buffers() if buffers else Metadata()


def run(directory: Path, handle: Callable[[Any], Any], *, buffers: bool, pixels: str = "RGB", count: int = 2) -> None:
    """Run a pipeline over a clip with an operator behind the conversion to ``pixels``."""
    maker = deepstream.pyservicemaker
    clip = write_clip(directory / "clip.mp4", (numbered(n) for n in range(count)))
    pipeline = maker.Pipeline("test")
    pipeline.add("nvurisrcbin", "source", {"uri": clip.as_uri()})
    mux = {"width": 128, "height": 96, "batch-size": 1, "batched-push-timeout": 1000}
    pipeline.add("nvstreammux", "mux", mux)
    pipeline.add("nvvideoconvert", "convert")
    pipeline.add("capsfilter", "only", {"caps": f"video/x-raw(memory:NVMM), format={pixels}"})
    pipeline.add("nvvideoconvert", "decoded")
    pipeline.add("fakesink", "sink", {"sync": False, "async": False})
    pipeline.link(("source", "decoded"), ("vsrc_%u", ""))
    pipeline.link(("decoded", "mux"), ("", "sink_%u"))
    pipeline.link("mux", "convert", "only", "sink")
    pipeline.attach("only", maker.Probe("probe", operator(handle, buffers=buffers)))
    pipeline.start().wait()


def told(state: deepstream.State, words: str) -> None:
    """Check that a violation was remembered, and forget it."""
    assert any(words in one for one in state.violations), state.violations
    state.violations.clear()


def test_a_batch_is_seen_with_its_pictures(double: deepstream.State, tmp_path: Path) -> None:
    seen = []
    run(tmp_path, lambda meta: seen.extend(frame.buffer_pts for frame in meta.frame_items), buffers=False)
    stamps = []
    run(tmp_path, lambda buffer: bool(stamps.append(buffer.timestamp) or True), buffers=True)
    assert len(seen) == 2 and stamps == seen


@pytest.mark.parametrize(
    ("handle", "buffers", "words"),
    [
        (lambda meta: meta.n_frames, False, "BatchMetadata has no n_frames"),
        (lambda meta: [frame.frame_num for frame in meta.frame_items], False, "FrameMetadata has no frame_num"),
        (lambda buffer: buffer.batch_size, True, "Buffer has no batch_size"),
        (lambda buffer: buffer.extract(0).shape and True, True, "nothing of a tensor's shape"),
        (lambda buffer: buffer.extract(3), True, "no picture 3"),
        (lambda buffer: None, True, "returned None, not a bool"),
        (lambda buffer: 1 // 0, True, "an exception left a handler"),
        (lambda meta: [len([*meta.frame_items]), *meta.frame_items], False, "can be walked once only"),
        (lambda meta: list(meta.frame_items).pop().batch_id, False, "after its iterator went on"),
        (lambda meta: setattr(meta, "frame_items", []), False, "our code only reads"),
    ],
)
def test_what_operators_must_not_do(
    double: deepstream.State, tmp_path: Path, handle: Callable[[Any], Any], buffers: bool, words: str
) -> None:
    run(tmp_path, handle, buffers=buffers)
    told(double, words)


def test_nothing_is_kept_beyond_the_handler(double: deepstream.State, tmp_path: Path) -> None:
    kept: list[Any] = []

    def keep(buffer: Any) -> bool:
        kept.extend((buffer, buffer.extract(0)))
        return True

    run(tmp_path, keep, buffers=True, count=1)
    with pytest.raises(ContractViolation, match="after the handler returned"):
        kept[0].extract(0)
    with pytest.raises(ContractViolation, match="after the handler returned"):
        kept[1].__dlpack__()
    double.violations.clear()


def test_only_rgb_can_be_extracted(double: deepstream.State, tmp_path: Path) -> None:
    run(tmp_path, lambda buffer: bool(buffer.extract(0)), buffers=True, pixels="RGBA")
    told(double, "only RGB")


def test_false_drops_the_buffer(double: deepstream.State, tmp_path: Path) -> None:
    seen = []
    run(tmp_path, lambda buffer: bool(seen.append(1)), buffers=True)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda one: one.add("nvinfer", "i", {"no-such": 1}), "nvinfer has no property no-such"),
        (lambda one: one.add("nvinfer", "i", {"batch-size": [1]}), "given a list"),
        (lambda one: one.add("fakesink", "s").add("fakesink", "s"), "an element s already"),
        (lambda one: one.add("nvurisrcbin", "a").add("nvvideoconvert", "b").link("a", "b"), "has no pad yet"),
        (lambda one: one.attach("a", object()), "attaches a Probe only"),
        (lambda one: one.deactivate(), "not started"),
        (lambda one: deepstream.pyservicemaker.Probe("x", object()), "takes a name and"),
    ],
)
def test_what_a_pipeline_does_not_take(double: deepstream.State, build: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ContractViolation, match=words):
        build(deepstream.pyservicemaker.Pipeline("test"))
    told(double, words)


@pytest.mark.parametrize("name", ["stop", "seek", "run"])
def test_unknown_names(double: deepstream.State, name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(deepstream.pyservicemaker.Pipeline("test"), name)
    with pytest.raises(AttributeError):
        getattr(deepstream.pyservicemaker, name)
    assert len(double.violations) == 2
    double.violations.clear()


def test_an_element_that_is_not_there(double: deepstream.State) -> None:
    with pytest.raises(RuntimeError, match="nvnothing"):
        deepstream.pyservicemaker.Pipeline("test").add("nvnothing", "x")

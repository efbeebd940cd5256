"""The elements of a DeepStream pipeline for all clips of one picture size, mixed into batches and looked at by the detector.

``source bins → nvstreammux → nvvideoconvert → RGBA → nvinfer (one per look) → fakesink``. The mux has the size of the
clips' own pictures, so nothing is scaled before the detector and the pictures that come out are those of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .elements import element, link
from .nvinfer_config import DetectorEngine, write_config

__all__ = ["MEMORY", "LaneSettings", "build", "mux_properties"]

MEMORY = 0
"""NVBUF_MEM_DEFAULT, a value of nvbuf-memory-type: device memory, on a Jetson a surface that can be mapped."""


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What all pipelines of a graph share."""

    batch: int
    """Frames per batch, as many as clips run at once."""
    push_timeout_us: int
    """A batch that is not full is pushed after so many microseconds."""
    stall_timeout_s: float
    gpu_id: int
    jetson: bool
    live: bool
    """The sources are cameras: a batch holds one frame of each and does not wait for the slow."""


def mux_properties(size: tuple[int, int], settings: LaneSettings, *, drop_end: bool) -> dict[str, object]:
    """Return the properties of nvstreammux for pictures of ``size`` (width, height)."""
    return {
        "width": size[0],
        "height": size[1],
        "batch-size": settings.batch,
        "batched-push-timeout": settings.push_timeout_us,
        "live-source": settings.live,
        # Only a clip that changes its size on the way is scaled at all, and then keeps its aspect ratio.
        "enable-padding": True,
        # Time stamps stay the clip's own.
        "attach-sys-ts": False,
        # Where clips come and go, that all which are in have ended is not the end.
        "drop-pipeline-eos": drop_end,
        "gpu-id": settings.gpu_id,
        "nvbuf-memory-type": MEMORY,
    }


def build(
    pipeline: Any,
    size: tuple[int, int],
    engines: Mapping[int, DetectorEngine],
    settings: LaneSettings,
    directory: Path,
) -> tuple[Any, Any]:
    """Put all but the sources into an empty pipeline; return the mux and the pad behind the last element that does something.

    Parameters
    ----------
    size: width and height of the mux, px.
    engines: the detector, once per look at a frame, by the networks' ids.
    directory: where nvinfer's configurations are written.

    Raises BackendError where an element is missing, EngineError for an engine that is too small.
    """
    mux = element("nvstreammux", "mux", mux_properties(size, settings, drop_end=True))
    convert = element("nvvideoconvert", "rgba", {"gpu-id": settings.gpu_id, "nvbuf-memory-type": MEMORY})
    only = element("capsfilter", "only-rgba", {"caps": "video/x-raw(memory:NVMM), format=RGBA"})
    infers = []
    for number, engine in engines.items():
        config = write_config(
            engine, unique_id=number, batch=settings.batch, gpu_id=settings.gpu_id, directory=directory
        )
        infers.append(element("nvinfer", f"detector-{number}", {"config-file-path": config}))
    sink = element("fakesink", "sink", {"sync": False, "async": False, "qos": False, "enable-last-sample": False})
    parts = [mux, convert, only, *infers, sink]
    for part in parts:
        pipeline.add(part)
    link(parts)
    return mux, parts[-2].get_static_pad("src")

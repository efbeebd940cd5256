"""A strict double of GStreamer's nvcodec plugin and of libgstcuda, over the double of the GPU.

Its decoders carry the plugin's names, caps and rank, decode on the CPU, and leave NV12 pictures in the GPU double's memory, with rows and
planes padded as the real ones do. What would fail, crash or silently copy on the real thing raises: see :class:`Cuda`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import gi
import pytest

gi.require_version("Gst", "1.0")

from gi.repository import Gst  # noqa: E402

from facesearch_trt.graph import cuda_memory, nvcodec  # noqa: E402
from tests.doubles.gpu.machine import GpuMachine  # noqa: E402

from . import elements  # noqa: E402
from .library import Cuda  # noqa: E402

__all__ = ["Cuda", "installed"]

Gst.init(None)
_features: dict[str, object] = {}


@contextlib.contextmanager
def installed(
    machine: GpuMachine, *, codings: tuple[str, ...] = ("nvh264dec", "nvh265dec"), version: str = "1.24"
) -> Iterator[Cuda]:
    """Put decoders into GStreamer's registry under the plugin's name, and the library into its place.

    Parameters
    ----------
    machine: the GPU, whose double has to be installed too.
    codings: the decoders that this GPU has.
    version: of GStreamer: before 1.24 a decoder waits for its own work, and the library cannot be asked to.

    Leaving it raises what broke the rules, also where GStreamer swallowed the exception.
    """
    plugin = Gst.Registry.get().find_plugin("nvcodec")
    if plugin is None:
        pytest.skip("GStreamer has no plugin nvcodec here: apt-get install gstreamer1.0-plugins-bad")
    registry = Gst.Registry.get()
    cuda = Cuda(machine, has_sync=version >= "1.24")
    elements.STATE = cuda
    for name in codings:
        if name in _features:
            registry.add_feature(_features[name])
        else:
            Gst.Element.register(plugin.load(), name, Gst.Rank.PRIMARY + 100, elements.DECODERS[name])
            _features[name] = registry.lookup_feature(name)
    with (
        mock.patch.object(cuda_memory, "cuda_library", lambda: cuda),
        mock.patch.object(nvcodec, "cuda_library", lambda: cuda),
        mock.patch.object(cuda_memory, "core_library", cuda.core),
    ):
        try:
            yield cuda
        finally:
            for name in codings:
                registry.remove_feature(_features[name])
            elements.STATE = None
    assert not cuda.violations, cuda.violations
    cuda.check_clean()

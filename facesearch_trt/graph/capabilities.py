"""What GStreamer on this machine can decode: on the CPU, by NVDEC in plain GStreamer, in DeepStream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import BackendError
from ..types import Capability
from .elements import has_element, is_jetson
from .gst import PACKAGES, gstreamer
from .probe import load_pyds
from .servicemaker import load_service_maker
from .software import package_of, software_decoder

__all__ = ["DEEPSTREAM_ROOT", "deepstream_capabilities", "nvcodec_capabilities", "software_capabilities"]

DEEPSTREAM_ROOT = Path("/opt/nvidia/deepstream/deepstream")
"""Where NVIDIA's packages and images put DeepStream: a link to the newest version."""

_BASE = {
    "filesrc": "reads files",
    "typefind": "tells what a file is",
    "videoconvert": "converts pixels",
    "appsink": "hands frames over",
}
"""Elements without which no clip can be read."""
_DEMUXERS = {
    "qtdemux": ("MP4, MOV, M4V", True),
    "matroskademux": ("MKV, WebM", False),
    "avidemux": ("AVI", False),
    "tsdemux": ("TS", False),
}
"""Demuxer → the files that it opens, and whether nothing goes without."""
_PARSERS = {"h264parse": ("H.264", True), "h265parse": ("H.265", False), "av1parse": ("AV1", False)}
"""Parser → the coding that it splits into frames, and whether nothing goes without."""
_CODINGS = {
    "video/x-h264": ("H.264", "stream-format=avc,alignment=au", True),
    "video/x-h265": ("H.265", "stream-format=hvc1,alignment=au", False),
    "video/x-vp8": ("VP8", "", False),
    "video/x-vp9": ("VP9", "", False),
    "video/x-av1": ("AV1", "stream-format=obu-stream,alignment=tu", False),
    "video/mpeg": ("MPEG-4", "mpegversion=4,systemstream=false", False),
    "image/jpeg": ("Motion JPEG", "", False),
}
"""Media type → its name, the rest of its caps, and whether nothing goes without."""
_NVCODEC = ("nvh264dec", "nvh265dec", "nvav1dec", "nvvp9dec", "nvvp8dec", "nvmpeg4videodec", "nvmpegvideodec")
_DEEPSTREAM = {
    "nvstreammux": "makes batches of frames of several clips",
    "nvvideoconvert": "converts pixels on the GPU",
    "nvinfer": "runs the detector",
    "nvv4l2decoder": "decodes by NVDEC",
    "nvurisrcbin": "reads cameras, and reconnects",
}
_DEEPSTREAM_REMEDY = "Use the DeepStream image (docs/deepstream.md)."


def software_capabilities() -> list[Capability]:
    """Return what is needed to decode on the CPU, and for which files it is there."""
    try:
        gst = gstreamer()
    except BackendError as error:
        return [Capability("GStreamer", False, _reason(error), error.remedy or "", needed=True)]
    all_packages = f"apt-get install {' '.join(PACKAGES)}"
    found = [Capability("GStreamer", True, ".".join(map(str, gst.version()[:3])), needed=True)]
    found += [_element(name, use, all_packages, needed=True) for name, use in _BASE.items()]
    for name, (files, needed) in _DEMUXERS.items():
        package = f"gstreamer1.0-plugins-{'bad' if name == 'tsdemux' else 'good'}"
        found.append(_element(name, f"opens {files}", f"apt-get install {package}", needed=needed))
    for name, (coding, needed) in _PARSERS.items():
        found.append(
            _element(name, f"splits {coding} into frames", "apt-get install gstreamer1.0-plugins-bad", needed=needed)
        )
    for media_type, (coding, more, needed) in _CODINGS.items():
        factory = software_decoder(gst.Caps.from_string(",".join(filter(None, (media_type, more)))))
        name = f"{coding} decoder"
        if factory is None:
            remedy = f"apt-get install {package_of(media_type)}"
            found.append(Capability(name, False, f"no software decoder for {coding}", remedy, needed))
        else:
            found.append(Capability(name, True, f"{factory.get_name()} ({_version(factory)})", needed=needed))
    return found


def nvcodec_capabilities() -> list[Capability]:
    """Return which of NVDEC's decoders plain GStreamer has here."""
    try:
        gst = gstreamer()
    except BackendError as error:
        return [Capability("nvcodec", False, _reason(error), error.remedy or "")]
    plugin = gst.Registry.get().find_plugin("nvcodec")
    if plugin is None:
        remedy = "apt-get install gstreamer1.0-plugins-bad"
        return [Capability("nvcodec plugin", False, "GStreamer has no plugin nvcodec", remedy)]
    present = [name for name in _NVCODEC if has_element(name)]
    if not present:
        # The plugin registers a decoder per coding that the driver says the GPU has.
        remedy = (
            "Check `nvidia-smi`; in a container give it the GPU with its video part (NVIDIA_DRIVER_CAPABILITIES=all)."
        )
        found = f"plugin {plugin.get_version()} offers no decoder: no NVIDIA driver, or no NVDEC"
        return [Capability("nvcodec plugin", False, found, remedy)]
    capabilities = [Capability("nvcodec plugin", True, plugin.get_version())]
    for name in _NVCODEC:
        if name in present:
            capabilities.append(Capability(name, True, "decodes by NVDEC"))
        else:
            capabilities.append(Capability(name, False, "not offered by this GPU, driver or GStreamer"))
    return capabilities


def deepstream_capabilities(root: Path = DEEPSTREAM_ROOT) -> list[Capability]:
    """Return what of DeepStream is here.

    Parameters
    ----------
    root: where DeepStream is installed.
    """
    found = [_deepstream_version(root)]
    try:
        gstreamer()
    except BackendError as error:
        found.append(Capability("DeepStream elements", False, _reason(error), error.remedy or ""))
    else:
        found += [_element(name, use, _DEEPSTREAM_REMEDY) for name, use in _DEEPSTREAM.items()]
    return found + _bindings(root)


def _deepstream_version(root: Path) -> Capability:
    try:
        text = (root / "version").read_text(encoding="utf-8")
    except OSError:
        return Capability("DeepStream", False, f"nothing in {root}", _DEEPSTREAM_REMEDY)
    match = re.search(r"\d+(\.\d+)+", text)
    board = "Jetson" if is_jetson() else "GPU of its own"
    return Capability("DeepStream", True, f"{match[0] if match else text.strip()} ({board})")


def _bindings(root: Path) -> list[Capability]:
    """Return DeepStream's two Python APIs, of which one is enough."""
    try:
        pyds = Capability("pyds", True, str(getattr(load_pyds(), "__version__", "of DeepStream")))
    except BackendError as error:
        pyds = Capability("pyds", False, _reason(error), error.remedy or "")
    try:
        load_service_maker()
    except BackendError as error:
        wheels = sorted((root / "service-maker" / "python").glob("*.whl"))
        remedy = f"pip install {wheels[0]}" if wheels else error.remedy or ""
        return [pyds, Capability("pyservicemaker", False, _reason(error), remedy)]
    used = "installed; pyds is used" if pyds.ready else "installed, and used in the place of pyds"
    return [pyds, Capability("pyservicemaker", True, used)]


def _element(name: str, use: str, remedy: str, *, needed: bool = False) -> Capability:
    if not has_element(name):
        return Capability(name, False, f"GStreamer has no element {name} ({use})", remedy, needed)
    return Capability(name, True, f"{use} ({_version(gstreamer().ElementFactory.find(name))})", needed=needed)


def _version(factory: Any) -> str:
    plugin = factory.get_plugin()
    return f"{plugin.get_name()} {plugin.get_version()}" if plugin is not None else "no plugin"


def _reason(error: BackendError) -> str:
    return error.what if error.found is None else f"{error.what}: {' '.join(str(error.found).split())}"

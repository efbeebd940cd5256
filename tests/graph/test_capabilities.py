"""What is said of GStreamer, NVDEC and DeepStream on machines of several kinds."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from facesearch_trt.errors import BackendError
from facesearch_trt.graph import capabilities
from facesearch_trt.graph.capabilities import (
    deepstream_capabilities,
    nvcodec_capabilities,
    software_capabilities,
)
from facesearch_trt.types import Capability
from tests.doubles import deepstream


def named(found: list[Capability]) -> dict[str, Capability]:
    return {one.name: one for one in found}


def test_this_machine_decodes_on_the_cpu() -> None:
    found = named(software_capabilities())
    assert all(one.ready for one in found.values() if one.needed), found
    assert found["GStreamer"].found.startswith("1.")
    assert "avdec_h264" in found["H.264 decoder"].found or "openh264dec" in found["H.264 decoder"].found
    assert {name for name, one in found.items() if one.needed} == {
        "GStreamer",
        "filesrc",
        "typefind",
        "videoconvert",
        "appsink",
        "qtdemux",
        "h264parse",
        "H.264 decoder",
    }


def test_elements_that_are_missing_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    present = capabilities.has_element
    monkeypatch.setattr(capabilities, "has_element", lambda name: name != "qtdemux" and present(name))
    monkeypatch.setattr(capabilities, "software_decoder", lambda _: None)
    found = named(software_capabilities())
    assert not found["qtdemux"].ready and found["qtdemux"].needed
    assert found["qtdemux"].remedy == "apt-get install gstreamer1.0-plugins-good"
    assert found["VP9 decoder"].remedy == "apt-get install gstreamer1.0-plugins-good"
    assert found["H.264 decoder"].needed and found["H.264 decoder"].remedy == "apt-get install gstreamer1.0-libav"
    assert not found["VP9 decoder"].needed


def test_without_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendError("cannot decode videos: PyGObject is missing", found="No module", remedy="Install it.")

    monkeypatch.setattr(capabilities, "gstreamer", missing)
    (one,) = software_capabilities()
    assert one == Capability(
        "GStreamer", False, "cannot decode videos: PyGObject is missing: No module", "Install it.", needed=True
    )
    assert not nvcodec_capabilities()[0].ready
    assert not named(deepstream_capabilities())["DeepStream elements"].ready


def test_nvdec_without_an_nvidia_driver() -> None:
    if capabilities.has_element("nvh264dec"):
        pytest.skip("this machine has NVDEC")
    (one,) = nvcodec_capabilities()
    assert not one.ready and not one.needed and one.remedy
    assert "nvcodec" in one.name


def test_without_deepstream(tmp_path: Path) -> None:
    found = named(deepstream_capabilities(tmp_path))
    assert not any(one.ready for one in found.values())
    assert "docs/deepstream.md" in found["nvinfer"].remedy
    assert "No module named 'pyds'" in found["pyds"].found


def test_with_deepstream(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Version: 7.1\n")
    wheel = tmp_path / "service-maker" / "python" / "pyservicemaker-0.0.1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    with deepstream.installed():
        found = named(deepstream_capabilities(tmp_path))
    assert found["DeepStream"].found == "7.1 (GPU of its own)"
    for name in ("nvstreammux", "nvvideoconvert", "nvinfer", "nvv4l2decoder", "nvurisrcbin", "pyds"):
        assert found[name].ready, found[name]
    assert found["pyds"].found == "1.2.0"
    assert found["pyservicemaker"].remedy == f"pip install {wheel}"


def test_pypis_pyds_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = types.ModuleType("pyds")
    other.MassFunction = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyds", other)
    found = named(deepstream_capabilities(tmp_path))["pyds"]
    assert not found.ready
    assert found.found.startswith("the installed package pyds is not DeepStream's")
    assert "pip uninstall pyds" in found.remedy


def test_another_package_of_service_makers_name_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyservicemaker", types.ModuleType("pyservicemaker"))
    found = named(deepstream_capabilities(tmp_path))["pyservicemaker"]
    assert not found.ready and "without Pipeline" in found.found and "docs/deepstream.md" in found.remedy


@pytest.mark.parametrize(
    ("apis", "pyds", "maker"),
    [
        (("pyds",), "1.2.0", None),
        (("pyservicemaker",), None, "installed, and used in the place of pyds"),
        (("pyds", "pyservicemaker"), "1.2.0", "installed; pyds is used"),
    ],
)
def test_both_apis_are_shown(apis: tuple[str, ...], pyds: str | None, maker: str | None, tmp_path: Path) -> None:
    with deepstream.installed(apis=apis):
        found = named(deepstream_capabilities(tmp_path))
    for name, wanted in (("pyds", pyds), ("pyservicemaker", maker)):
        assert found[name].ready == (wanted is not None)
        assert found[name].found == wanted or not found[name].ready

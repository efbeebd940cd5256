"""``facesearch doctor`` on machines of several kinds."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.cli import machine
from facesearch_trt.cli.main import main
from tests.doubles import nvcodec
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

Out = pytest.CaptureFixture[str]


@pytest.fixture
def local_pack(shared_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for a pack whose networks are on this machine, in a cache of its own."""
    monkeypatch.setenv("FACESEARCH_MODELS", str(shared_models))
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    return ["--pack", "yunet-arcface", "--engines", str(tmp_path / "engines")]


def as_json(capsys: Out) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def capability(content: dict[str, Any], name: str) -> dict[str, Any]:
    every = [one for section in content["sections"] for one in section["capabilities"]]
    return next(one for one in [*every, *content["plan"]] if one["name"] == name)


def test_a_machine_without_a_gpu_can_do_the_job(local_pack: list[str], capsys: Out) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    assert main(["doctor", *local_pack]) == 0
    out = capsys.readouterr().out
    assert "ok      GStreamer: 1." in out
    assert "ok      graph: software" in out
    assert "ok      networks run on: onnxruntime in fp32: no GPU with TensorRT" in out
    assert out.rstrip().endswith("All that is needed for it is here.")
    assert "MISSING" not in out


def test_as_json_with_the_agreement_of_backends(local_pack: list[str], capsys: Out) -> None:
    assert main(["doctor", *local_pack, "--json", "--verify", "--backend", "onnxruntime"]) == 0
    content = as_json(capsys)
    assert content["can_run"] is True
    assert capability(content, "yunet")["ready"] and capability(content, "mobilefacenet-arcface")["ready"]
    assert content["verification"]["agreements"] == []
    assert any("int8" in line for line in content["verification"]["not_ready"])


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACESEARCH_MODELS", raising=False)
    assert main(["doctor", "--json"]) == 0
    absent = capability(as_json(capsys), "centerface")
    assert not absent["ready"] and not absent["needed"]
    assert absent["remedy"] == "The first run fetches it; or now: facesearch build"
    assert not (tmp_path / "home").exists()
    # Nor where there is all else: a GPU with TensorRT, and decoders.
    gpu = GpuMachine()
    with installed(gpu, "10.3.0"), nvcodec.installed(gpu):
        assert main(["doctor", "--json"]) == 0
        content = as_json(capsys)
        assert capability(content, "graph")["found"] == "software"
        assert "until the networks are here" in capability(content, "networks run on")["found"]
        assert main(["doctor", "--backend", "tensorrt"]) == 1
        assert "the networks are not here" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()


def test_a_licence_that_was_not_accepted_stands_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    assert main(["doctor", "--pack", "buffalo_l"]) == 1
    out = capsys.readouterr().out
    assert "facesearch models --accept-licence" in out and "It cannot be done yet:" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--backend", "tensorrt"], "TensorRT cannot be used"), (["--graph", "nvcodec"], "nvcodec")],
)
def test_what_was_asked_for_is_needed(flags: list[str], said: str, local_pack: list[str], capsys: Out) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    assert main(["doctor", *local_pack, *flags]) == 1
    assert said in capsys.readouterr().out.partition("It cannot be done yet:")[2]


def test_a_machine_with_a_gpu_and_engines(local_pack: list[str], capsys: Out) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernels for the CPU with: apt-get install g++")
    gpu = GpuMachine(memory_bytes=16 << 30)
    with installed(gpu, "10.3.0"), nvcodec.installed(gpu):
        assert main(["doctor", *local_pack]) == 0
        out = capsys.readouterr().out
        assert "networks run on: onnxruntime in fp32: there is a GPU, but: " in out
        assert "-> Run: python build_engines.py --models yunet --precision fp16" in out
        assert main(["build", *local_pack, "--models", "mobilefacenet-arcface", "yunet", "--precision", "fp16"]) == 0
        capsys.readouterr()
        assert main(["doctor", *local_pack, "--json"]) == 0
        content = as_json(capsys)
    assert capability(content, "networks run on")["found"].startswith("tensorrt in fp16: there is NVIDIA Double 3000")
    assert capability(content, "graph")["found"] == "nvcodec"
    assert capability(content, "yunet fp16")["ready"] and not capability(content, "yunet fp32")["ready"]


def test_a_full_disk_is_told(local_pack: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    assert main(["doctor", *local_pack]) == 1
    assert "-> Free 0.50 GiB at least." in capsys.readouterr().out


def test_a_package_that_is_missing_is_told(local_pack: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda _: ["norfair>=2.3", "nothing-such>=1"])
    assert main(["doctor", *local_pack]) == 1
    remedy = f"{shlex.quote(sys.executable)} -m pip install 'nothing-such>=1'"
    assert f"MISSING nothing-such: not installed  -> {remedy}" in capsys.readouterr().out


def test_without_gstreamer_it_still_tells_the_rest(local_pack: list[str]) -> None:
    """In a process of its own, where gi cannot be imported."""
    program = (
        "import sys; sys.modules['gi'] = None\n"
        "from facesearch_trt.cli.main import main\n"
        f"sys.exit(main(['doctor', *{local_pack!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "MISSING GStreamer: cannot decode videos: PyGObject is missing" in result.stdout
    assert "ok      ONNX Runtime" in result.stdout
    program = program.replace("doctor', ", "doctor', '--networks', '--verify', ")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "GStreamer" not in result.stdout and "graph" not in result.stdout
    assert "Agreement with ONNX Runtime in float32" in result.stdout

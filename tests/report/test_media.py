from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'facesearch_trt[web]'")

from fastapi import HTTPException

from facesearch_trt.report.boxes import ClipBoxes
from facesearch_trt.report.media import _still


def _of_folder(folder: Path, damage: str | None) -> tuple[Any, Any]:
    none = np.zeros(0, np.int64)
    boxes = ClipBoxes(np.arange(2), np.array([0.0, 1.0]), np.zeros(2, bool), 8, 8, none, np.zeros((0, 4)), none)
    service = SimpleNamespace(boxes=SimpleNamespace(of=lambda _: boxes))
    source = SimpleNamespace(kind="images", source=folder)
    return service, SimpleNamespace(record=SimpleNamespace(damage=damage), source=source, directory=folder)


def test_a_folders_own_images_stand_for_pictures_that_were_not_kept(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    assert _still(*_of_folder(tmp_path, None), 0.9) == tmp_path / "b.png"


def test_no_wrong_image_is_shown_of_a_folder_with_unreadable_ones(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(HTTPException) as refused:
        _still(*_of_folder(tmp_path, "a.png: not an image"), 0.9)
    assert refused.value.status_code == 404

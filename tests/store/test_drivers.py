"""The single pass and the steps one by one leave the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.store import Keep

from .synthetic import contents, single_pass, stepwise


@pytest.mark.parametrize("keep", ["all", "faces", "none"])
@pytest.mark.parametrize("every", [1, 3])
def test_same_files(tmp_path: Path, keep: Keep, every: int) -> None:
    single_pass(tmp_path / "single.pipeline", keep=keep, every=every)
    stepwise(tmp_path / "steps.pipeline", keep=keep, every=every)
    single, steps = contents(tmp_path / "single.pipeline"), contents(tmp_path / "steps.pipeline")
    assert single.keys() == steps.keys()
    assert [name for name in single if single[name] != steps[name]] == []
    pictures = sum(name.startswith("frame_") and name.endswith(".png") for name in single)
    everything = len(range(0, 20, every))
    assert {"all": pictures == everything, "faces": 0 < pictures < everything, "none": pictures == 0}[keep]

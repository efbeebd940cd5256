"""The usual deep_sort.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.config import CONFIGS
from facesearch_trt.errors import OptionError
from facesearch_trt.identity.deep_sort import load_tracker_settings

CLASSIC = """
DEEPSORT:
  REID_CKPT: "deep_sort_pytorch/deep_sort/deep/checkpoint/ckpt.t7"
  MAX_DIST: 0.2
  MIN_CONFIDENCE: 0.3
  NMS_MAX_OVERLAP: 0.5
  MAX_IOU_DISTANCE: 0.7
  MAX_AGE: 70
  N_INIT: 3
  NN_BUDGET: 100
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "deep_sort.yaml"
    path.write_text(text)
    return path


def test_the_packaged_file_is_complete():
    settings = load_tracker_settings(CONFIGS / "deep_sort.yaml")
    assert settings.max_dist is None
    assert settings.max_age == 30


def test_a_classic_file_is_read_as_it_is(tmp_path):
    settings = load_tracker_settings(written(tmp_path, CLASSIC))
    assert (settings.max_dist, settings.min_confidence, settings.max_age) == (0.2, 0.3, 70)


def test_missing_keys_come_from_the_base_or_are_named(tmp_path):
    base = load_tracker_settings(CONFIGS / "deep_sort.yaml")
    path = written(tmp_path, "DEEPSORT:\n  MAX_AGE: 5\n")
    assert load_tracker_settings(path, base).max_age == 5
    assert load_tracker_settings(path, base).n_init == base.n_init
    with pytest.raises(OptionError, match="N_INIT"):
        load_tracker_settings(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("MAX_AEG: 5", "Did you mean MAX_AGE"),
        ("MAX_AGE: 2.5", "takes int"),
        ("MAX_AGE: true", "takes int"),
        ("MAX_AGE: 0", "out of range"),
        ("MAX_DIST: far", "takes float"),
        ("MAX_IOU_DISTANCE: .nan", "out of range"),
        ("N_INIT: null", "takes int"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_remedy(tmp_path, line, words):
    path = written(tmp_path, f"DEEPSORT:\n  {line}\n")
    with pytest.raises(OptionError, match=words) as caught:
        load_tracker_settings(path, load_tracker_settings(CONFIGS / "deep_sort.yaml"))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1\n", "MAX_AGE: 3\n", "DEEPSORT: 3\n", "DEEPSORT: {}\nOTHER: 1\n", "a: [\n"])
def test_what_is_no_deep_sort_file_is_refused(tmp_path, text):
    with pytest.raises(OptionError, match=r"deep_sort\.yaml"):
        load_tracker_settings(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no such deep_sort file"):
        load_tracker_settings(tmp_path / "none.yaml")

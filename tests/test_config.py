"""Options: what is refused, with which words, and that the YAML file shows the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch_trt.cli.flags import add_option_flags, options_from
from facesearch_trt.cli.main import main
from facesearch_trt.config import CONFIGS, Options, load_options, options_as_dict, options_with, render_yaml
from facesearch_trt.errors import OptionError
from facesearch_trt.identity.scale import SimilarityScale
from facesearch_trt.wiring import Tools


def test_the_yaml_file_is_the_table() -> None:
    assert (CONFIGS / "default.yaml").read_text(encoding="utf-8") == render_yaml(), (
        "run: facesearch config > configs/default.yaml"
    )
    assert load_options(CONFIGS / "default.yaml") == options_as_dict(Options())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("evry", 2, "Did you mean 'every'?"),
        ("every", 0, "it takes 1 to"),
        ("every", "2", "it takes int"),
        ("every", True, "it takes int"),
        ("every", None, "it takes int"),
        ("frames", "some", "all, faces, none"),
        ("score_threshold", float("nan"), "it takes 0 to 1"),
        ("force", 1, "it takes bool"),
    ],
)
def test_a_wrong_option_is_refused_with_the_remedy(tmp_path: Path, name: str, value: object, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        options_with(Options(), {name: value}, where="my.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


def test_optional_and_whole_numbers_are_taken() -> None:
    changed = options_with(Options(), {"score_threshold": 1, "pack": "yunet-arcface", "detector": None}, where="test")
    assert (changed.score_threshold, changed.pack, changed.detector) == (1.0, "yunet-arcface", None)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"broken\.yaml"):
        load_options(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such configuration file"):
        load_options(tmp_path / "gone.yaml")


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    import argparse

    path = tmp_path / "mine.yaml"
    path.write_text("every: 5\nnms_iou: 0.5\n")
    parser = argparse.ArgumentParser()
    add_option_flags(parser)
    options = options_from(
        parser.parse_args(["--config", str(path), "--every", "2", "--no-force", "--min-face-px", "20"])
    )
    assert (options.every, options.nms_iou, options.min_face_px, options.force) == (2, 0.5, 20.0, False)


@pytest.mark.parametrize("threshold", ["1", "-1"])
def test_a_similarity_that_no_two_or_all_faces_have_is_wrong_use(
    threshold: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--input_directory", str(tmp_path), f"--similarity-threshold={threshold}"]) == 2
    assert "'similarity_threshold' is out of range" in capsys.readouterr().err


@pytest.mark.parametrize("threshold", [-0.999, -0.5, 0.0, 0.5, 0.999])
def test_every_similarity_that_may_be_asked_for_makes_a_scale(threshold: float) -> None:
    for embedder in ("dlib-resnet", "sface"):
        changes = {"similarity_threshold": threshold, "embedder": embedder}
        with Tools(options_with(Options(), changes, where="test")) as tools:
            assert SimilarityScale.of(*tools.similarities).same == threshold

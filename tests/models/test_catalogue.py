from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from facesearch_trt.config import CONFIGS
from facesearch_trt.errors import OptionError, UnknownModelError
from facesearch_trt.models.catalogue import Catalogue, load_catalogue
from facesearch_trt.models.entries import FileSource, Normalisation, PypiSource, UrlSource

DETECTOR = """
models:
  mine:
    kind: detector
    source: {path: mine.onnx}
    sha256: 104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12
    bytes: 10
    licence: {name: MIT, commercial: yes, url: "https://example.org"}
    decoder: yunet
    colour: bgr
    normalisation: none
    multiple: 32
    score_threshold: 0.6
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_packs(catalogue: Catalogue) -> None:
    found = {name: tuple(entry.name for entry in catalogue.pack(name)) for name in catalogue.packs}
    assert found == {
        "open": ("centerface", "dlib-resnet"),
        "yunet-arcface": ("yunet", "mobilefacenet-arcface"),
        "buffalo_l": ("scrfd-10g", "arcface-r50"),
        "buffalo_s": ("scrfd-500m", "arcface-mbf"),
        "buffalo_sc": ("scrfd-500m", "arcface-mbf"),
        "antelopev2": ("scrfd-10g", "arcface-r100"),
    }


def test_open_pack_is_free_for_commercial_use_and_needs_only_a_package_index(catalogue: Catalogue) -> None:
    for entry in catalogue.pack("open"):
        assert entry.licence.commercial
        assert not entry.licence.accept
        assert isinstance(entry.source, PypiSource)


def test_research_models_have_to_be_accepted(catalogue: Catalogue) -> None:
    asked = {entry.name for entry in catalogue.models.values() if entry.licence.accept}
    assert asked == {"scrfd-10g", "scrfd-500m", "arcface-r50", "arcface-mbf", "arcface-r100"}
    assert not any(catalogue.models[name].licence.commercial for name in asked)


def test_values_of_entries(catalogue: Catalogue) -> None:
    dlib = catalogue.embedder("dlib-resnet")
    assert (dlib.template, dlib.chip_size, dlib.dimension, dlib.colour) == ("dlib", 150, 128, "rgb")
    assert (dlib.similarity, dlib.similarity_strict) == (0.925, 0.935)
    assert dlib.normalisation == Normalisation("none", (0, 0, 0), 1)
    r50 = catalogue.embedder("arcface-r50")
    assert r50.normalisation == Normalisation("outside", (127.5, 127.5, 127.5), 127.5)
    assert isinstance(r50.source, UrlSource)
    assert r50.source.member == "w600k_r50.onnx"
    assert r50.source.url.endswith("/v0.7/buffalo_l.zip")
    yunet = catalogue.detector("yunet")
    assert (yunet.decoder, yunet.colour, yunet.multiple) == ("yunet", "bgr", 32)
    assert yunet.source == FileSource(Path("yunet_n.onnx"))


@pytest.mark.parametrize(
    ("ask", "name", "expected"),
    [
        ("detector", "centreface", "'centerface'"),
        ("embedder", "dlib_resnet", "'dlib-resnet'"),
        ("pack", "bufalo_l", "'buffalo_l'"),
        ("pack", "zzzz", "open"),
        ("detector", "dlib-resnet", "is a single embedder"),
        ("pack", "yunet", "is a single detector"),
    ],
)
def test_unknown_name_lists_what_there_is(catalogue: Catalogue, ask: str, name: str, expected: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        getattr(catalogue, ask)(name)
    assert expected in str(caught.value)
    assert repr(name) in str(caught.value)


def test_own_file_adds_and_replaces(tmp_path: Path, catalogue: Catalogue) -> None:
    text = (
        DETECTOR + "packs: {mine: {detector: mine, embedder: sface}, open: {detector: mine, embedder: dlib-resnet}}\n"
    )
    path = written(tmp_path, text)
    both = load_catalogue(path)
    assert both.detector("mine").declared_in == path
    assert [entry.name for entry in both.pack("mine")] == ["mine", "sface"]
    assert both.pack("open")[0].name == "mine"
    assert set(both.models) == {*catalogue.models, "mine"}
    replaced = load_catalogue(written(tmp_path, DETECTOR.replace("mine:", "centerface:")))
    assert replaced.pack("open")[0].source == FileSource(Path("mine.onnx"))


def test_empty_file_changes_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    assert load_catalogue(written(tmp_path, "")) == catalogue


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("decoder: yunet", "decoder: yolo", "centerface, yunet, scrfd"),
        ("kind: detector", "kind: recogniser", "detector, embedder"),
        ("colour: bgr", "color: bgr", "unknown key 'color'"),
        ("colour: bgr", "colour: grey", "rgb, bgr"),
        ("multiple: 32", "multiple: 32\n    template: arcface", "unknown key 'template'"),
        ("multiple: 32", "", "lacks the key 'multiple'"),
        ("multiple: 32", "multiple: 0", "from 1 to 512"),
        ("multiple: 32", "multiple: yes", "from 1 to 512"),
        ("score_threshold: 0.6", "score_threshold: 1.5", "from 0 to 1"),
        ("score_threshold: 0.6", "score_threshold: .nan", "from 0 to 1"),
        ("sha256: 104", "sha256: 1O4", "64 hexadecimal digits"),
        ("bytes: 10", "bytes: many", "whole number"),
        ("{path: mine.onnx}", "{file: mine.onnx}", "pypi, url, path"),
        ("{path: mine.onnx}", "mine.onnx", "pypi, url, path"),
        ("{path: mine.onnx}", "{url: 'file:///etc/passwd'}", "https://"),
        ("{path: mine.onnx}", "{path: mine.onnx, member: x}", "unknown key 'member'"),
        (
            "{path: mine.onnx}",
            "{pypi: '-r x', version: 1.0.0, form: wheel, member: x, archive_sha256: x}",
            "archive_sha256",
        ),
        ("commercial: yes", "commercial: maybe", "yes, no"),
        ("normalisation: none", "normalisation: {mean: 127.5, std: 128}", "list of three numbers"),
        ("normalisation: none", "normalisation: {mean: [0, 0, 0], std: 0}", "a number from"),
        ("normalisation: none", "normalisation: some", "inside, none"),
        ("normalisation: none", "format: dlib\n    normalisation: none", "format"),
        ("  mine:", "  ../mine:", "name is not possible"),
        ("  mine:", "  7:", "name is not possible"),
    ],
)
def test_mistake_names_file_and_entry(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in DETECTOR
    path = written(tmp_path, DETECTOR.replace(old, new))
    with pytest.raises(OptionError) as caught:
        load_catalogue(path)
    message = str(caught.value)
    assert expected in message
    assert str(path) in message
    assert new.strip(" :") in message if "  " in old else "mine" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "not a mapping"),
        ("model: {}", "unknown section"),
        ("models: [a]", "not a mapping of names"),
        ("models: {a: 3}", "not a mapping"),
        ("models: {a: {}, a: {}}", "stands twice"),
        ("models: {a: *b}", "cannot read"),
        ("packs: {p: {detector: centerface}}", "lacks the key 'embedder'"),
        ("packs: {p: {detector: centerface, embedder: dlib}}", "packs: p: unknown embedder"),
        ("packs: {p: {detector: dlib-resnet, embedder: dlib-resnet}}", "packs: p: unknown detector"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        load_catalogue(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such models file"):
        load_catalogue(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="cannot read"):
        load_catalogue(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("similarity", "strict", "said"),
    [
        (0.4, 0.3, "similarity_strict does not lie above"),
        (0.4, 0.4, "similarity_strict does not lie above"),
        (1, 1, "'similarity' in the embedder is not possible"),
        (-1, 0.4, "'similarity' in the embedder is not possible"),
    ],
)
def test_thresholds_that_make_no_scale_are_refused(tmp_path: Path, similarity: float, strict: float, said: str) -> None:
    entry = yaml.safe_load((CONFIGS / "models.yaml").read_text(encoding="utf-8"))["models"]["sface"]
    entry |= {"similarity": similarity, "similarity_strict": strict}
    with pytest.raises(OptionError, match=said):
        load_catalogue(written(tmp_path, yaml.safe_dump({"models": {"sface": entry}})))


def test_every_key_is_explained_in_the_shipped_file(catalogue: Catalogue) -> None:
    comment = "".join(line for line in (CONFIGS / "models.yaml").read_text().splitlines(True) if line.startswith("#"))
    for entry in (catalogue.detector("centerface"), catalogue.embedder("dlib-resnet")):
        for name in (field.name for field in dataclasses.fields(entry)):
            if name not in ("name", "declared_in"):
                assert {"size_bytes": "bytes"}.get(name, name) in comment

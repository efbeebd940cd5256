"""Corrections by hand and the way back: after it everything is as it was before, ids and names too."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.erasing import erase_person
from facesearch_trt.errors import OptionError
from facesearch_trt.indexing import read_people
from facesearch_trt.people.corrections import (
    UNDO_FILE,
    ignore_people,
    last_correction,
    merge_people,
    name_person,
    notice_people,
    split_person,
    undo_correction,
)
from facesearch_trt.people.decisions import DECISIONS_FILE, load_decisions
from facesearch_trt.people.files import NAMES_FILE, PEOPLE_FILE, read_names, read_people_table
from facesearch_trt.people.log import LOG_FILE
from facesearch_trt.people.thresholds import similarities_of
from facesearch_trt.people.update import resolve, update_people
from facesearch_trt.wiring import Tools
from tests.clip_results import SIMILARITY, STRICT, write_clip

BOTH = (SIMILARITY, STRICT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """People 1, 2 and 3 are in "a", the third alone; 2 and 4 in "b"."""
    write_clip(tmp_path, "a", [[1, 2], [1, 2], [3]])
    write_clip(tmp_path, "b", [[2], [4], [4]])
    update_people(tmp_path, *BOTH)
    return tmp_path


def everything(root: Path) -> dict[str, str]:
    names = (PEOPLE_FILE, NAMES_FILE, LOG_FILE, "people.yaml")
    return {name: (root / name).read_text() for name in names if (root / name).exists()}


def test_a_merge_is_taken_back(root: Path) -> None:
    table = read_people_table(root)
    three, four = table["a", 2], table["b", 1]
    name_person(root, four, "Dora <b>", BOTH)
    before = everything(root)
    merge_people(root, [three, four], BOTH)
    assert read_people_table(root)["b", 1] == read_people_table(root)["a", 2] == min(three, four)
    undoable = last_correction(root)
    assert undoable is not None
    assert undoable.what == f"merged {max(three, four)} into {min(three, four)}"
    undone, _ = undo_correction(root, BOTH)
    assert undone == undoable
    after = everything(root)
    assert read_people_table(root) == table, "also the ids are as before"
    assert after[NAMES_FILE] == before[NAMES_FILE]
    assert after["people.yaml"] == before["people.yaml"]
    assert resolve(root, four) == four
    # A later run does not merge them again.
    update_people(root, *BOTH, force=True)
    assert read_people_table(root) == table


def test_one_after_the_other(root: Path) -> None:
    table = read_people_table(root)
    name_person(root, table["a", 0], "Ann", BOTH)
    split_person(root, table["a", 1], [("b", 0)], BOTH)
    ignore_people(root, [table["a", 2]], BOTH)
    assert read_people_table(root) != table
    assert undo_correction(root, BOTH)[0].what.startswith("ignored")
    assert undo_correction(root, BOTH)[0].what.startswith("split")
    assert read_people_table(root) == table
    assert undo_correction(root, BOTH)[0].what.startswith("named")
    assert read_names(root) == []
    assert last_correction(root) is None
    with pytest.raises(OptionError, match="nothing can be taken back"):
        undo_correction(root, BOTH)


def test_not_after_the_file_was_edited(root: Path) -> None:
    name_person(root, 0, "Ann", BOTH)
    (root / "people.yaml").write_text("names: {0: Anna}\n")
    assert last_correction(root) is None
    with pytest.raises(OptionError, match="changed since"):
        undo_correction(root, BOTH)


def test_ignored_and_noticed(root: Path) -> None:
    ignore_people(root, [0, 1], BOTH)
    notice_people(root, [0], BOTH)
    assert load_decisions(root).ignore == [1]


def test_a_name_replaces_that_of_a_merged_id(root: Path) -> None:
    table = read_people_table(root)
    three, four = sorted((table["a", 2], table["b", 1]))
    name_person(root, four, "Old", BOTH)
    merge_people(root, [three, four], BOTH)
    name_person(root, three, "New", BOTH)
    assert [name.name for name in read_names(root)] == ["New"]
    with pytest.raises(OptionError, match="not a name"):
        name_person(root, three, "two\nlines", BOTH)


def test_what_is_refused_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="seen together"):
        merge_people(root, [0, 1], BOTH)
    assert not (root / "people.yaml").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            "facesearch_trt.people.corrections.update_people", lambda *_: (_ for _ in ()).throw(OptionError("no"))
        )
        with pytest.raises(OptionError):
            name_person(root, 0, "Ann", BOTH)
    assert not (root / "people.yaml").exists()
    assert not (root / UNDO_FILE).exists()


def test_erasing_forgets_what_was_before(root: Path) -> None:
    name_person(root, 0, "Ann", BOTH)
    assert "Ann" in (root / UNDO_FILE).read_text() or "named" in (root / UNDO_FILE).read_text()
    erase_person(root, 0, None)
    assert not (root / UNDO_FILE).exists()


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["people", "ignore", str(root), "0"]) == 0
    assert main(["people", "notice", str(root), "0"]) == 0
    assert main(["people", "undo", str(root)]) == 0
    assert "taken back: no longer ignored 0" in capsys.readouterr().out
    assert load_decisions(root).ignore == [0]


def test_a_models_file_says_nothing_of_another_embedder(tmp_path: Path) -> None:
    catalogue = yaml.safe_load(Path("configs/models.yaml").read_text())["models"]
    names = [name for name, entry in catalogue.items() if entry["kind"] == "embedder"]
    with Tools(Options()) as tools:
        default = tools.embedder_entry.name
    other = next(name for name in names if name != default)
    models = tmp_path / "models.yaml"
    models.write_text(
        yaml.safe_dump({"models": {other: {**catalogue[other], "similarity": 0.61, "similarity_strict": 0.67}}})
    )
    write_clip(tmp_path, "a", [[1]], model=other)
    with Tools(Options(models_file=str(models))) as tools:
        assert similarities_of(tmp_path, tools) == (0.61, 0.67), "of the embedder that the clips were made with"
        update_people(tmp_path, *BOTH)
        assert similarities_of(tmp_path, tools) == (0.61, 0.67)
    with Tools(Options()) as tools:
        assert similarities_of(tmp_path, tools) == BOTH, "those that were used last"
    with Tools(Options(models_file=str(models), similarity_threshold=0.3)) as tools:
        assert similarities_of(tmp_path, tools)[0] == 0.3


def test_the_log_is_read_once_for_everybody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / DECISIONS_FILE).write_text("ignore: [0, 1, 2, 3]\n")
    reads: list[Path] = []
    monkeypatch.setattr("facesearch_trt.people.log.read_log", lambda root: reads.append(root) or [])
    assert all(person.ignored for faces in read_people(root).values() for person in faces.values())
    assert len(reads) == 1

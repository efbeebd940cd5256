"""People over all clips of a ROOT: right, stable, corrected by hand, and honest about what cannot be."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from facesearch_trt.errors import IdentityError, OptionError
from facesearch_trt.people.decisions import DECISIONS_FILE
from facesearch_trt.people.files import PEOPLE_FILE, STATE_FILE, read_people_table
from facesearch_trt.people.log import LOG_FILE, read_log
from facesearch_trt.people.update import PeopleSummary, update_people
from tests.clip_results import SIMILARITY, STRICT, write_clip


def update(root: Path, model: str | None = "net") -> PeopleSummary:
    return update_people(root, SIMILARITY, STRICT, model)


def ids(root: Path) -> dict[tuple[str, int], int]:
    return read_people_table(root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_clip(tmp_path, "a", [[1, 2], [1, 2], [3]])
    write_clip(tmp_path, "b", [[2], [2, 4], [1]])
    write_clip(tmp_path, "c", [[4, 3], [5]])
    update(tmp_path)
    return tmp_path


TRUTH = {
    ("a", 0): 1,
    ("a", 1): 2,
    ("a", 2): 3,
    ("b", 0): 2,
    ("b", 1): 4,
    ("b", 2): 1,
    ("c", 0): 4,
    ("c", 1): 3,
    ("c", 2): 5,
}


def groups(table: dict[tuple[str, int], int], truth: dict[tuple[str, int], int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for key, person in truth.items():
        found.setdefault(person, set()).add(table[key])
    return found


def test_everybody_gets_a_person_and_the_same_one_everywhere(root: Path) -> None:
    table = ids(root)
    assert set(table) == set(TRUTH)
    found = groups(table, TRUTH)
    assert all(len(some) == 1 for some in found.values())
    assert len(set.union(*found.values())) == 5
    with (root / PEOPLE_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["clip", "face_id", "person_id", "similarity"]
    assert all(0.5 < float(row["similarity"]) <= 1 for row in rows)


def test_nothing_is_done_where_nothing_changed(root: Path) -> None:
    before = {name: (root / name).stat().st_mtime_ns for name in (PEOPLE_FILE, STATE_FILE)}
    summary = update(root)
    assert not summary.changed
    assert (summary.clips, summary.people) == (3, 5)
    assert before == {name: (root / name).stat().st_mtime_ns for name in before}


def test_a_changed_or_removed_table_is_written_again(root: Path) -> None:
    table = ids(root)
    (root / PEOPLE_FILE).unlink()
    assert update(root).changed
    assert ids(root) == table
    (root / STATE_FILE).unlink()
    assert update(root).changed
    assert ids(root) == table


def test_ids_stay_when_clips_come_and_go(root: Path) -> None:
    table = ids(root)
    # Its name comes first, so that numbering from scratch would shift everybody.
    write_clip(root, "A", [[5, 6], [1]])
    update(root)
    later = ids(root)
    assert {key: later[key] for key in table} == table
    assert later["A", 0] == table["c", 2]
    assert later["A", 2] == table["a", 0]
    assert later["A", 1] == 5
    kept = root / "elsewhere"
    shutil.move(root / "c.pipeline", kept)
    update(root)
    assert ids(root) == {key: later[key] for key in later if key[0] != "c"}
    shutil.move(kept, root / "c.pipeline")
    update(root)
    assert ids(root) == later


def test_the_id_of_one_who_is_gone_is_never_given_again_but_to_the_same(root: Path) -> None:
    table = ids(root)
    shutil.rmtree(root / "c.pipeline")
    update(root)
    assert [row["event"] for row in read_log(root)] == ["retired"]
    write_clip(root, "d", [[7], [8]])
    update(root)
    assert not {ids(root)["d", 0], ids(root)["d", 1]} & set(table.values())
    write_clip(root, "e", [[5]])
    update(root)
    assert ids(root)["e", 0] == table["c", 2]
    # Also where the program's memory is lost.
    shutil.rmtree(root / "e.pipeline")
    update(root)
    (root / STATE_FILE).unlink()
    write_clip(root, "f", [[9]])
    update(root)
    assert ids(root)["f", 0] > max(ids(root)["d", 0], ids(root)["d", 1], *table.values())


def test_a_clip_that_is_done_again_with_other_face_ids(root: Path) -> None:
    table = ids(root)
    write_clip(root, "a", [[1, 2], [1, 2], [3]], face_ids={3: 0, 2: 1, 1: 2}, seed=1)
    update(root)
    later = ids(root)
    assert (later["a", 2], later["a", 1], later["a", 0]) == (table["a", 0], table["a", 1], table["a", 2])


def test_the_order_of_clips_does_not_matter(tmp_path: Path) -> None:
    found = []
    for number, names in enumerate((("a", "b", "c"), ("c", "a", "b"))):
        directory = tmp_path / str(number)
        directory.mkdir()
        for name in names:
            shows = {"a": [[1, 2], [3]], "b": [[2], [4, 1]], "c": [[4, 3], [5]]}[name]
            write_clip(directory, name, shows)
            update(directory)
        table = ids(directory)
        found.append({frozenset(key for key in table if table[key] == person) for person in table.values()})
    assert found[0] == found[1]


def test_people_who_were_seen_together_are_two(tmp_path: Path) -> None:
    # Twins: the same direction under two numbers.
    write_clip(tmp_path, "a", [[1, 2]], alike=0.999)
    write_clip(tmp_path, "b", [[1, 1]], face_ids={1: 0}, alike=0.999)
    directory = write_clip(tmp_path, "c", [[1], [1]], alike=0.999)
    text = (directory / "faces.csv").read_text().splitlines()
    assert text[1].endswith(",0,0")
    update(tmp_path)
    table = ids(tmp_path)
    assert table["a", 0] == table["b", 0] == table["c", 0] != table["a", 1]


def test_two_that_turn_out_to_be_one_keep_the_older_id_and_it_is_written_down(tmp_path: Path) -> None:
    # Two looks of a person that only a third one links.
    from tests import clip_results

    write_clip(tmp_path, "a", [[1]])
    write_clip(tmp_path, "b", [[2]])
    update(tmp_path)
    assert ids(tmp_path) == {("a", 0): 0, ("b", 0): 1}
    both = (clip_results.person(1) + clip_results.person(2)) / 2**0.5
    original = clip_results.person
    clip_results.person = lambda number: both if number in (1, 2) else original(number)  # type: ignore[assignment]
    try:
        write_clip(tmp_path, "b", [[2]], seed=5)
        write_clip(tmp_path, "a", [[1]], seed=5)
    finally:
        clip_results.person = original
    update(tmp_path)
    assert set(ids(tmp_path).values()) == {0}
    (row,) = [row for row in read_log(tmp_path) if row["event"] == "merged"]
    assert (row["person_id"], row["into"]) == ("1", "0")


def test_a_face_too_small_to_tell_never_glues_and_gets_an_id(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", [[1], [2]])
    write_clip(tmp_path, "b", [[3]], size=20)
    write_clip(tmp_path, "c", [[1]], size=20, alike=0.9)
    update(tmp_path)
    table = ids(tmp_path)
    assert table["b", 0] not in {table["a", 0], table["a", 1]}
    assert table["c", 0] == table["a", 0]


def test_decisions_are_obeyed_and_stay(root: Path) -> None:
    table = ids(root)
    one, three, four = table["a", 0], table["a", 2], table["b", 1]
    (root / DECISIONS_FILE).write_text(f"merge: [[{one}, {table['c', 2]}]]\nnames: {{{three}: Ada}}\n")
    update(root)
    later = ids(root)
    assert later["c", 2] == one
    assert "Ada" in (root / "names.csv").read_text()
    write_clip(root, "d", [[5, 1]])
    update(root)
    # Seen together, so only one of them can be that person.
    assert {ids(root)["d", 0], ids(root)["d", 1]} & {one}
    (root / DECISIONS_FILE).write_text(f"split:\n- {{person: {four}, faces: [[c, 0]]}}\n")
    update(root)
    apart = ids(root)
    assert apart["b", 1] == four
    assert apart["c", 0] not in set(later.values())
    assert f"into: {apart['c', 0]}" in (root / DECISIONS_FILE).read_text()
    write_clip(root, "e", [[6]])
    update(root)
    assert {key: ids(root)[key] for key in apart} == apart


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("merge: [[0, 99]]", "99"),
        ("merge: [[0]]", "less than two"),
        ("names: {x: Ada}", "'x'"),
        ("nams: {0: Ada}", "'nams'"),
        ("split: [{person: 0, faces: [a]}]", "not a face"),
        ("ignore: {", "cannot read"),
    ],
)
def test_a_decision_that_cannot_be_is_an_error_that_names_the_file(root: Path, text: str, says: str) -> None:
    before = (root / PEOPLE_FILE).read_bytes()
    (root / DECISIONS_FILE).write_text(text)
    with pytest.raises(OptionError, match=r"people\.yaml") as caught:
        update(root)
    assert says in str(caught.value)
    assert (root / PEOPLE_FILE).read_bytes() == before


def test_embeddings_of_different_models_are_refused(root: Path) -> None:
    write_clip(root, "d", [[1]], model="other")
    with pytest.raises(IdentityError, match="different models") as caught:
        update(root)
    assert "d" in str(caught.value)
    assert "run_pipeline.py" in str(caught.value)
    with pytest.raises(IdentityError):
        update(root, None)


def test_a_clip_with_a_damaged_table_is_named_and_left_out(root: Path) -> None:
    path = root / "b.pipeline" / "faces.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    column = rows[0].index("face_id")
    path.write_text("\n".join(",".join(row[:column]) for row in rows) + "\n")
    summary = update(root)
    assert [name for name, _ in summary.failed] == ["b"]
    assert "face_id" in summary.failed[0][1]
    assert {clip for clip, _ in ids(root)} == {"a", "c"}


def test_an_empty_root_makes_no_files(tmp_path: Path) -> None:
    assert update(tmp_path).people == 0
    assert not list(tmp_path.iterdir())


def test_the_last_clip_is_gone(root: Path) -> None:
    for name in "abc":
        shutil.rmtree(root / f"{name}.pipeline")
    update(root)
    assert ids(root) == {}
    assert len(read_log(root)) == 5
    assert (root / LOG_FILE).is_file()

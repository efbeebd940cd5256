from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from facesearch_trt.errors import InputError, ModelError
from facesearch_trt.search import policy
from facesearch_trt.search.confidence import Thresholds
from facesearch_trt.search.index import Answer, Index
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter

from .people import MODEL, ROOT, Crowd, clip_of

THRESHOLDS = Thresholds(0.35, 0.45)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return Crowd(40)


@pytest.fixture(scope="module")
def location(crowd: Crowd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips: clip n shows people n, n + 1 and n + 2, called by their number; person 5 is named Ann."""
    location = tmp_path_factory.mktemp("index")
    with IndexWriter(location) as writer:
        for number in range(10):
            people = [number, number + 1, number + 2]
            rows = clip_of(
                f"clip{number}",
                crowd.pictures(np.array(people)),
                people=[str(person) for person in people],
                names=["Ann" if person == 5 else None for person in people],
                spans=[(0, 6), (4, 9), (20, 30)],
                quality=number / 10,
            )
            writer.put([rows])
    return location


def search(location: Path, vectors: np.ndarray, **more: object) -> Answer:
    index = Index.open(location)
    return index.search(vectors, model=MODEL, thresholds=THRESHOLDS, **more)  # type: ignore[arg-type]


def test_a_photo_finds_its_person_in_every_clip(location: Path, crowd: Crowd) -> None:
    answer = search(location, crowd.pictures(np.array([5])))
    assert answer.verdict == "found"
    assert {found.match.clip for found in answer.found} == {"clip3", "clip4", "clip5"}
    assert {found.match.person_id for found in answer.found} == {"5"}
    assert {found.match.name for found in answer.found} == {"Ann"}
    similarities = [found.match.similarity for found in answer.found]
    assert similarities == sorted(similarities, reverse=True)
    assert answer.searched == 30
    assert answer.nearest is None
    (in_clip4,) = (found.match for found in answer.found if found.match.clip == "clip4")
    (appearance,) = in_clip4.appearances
    assert (appearance.start_s, appearance.end_s, appearance.evidence) == (4, 9, "photo")
    assert appearance.picture.box == (10, 20, 50, 70)
    assert appearance.picture.chip == "faces/frame_0001_face_00.png"


def test_a_stranger_is_nobody_and_the_nearest_is_named(location: Path, crowd: Crowd) -> None:
    answer = search(location, crowd.pictures(np.array([39])))
    assert (answer.verdict, answer.found) == ("nobody", ())
    assert answer.nearest is not None
    assert answer.nearest.match.similarity is not None
    assert answer.nearest.match.similarity < THRESHOLDS.similarity
    assert answer.nearest.odds.one_in < 1000


def test_several_photos_are_joined(location: Path, crowd: Crowd) -> None:
    photos = crowd.pictures(np.array([5] * 6))
    one, six = search(location, photos[:1]), search(location, photos)
    assert {found.match.clip for found in six.found} == {found.match.clip for found in one.found}
    assert six.found[0].match.similarity > one.found[0].match.similarity  # type: ignore[operator]
    assert six.warnings == ()


def test_photos_of_two_people_are_noticed(location: Path, crowd: Crowd) -> None:
    answer = search(location, crowd.pictures(np.array([5, 5, 20])))
    assert len(answer.warnings) == 2
    assert "photos 1 and 3 do not look like one person" in answer.warnings[0]


def test_filters(location: Path, crowd: Crowd) -> None:
    photo = crowd.pictures(np.array([5]))

    def clips(where: Where) -> set[str]:
        return {found.match.clip for found in search(location, photo, where=where).found}

    assert clips(Where(clips=("clip3", "clip9"))) == {"clip3"}
    assert clips(Where(roots=(ROOT,))) == {"clip3", "clip4", "clip5"}
    assert clips(Where(roots=("/elsewhere",))) == set()
    assert clips(Where(people=("5",))) == clips(Where(people=("Ann",))) == {"clip3", "clip4", "clip5"}
    assert clips(Where(people=("6",))) == set()
    assert clips(Where(from_s=15)) == {"clip3"}
    assert clips(Where(to_s=2)) == {"clip5"}
    assert clips(Where(min_quality=0.4)) == {"clip4", "clip5"}


def test_top_says_what_it_leaves_out(location: Path, crowd: Crowd) -> None:
    answer = search(location, crowd.pictures(np.array([5])), top=2)
    assert (len(answer.found), answer.left_out) == (2, 1)


def test_other_appearances_of_a_found_person_come_along(tmp_path: Path, crowd: Crowd) -> None:
    vectors = crowd.pictures(np.array([1, 30, 2]))
    with IndexWriter(tmp_path) as writer:
        # Tracks 0 and 1 were grouped into one person, but only the first looks like the photo.
        writer.put([clip_of("a", vectors, face_ids=[0, 0, 1])])
    (found,) = search(tmp_path, crowd.pictures(np.array([1]))).found
    assert [(one.start_s, one.evidence) for one in found.match.appearances] == [(0, "photo"), (10, "person")]


def test_counts_are_of_the_latest_commit(tmp_path: Path, crowd: Crowd) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", crowd.pictures([1, 2]), names=["Ann", None])])
        index, ann = Index.open(tmp_path), Where(people=("Ann",))
        assert (index.count(), index.count(ann)) == (2, 1)
        writer.put([clip_of("b", crowd.pictures([1, 3, 4]), names=["Ann", "Ann", None])])
        assert (index.count(), index.count(ann)) == (5, 3)
        writer.delete(ann)
        assert (index.count(), index.count(ann)) == (2, 0)


def test_what_a_row_brings_along_is_what_was_put(tmp_path: Path, crowd: Crowd) -> None:
    name = 'Zoë "the \\ one" \U0001f600'
    rows = clip_of("ä", crowd.pictures([1]), people=["17"], names=[name], spans=[(1.25, 1e6 / 3)], quality=0.12345)
    with IndexWriter(tmp_path) as writer:
        writer.put([rows])
    table = Index.open(tmp_path)._of_model(MODEL)
    (row,) = table.rows("")
    assert row == {
        "clip_key": rows.entry.key,
        "kind": "track",
        "root": ROOT,
        "clip": "ä",
        "track_id": 0,
        "face_id": 0,
        "person_id": "17",
        "name": name,
        "start_s": 1.25,
        "end_s": 1e6 / 3,
        "faces": int(rows.faces[0]),
        "pts_s": rows.pts_s[0],
        "frame_num": int(rows.frame_num[0]),
        "face_num": int(rows.face_num[0]),
        "x1": 10.0,
        "y1": 20.0,
        "x2": 50.0,
        "y2": 70.0,
        "quality": pytest.approx(0.1234, abs=1.1e-4),
        "chip": rows.chip[0],
    }
    assert table.nearest(rows.vectors[0], "", 1)[0] == {**row, "similarity": pytest.approx(1, abs=1e-5)}


@pytest.mark.parametrize(("people", "rows_read"), [(40, 160), (6, 320)])
def test_strangers_are_many_people_not_many_rows(
    people: int, rows_read: int, tmp_path: Path, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch_trt.search.index.MOST_STRANGERS", 40)
    monkeypatch.setattr("facesearch_trt.search.index._SAMPLES", (4, 8))
    shown = np.arange(400) % people
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", crowd.pictures(shown), people=[str(person) for person in shown])])
    index, asked = Index.open(tmp_path), list[int]()
    table = index._of_model(MODEL)
    sample = table.sample
    monkeypatch.setattr(table, "sample", lambda count: asked.append(count) or sample(count))
    scores = index._stranger_scores(table, crowd.picture(0))
    assert asked[-1] == rows_read
    assert len(scores) >= 0.9 * people


def test_a_person_without_a_photo(location: Path) -> None:
    matches = Index.open(location).appearances(Where(people=("Ann",)))
    assert [(match.clip, match.appearances[0].start_s) for match in matches] == [
        ("clip3", 20),
        ("clip4", 4),
        ("clip5", 0),
    ]


def test_who_appears_together_with(location: Path) -> None:
    found = Index.open(location).together(Where(people=("5",)))
    # In clip 4 with 4 (4 to 6 s) and in clip 5 with 6 (4 to 6 s).
    assert [(one.person_id, one.seconds, one.clip) for one in found] == [("4", 2, "clip4"), ("6", 2, "clip5")]


def test_models_are_never_mixed(location: Path) -> None:
    index = Index.open(location)
    with pytest.raises(ModelError, match="asked for another-embedder; there is some-embedder"):
        index.search(Crowd(1).pictures(np.arange(1)), model="another-embedder", thresholds=THRESHOLDS)
    with pytest.raises(ValueError, match="query of shape"):
        index.search(Crowd(1, 64).pictures(np.arange(1)), model=MODEL, thresholds=THRESHOLDS)


def test_no_index_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no index.*facesearch index ROOT"):
        Index.open(tmp_path / "nowhere")


def test_many_threads_get_the_same_answers(location: Path, crowd: Crowd) -> None:
    index = Index.open(location)
    photos = crowd.pictures(np.arange(8))

    def ask(person: int) -> list[str]:
        answer = index.search(photos[person : person + 1], model=MODEL, thresholds=THRESHOLDS)
        return [found.match.clip for found in answer.found]

    alone = [ask(person) for person in range(8)]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(ask, list(range(8)) * 8)) == alone * 8


def test_the_approximate_index_finds_what_exact_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "APPROXIMATE_FROM_ROWS", 5000)
    crowd = Crowd(400, 64, seed=3)
    rng = np.random.default_rng(4)
    with IndexWriter(tmp_path) as writer:
        for start in range(0, 6000, 1500):
            writer.put([clip_of(f"clip{start}", crowd.pictures(rng.integers(0, 400, 1500)))])
        writer.tidy()
        # These come after the approximate index was built.
        writer.put([clip_of("late", crowd.pictures(np.arange(10)))])
    table = Index.open(tmp_path)._of_model(MODEL)
    assert table.has_approximate_index()
    agreed = 0
    for query in crowd.pictures(np.arange(10)):
        exact, quick = (table.nearest(query, "", 100, exact=exact) for exact in (True, False))
        agreed += len(
            {(row["clip"], row["track_id"]) for row in exact} & {(row["clip"], row["track_id"]) for row in quick}
        )
        assert any(row["clip"] == "late" for row in quick[:30])
        assert [row["similarity"] for row in quick] == sorted((row["similarity"] for row in quick), reverse=True)
    assert agreed >= 980


NASTY = [
    "a'b",
    "'; DROP TABLE x; --",
    'a"b',
    "a\\",
    "\\'",
    "100%",
    "_",
    "a\nb",
    "é☃😀",
    "''",
    "--",
    "/*",
    "$1",
    "{}",
    "?",
    "",
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5, unique=True))
@example(NASTY)
def test_names_may_be_anything(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    location = tmp_path_factory.mktemp("index")
    vector = Crowd(1, 16).pictures(np.arange(1))
    with IndexWriter(location) as writer:
        writer.put([clip_of(name, vector, names=[name], people=[f"p{name}"]) for name in names])
        index = Index.open(location)
        for name in names:
            assert [entry.clip for entry in index.clips(Where(clips=(name,)))] == [name]
            assert [match.name for match in index.appearances(Where(people=(name,)))] == [name]
            assert index.count(Where(people=(f"p{name}",))) == 1
        writer.delete(Where(clips=(names[0],)))
        assert len(writer.clips()) == len(names) - 1
    assert {entry.clip for entry in Index.open(location).clips()} == set(names[1:])

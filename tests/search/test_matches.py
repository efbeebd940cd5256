from __future__ import annotations

from typing import Any

from facesearch_trt.search.matches import matches_from_rows
from facesearch_trt.search.together import companions


def row(clip: str, track: int, face: int, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {
        "clip_key": 1,
        "kind": "track",
        "root": "/r",
        "clip": clip,
        "track_id": track,
        "face_id": face,
        "person_id": None,
        "name": None,
        "start_s": start,
        "end_s": end,
        "faces": 5,
        "pts_s": start,
        "frame_num": int(start * 30),
        "face_num": track,
        "x1": 0.0,
        "y1": 0.0,
        "x2": 9.0,
        "y2": 9.0,
        "quality": 0.5,
        "chip": "",
        **more,
    }


def test_tracks_of_one_person_near_in_time_are_one_appearance() -> None:
    rows = [row("a", 0, 3, 0, 2), row("a", 1, 3, 2.9, 4), row("a", 2, 3, 5.1, 6), row("a", 3, 4, 0, 6)]
    first, second = matches_from_rows(rows)
    assert [(one.start_s, one.end_s, one.track_ids, one.faces) for one in first.appearances] == [
        (0, 4, (0, 1), 10),
        (5.1, 6, (2,), 5),
    ]
    assert second.face_id == 4
    assert first.similarity is None
    assert first.appearances[0].evidence == "person"


def test_a_long_track_swallows_one_within_it() -> None:
    rows = [row("a", 0, 3, 0, 20), row("a", 1, 3, 1, 2), row("a", 2, 3, 10, 21)]
    (match,) = matches_from_rows(rows)
    assert [(one.start_s, one.end_s) for one in match.appearances] == [(0, 21)]


def test_the_most_similar_row_gives_similarity_and_picture() -> None:
    rows = [
        row("a", 0, 3, 0, 2, similarity=0.5, pts_s=0.1),
        row("a", 0, 3, 0, 2, similarity=0.7, pts_s=1.5, kind="face"),
        row("a", 1, 3, 9, 10),
        row("b", 0, 0, 0, 2, similarity=0.6),
    ]
    best, other = matches_from_rows(rows, least=0.55)
    assert (best.clip, best.similarity, best.best.picture.pts_s) == ("a", 0.7, 1.5)
    assert [one.evidence for one in best.appearances] == ["photo", "person"]
    assert [one.faces for one in best.appearances] == [5, 5], "a track counts once, however many of its rows were found"
    assert other.clip == "b"


def test_people_nobody_grouped_stay_apart() -> None:
    matches = matches_from_rows([row("a", 0, -1, 0, 2), row("a", 1, -1, 1, 2)])
    assert len(matches) == 2


def test_together_is_time_shared() -> None:
    rows = [
        row("a", 0, 0, 0, 10),
        row("a", 1, 1, 5, 7),
        row("a", 2, 1, 6, 12),
        row("a", 3, 2, 11, 12),
        row("b", 0, 0, 0, 4),
        row("b", 1, 1, 0, 4),
    ]
    (found,) = companions(rows, {("/r", "a", "0")})
    assert (found.clip, found.face_id, found.seconds) == ("a", 1, 5)
    assert [(one.start_s, one.end_s) for one in found.moments] == [(5, 10)]


def test_a_person_of_several_clips_is_one_companion() -> None:
    her, him = {"person_id": "1"}, {"person_id": "2", "name": "Ann"}
    rows = [
        row("b", 1, 5, 3, 4, **him),
        row("b", 0, 0, 0, 4, **her),
        row("a", 1, 1, 0, 4, **him),
        row("a", 0, 7, 2, 9, **her),
        row("a", 2, 3, 2, 9),
    ]
    stranger, ann = companions(rows, {("/r", "1")})
    assert (ann.person_id, ann.name, ann.clip, ann.seconds) == ("2", "Ann", "a", 3)
    assert [(one.clip, one.start_s, one.end_s) for one in ann.moments] == [("a", 2, 4), ("b", 3, 4)]
    assert (stranger.person_id, stranger.clip, stranger.face_id, stranger.seconds) == (None, "a", 3, 7)

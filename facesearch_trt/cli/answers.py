"""What was found, as text, JSON or CSV."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ..exporting import called
from ..people.clips import OUTPUT_SUFFIX
from ..search.confidence import Odds
from ..search.index import Answer, Found, Index
from ..search.matches import Appearance, Match
from ..search.moments import PLAYERS, clock, moment_link, play_command
from ..search.together import Companion
from .text import safe

__all__ = [
    "CSV_COLUMNS",
    "Form",
    "Sources",
    "csv_rows",
    "label_of",
    "print_answer",
    "print_companions",
    "print_matches",
]

Form = Literal["text", "json", "csv"]

CSV_COLUMNS = (
    "root",
    "clip",
    "face_id",
    "person_id",
    "name",
    "start_s",
    "end_s",
    "faces",
    "similarity",
    "one_in",
    "evidence",
    "picture_s",
    "frame_num",
    "x1",
    "y1",
    "x2",
    "y2",
    "quality",
    "chip",
    "link",
)
"""A row is one appearance; ``picture_s`` to ``chip`` are its best picture."""


class Sources:
    """Where the video of each clip of an index lies."""

    def __init__(self, index: Index | None = None, sources: dict[tuple[str, str], str] | None = None) -> None:
        entries = index.clips() if index is not None else []
        self._sources = sources or {(entry.root, entry.clip): entry.source for entry in entries}
        self._player = next((player for player in PLAYERS if shutil.which(player)), None)

    def video(self, match: Match) -> str | None:
        """Return the path of a match's video; None where it is gone, or the clip is a folder of images."""
        source = self._sources.get((match.root, match.clip), "")
        return source if source and Path(source).is_file() else None

    def link(self, match: Match, start_s: float) -> str | None:
        """Return a link that opens the video at a time."""
        video = self.video(match)
        return None if video is None else moment_link(video, start_s)

    def play(self, match: Match, start_s: float) -> str | None:
        """Return a command line for the player that this machine has."""
        video = self.video(match)
        return None if video is None or self._player is None else play_command(self._player, video, start_s)


def print_answer(answer: Answer, sources: Sources, form: Form) -> int:
    """Print what a search by photo found; return the exit status."""
    if form == "json":
        _print_json(
            {
                "verdict": answer.verdict,
                "model": answer.model,
                "least_similarity": answer.least_similarity,
                "tracks_searched": answer.searched,
                "found": [_found(one, sources) for one in answer.found],
                "left_out": answer.left_out,
                "nearest": None if answer.nearest is None else _found(answer.nearest, sources),
                "warnings": list(answer.warnings),
            }
        )
    elif form == "csv":
        _print_csv(row for one in answer.found for row in csv_rows(one.match, sources, one.odds))
    else:
        _print_answer(answer, sources)
    return 0


def print_matches(matches: Sequence[Match], sources: Sources, form: Form) -> int:
    """Print the appearances of people who were asked for by id or name; return the exit status."""
    if form == "json":
        _print_json([_match(match, sources) for match in matches])
    elif form == "csv":
        _print_csv(row for match in matches for row in csv_rows(match, sources, None))
    elif not matches:
        print("nobody of this id or name is in the index; `facesearch people ROOT` lists everybody")
    else:
        for match in matches:
            print(f"{safe(label_of(match))} in {safe(match.clip)}")
            _print_appearances(match, sources)
    return 0


def print_companions(found: Sequence[Companion], form: Form) -> int:
    """Print who appears together with somebody; return the exit status."""
    if form == "json":
        _print_json(
            [
                {
                    "root": one.root,
                    "person_id": one.person_id,
                    "name": one.name,
                    "clip": one.clip,
                    "face_id": one.face_id,
                    "seconds": round(one.seconds, 3),
                    "moments": [{"clip": at.clip, "start_s": at.start_s, "end_s": at.end_s} for at in one.moments],
                }
                for one in found
            ]
        )
    elif form == "csv":
        rows = (
            (one.root, one.person_id, one.name, one.clip, one.face_id, at.clip, f"{at.start_s:.3f}", f"{at.end_s:.3f}")
            for one in found
            for at in one.moments
        )
        columns = ("root", "person_id", "name", "first_clip", "face_id", "clip", "start_s", "end_s")
        _write_csv(columns, rows)
    elif not found:
        print("nobody")
    else:
        for one in found:
            who = called(one.name, one.person_id, one.face_id, number=True)
            where = f" in {safe(one.clip)}" if one.person_id is None else ""
            print(f"{safe(who)}{where}: {one.seconds:.1f} s in {len({at.clip for at in one.moments})} clips")
            for at in one.moments:
                print(f"  {safe(at.clip)}  {clock(at.start_s)} to {clock(at.end_s)}")
    return 0


def label_of(match: Match) -> str:
    """Return what a person is called, with the number that commands take."""
    return called(match.name, match.person_id, match.face_id, number=True)


def csv_rows(match: Match, sources: Sources, odds: Odds | None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of :data:`CSV_COLUMNS`, one for each appearance; ``one_in`` is that of the match's best."""
    for one in match.appearances:
        picture = one.picture
        yield (
            match.root,
            match.clip,
            match.face_id,
            match.person_id,
            match.name,
            f"{one.start_s:.3f}",
            f"{one.end_s:.3f}",
            one.faces,
            None if one.similarity is None else f"{one.similarity:.4f}",
            None if odds is None else f"{odds.one_in:.0f}",
            one.evidence,
            f"{picture.pts_s:.3f}",
            picture.frame_num,
            *(f"{side:.2f}" for side in picture.box),
            f"{picture.quality:.4f}",
            _chip(match, one),
            sources.link(match, one.start_s),
        )


def _print_answer(answer: Answer, sources: Sources) -> None:
    if answer.verdict == "nobody":
        print(
            f"nobody: none of {answer.searched:,} tracks reaches similarity {answer.least_similarity:.3f} ({answer.model})"
        )
        if answer.nearest is not None:
            match = answer.nearest.match
            print(
                f"nearest: {safe(label_of(match))} in {safe(match.clip)} with {match.similarity or 0:.3f},"
                f" which {answer.nearest.odds.words()} would reach, too"
            )
            _print_appearances(match, sources)
        return
    print(f"searched {answer.searched:,} tracks for similarity {answer.least_similarity:.3f} and more ({answer.model})")
    if answer.verdict == "uncertain":
        print("uncertain: among so many faces a stranger is expected to come as near as the best one here")
    for one in answer.found:
        similarity = one.match.similarity or 0
        print(
            f"{safe(label_of(one.match))} in {safe(one.match.clip)}: similarity {similarity:.3f};"
            f" {one.odds.words()} would score this"
        )
        _print_appearances(one.match, sources)
    if answer.left_out:
        print(f"... and {answer.left_out} more; see them with --top {len(answer.found) + answer.left_out}")


def _print_appearances(match: Match, sources: Sources) -> None:
    for one in match.appearances:
        similarity = f"  {one.similarity:.3f}" if one.similarity is not None else ""
        if one.similarity is None and match.similarity is not None:
            similarity = "  same person in this clip"
        print(f"  {clock(one.start_s)} to {clock(one.end_s)}{similarity}")
        chip = _chip(match, one)
        if chip:
            print(f"    picture: {safe(chip)}")
        way = sources.play(match, one.start_s) or sources.link(match, one.start_s)
        if way:
            print(f"    play: {safe(way)}")


def _chip(match: Match, one: Appearance) -> str | None:
    return str(Path(match.root) / f"{match.clip}{OUTPUT_SUFFIX}" / one.picture.chip) if one.picture.chip else None


def _found(one: Found, sources: Sources) -> dict[str, Any]:
    odds = one.odds
    return {
        **_match(one.match, sources),
        "confidence": {
            "one_in": round(odds.one_in, 1),
            "at_least": odds.at_least,
            "words": odds.words(),
            "chance_hits": round(odds.chance_hits, 6),
            "basis": odds.basis,
        },
    }


def _match(match: Match, sources: Sources) -> dict[str, Any]:
    return {
        "root": match.root,
        "clip": match.clip,
        "face_id": match.face_id,
        "person_id": match.person_id,
        "name": match.name,
        "similarity": _rounded(match.similarity),
        "video": sources.video(match),
        "appearances": [
            {
                "start_s": one.start_s,
                "end_s": one.end_s,
                "faces": one.faces,
                "track_ids": list(one.track_ids),
                "similarity": _rounded(one.similarity),
                "evidence": one.evidence,
                "picture": {
                    "pts_s": one.picture.pts_s,
                    "frame_num": one.picture.frame_num,
                    "face_num": one.picture.face_num,
                    "box": [round(side, 2) for side in one.picture.box],
                    "quality": round(one.picture.quality, 4),
                    "chip": _chip(match, one),
                },
                "link": sources.link(match, one.start_s),
                "play": sources.play(match, one.start_s),
            }
            for one in match.appearances
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))


def _print_csv(rows: Iterable[tuple[Any, ...]]) -> None:
    _write_csv(CSV_COLUMNS, rows)


def _write_csv(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)

"""``facesearch export``: results in the forms of other programs."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..config import Options
from ..drawing import Blur, write_drawn_video
from ..errors import InputError, OptionError, StoreError
from ..exporting import TABLES, ClipExport, clips_to_export
from ..graph.inputs import EXPORTS_DIRECTORY, find_clips
from ..indexing import read_people
from ..people.corrections import person_number
from ..people.files import read_names
from ..search.edl import edl_lines
from ..search.subtitles import cues, srt_lines, vtt_lines
from ..search.tabular import write_json, write_parquet
from ..store.files import storing
from ..wiring import Tools

__all__ = ["register"]

_HELP = """\
facesearch export ROOT --format parquet json     all tables over all clips: clips, frames, shots, faces, tracks, appearances
facesearch export ROOT --format csv              who is on screen when: one row for each appearance
facesearch export ROOT --format srt vtt          the same as subtitles, beside each video: CLIP.faces.srt
facesearch export ROOT --format edl              the same as a cut of the moments, one edit list for each clip
facesearch export ROOT --format annotated        each video with boxes and names drawn into it: CLIP.annotated.mp4
facesearch export ROOT --format blurred          each video with all people made unrecognisable: CLIP.blurred.mp4
  --except ID|NAME ...                           all but these
  --only ID|NAME ...                             only these"""

_PER_CLIP = ("srt", "vtt", "edl")
_DRAWN = ("annotated", "blurred")
_FORMATS = ("parquet", "json", "csv", *_PER_CLIP, *_DRAWN)


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "export",
        help="write results as Parquet, JSON, CSV, subtitles or edit lists",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="facesearch export ROOT --format FORM [FORM ...] [options]",
    )
    root = parser.add_argument("root", type=Path, metavar="ROOT", help="directory whose clips were processed")
    # Where it comes last, an option that takes several values has taken it: see _root_and_forms.
    root.required = False
    parser.add_argument(
        "--format",
        nargs="+",
        action="extend",
        required=True,
        metavar="FORM",
        help=f"one or several of: {', '.join(_FORMATS)}",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write [subtitles: beside the videos; else: ROOT/exports]"
    )
    parser.add_argument("--clip", action="append", default=[], metavar="NAME", help="only this clip; may be repeated")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="only this table; may be repeated")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID|NAME",
        help="with blurred: make only these people unrecognisable",
    )
    whom.add_argument(
        "--except",
        dest="but",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID|NAME",
        help="with blurred: make all people unrecognisable but these",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    parser.set_defaults(call=_export)


def _export(args: argparse.Namespace) -> int:
    root = args.root = _settled_root(args)
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give a ROOT whose clips were processed.")
    blur = _blur(args)
    clips = clips_to_export(root, read_people(root), args.clip)
    others: Path = args.output or root / EXPORTS_DIRECTORY
    for form in dict.fromkeys(args.format):
        if form in ("parquet", "json"):
            _directory(others)
            write = write_parquet if form == "parquet" else write_json
            for name in args.table or TABLES:
                _say(
                    others / f"{name}.{form}",
                    write(others / f"{name}.{form}", TABLES[name].columns, TABLES[name].rows(clips)),
                )
        elif form in _DRAWN:
            _directory(others)
            _write_drawn(root, clips, others, form, blur, named=bool(args.clip))
        elif form == "csv":
            _directory(others)
            _write_csv(others / "appearances.csv", clips)
        else:
            directory = args.output or (others if form == "edl" else root)
            _directory(directory)
            for clip in clips:
                _write_lines(directory / f"{clip.name}.faces.{form}", _LINES[form](clip))
            print(f"{directory}: {len(clips)} files named CLIP.faces.{form}")
    return 0


def _settled_root(args: argparse.Namespace) -> Path:
    """Return ROOT, also where an option before it took it for one of its values, and check the forms."""
    root: Path | None = args.root
    if root is None:
        people = args.only or args.but
        taken = args.format if args.format[-1] not in _FORMATS else people
        if len(taken) < 2:
            raise OptionError("no ROOT", where="export", remedy="Use: facesearch export ROOT --format FORM [FORM ...]")
        root = Path(taken.pop())
    wrong = [form for form in args.format if form not in _FORMATS]
    if wrong:
        raise OptionError("no such form", where="--format", asked=", ".join(wrong), found=", ".join(_FORMATS))
    return root


def _srt(clip: ClipExport) -> Iterable[str]:
    return srt_lines(cues(clip.on_screen()))


def _vtt(clip: ClipExport) -> Iterable[str]:
    return vtt_lines(cues(clip.on_screen()))


def _edl(clip: ClipExport) -> Iterable[str]:
    return edl_lines(f"{clip.name} faces", clip.video(), clip.on_screen(), clip.fps())


_LINES: dict[str, Callable[[ClipExport], Iterable[str]]] = {"srt": _srt, "vtt": _vtt, "edl": _edl}


def _blur(args: argparse.Namespace) -> Blur:
    if (args.only or args.but) and "blurred" not in args.format:
        raise OptionError("--only and --except go with --format blurred", where="export")
    named = read_names(args.root)
    people = set()
    for text in args.only or args.but:
        same = {person.person_id for person in named if person.name == text}
        people |= same or {person_number(args.root, text)}
    return Blur("only" if args.only else "except" if args.but else "all", frozenset(people))


def _write_drawn(
    root: Path, clips: Sequence[ClipExport], directory: Path, form: str, blur: Blur, *, named: bool
) -> None:
    sources = {clip.name: clip for clip in find_clips(root)}
    with Tools(Options()) as tools:
        for clip in clips:
            source = sources.get(clip.name)
            if source is None or source.kind != "video":
                if named:
                    raise InputError("there is no video of this clip", where=root, asked=clip.name)
                print(f"{clip.name}: no video, left out")
                continue
            path = directory / f"{clip.name}.{form}.mp4"
            count = write_drawn_video(clip, source, path, tools, blur=blur if form == "blurred" else None)
            print(f"{path}: {count:,} frames", flush=True)


def _write_csv(path: Path, clips: Sequence[ClipExport]) -> None:
    table = TABLES["appearances"]
    count = 0
    partial = path.with_name(f".{path.name}.partial")
    try:
        with storing(path.parent), partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table.columns)
            for row in table.rows(clips):
                cells = zip(row, table.columns.values(), strict=True)
                writer.writerow(
                    [
                        f"{value:.4f}" if kind.startswith("float") and value is not None else value
                        for value, kind in cells
                    ]
                )
                count += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _say(path, count)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with storing(path.parent), partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError("cannot be made", where=path, found=error.strerror, remedy="Give another --output.") from error


def _say(path: Path, rows: int) -> None:
    print(f"{path}: {rows:,} rows")

"""``facesearch index``: what is new or changed in some ROOTs goes into the index, what is gone goes out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..indexing import Update, default_index, root_name, update_index
from ..search.index import Index
from ..search.where import Where
from ..search.writer import IndexWriter, Removed

__all__ = ["add_index_flag", "index_location", "register"]

_HELP = """\
facesearch index ROOT [ROOT ...]        bring the index up to date with the results of these directories
facesearch index --list                 list the clips of the index
facesearch index --forget ROOT          take all clips of a directory out of the index
facesearch index --forget-clip NAME     take clips of this name out
facesearch index --purge                remove what redone clips left in the index's files

Only new and changed clips are read. A clip that is not in its ROOT any more leaves the index."""


def add_index_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--index``."""
    parser.add_argument(
        "--index",
        metavar="DIR",
        help=f"directory of the index, or an object store's URI as s3://bucket/path [{default_index()}]",
    )


def index_location(args: argparse.Namespace) -> str:
    """Return the index that was asked for, or the usual one."""
    return str(args.index) if args.index else str(default_index())


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "index",
        help="make results searchable: bring the index up to date",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("roots", nargs="*", type=Path, metavar="ROOT", help="directory whose clips were processed")
    add_index_flag(parser)
    parser.add_argument(
        "--wait", type=float, default=600.0, metavar="S", help="seconds to wait for another writer [600]"
    )
    parser.add_argument("--list", action="store_true", help="list the clips of the index")
    parser.add_argument("--forget", type=Path, metavar="ROOT", help="take all clips of a directory out of the index")
    parser.add_argument("--forget-clip", metavar="NAME", help="take clips of this name out of the index")
    parser.add_argument(
        "--purge", action="store_true", help="write the index's files anew, without any row of the past"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    parser.set_defaults(call=_index)


def _index(args: argparse.Namespace) -> int:
    location = index_location(args)
    if args.list:
        return _list(location, as_json=args.json)
    forget = args.forget is not None or args.forget_clip is not None
    if not args.roots and not forget and not args.purge:
        raise OptionError("no ROOT", where="index", remedy="Use: facesearch index ROOT [ROOT ...], or see --help.")
    if forget or args.purge:
        # Neither makes an index that is not there.
        Index.open(location)
    status = 0
    with IndexWriter(location, wait_s=args.wait) as writer:
        if args.forget is not None:
            _say_removed(writer.delete(Where(roots=(root_name(args.forget),))), str(args.forget), as_json=args.json)
        if args.forget_clip is not None:
            _say_removed(writer.delete(Where(clips=(args.forget_clip,))), args.forget_clip, as_json=args.json)
        if args.roots:
            update = update_index(writer, args.roots, on_batch=None if args.json else _progress)
            _say(update, location, as_json=args.json)
            status = int(bool(update.failed))
        if args.purge:
            writer.erase()
    return status


def _progress(done: int, total: int) -> None:
    if sys.stdout.isatty():
        print(f"\r{done} of {total} clips", end="" if done < total else "\n", flush=True)
    elif done < total:
        print(f"{done} of {total} clips", flush=True)


def _say(update: Update, location: str, *, as_json: bool) -> None:
    if as_json:
        outcome = {
            "index": location,
            "added": update.added,
            "replaced": update.replaced,
            "unchanged": update.unchanged,
            "unfinished": update.unfinished,
            "removed_clips": update.removed.clips,
            "rows_written": update.rows,
            "failed": [{"clip": clip, "reason": reason} for clip, reason in update.failed],
        }
        print(json.dumps(outcome, indent=2))
        return
    counts = {
        "added": len(update.added),
        "replaced": len(update.replaced),
        "unchanged": update.unchanged,
        "removed, as they are not there any more": update.removed.clips,
        "not finished": len(update.unfinished),
        "failed": len(update.failed),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    print(f"{location}: clips: {', '.join(parts) or 'none'}")
    for clip in update.unfinished:
        print(f"  {clip}: not all steps are done, run run_pipeline.py on it")
    for clip, reason in update.failed:
        print(f"  {clip}: FAILED: {reason}")


def _say_removed(removed: Removed, what: str, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"removed_clips": removed.clips, "removed_tracks": removed.tracks, "removed_rows": removed.rows})
        )
    elif removed.rows:
        print(
            f"{what}: removed {removed.clips} clips with {removed.tracks} tracks from the index; their results stay where they are"
        )
    else:
        print(f"{what}: the index has nothing of it")


def _list(location: str, *, as_json: bool) -> int:
    entries = Index.open(location).clips()
    if as_json:
        rows = [
            {
                "root": entry.root,
                "clip": entry.clip,
                "source": entry.source,
                "model": entry.model,
                "start_s": entry.start_s,
                "end_s": entry.end_s,
            }
            for entry in entries
        ]
        print(json.dumps(rows, indent=2))
    else:
        for entry in entries:
            print(f"{entry.root}/{entry.clip}  {entry.model}  {entry.end_s - entry.start_s:.1f} s")
    return 0

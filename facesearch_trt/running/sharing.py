"""Which clips of a run are this process's, where several share a ROOT without knowing of one another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import OptionError
from ..types import Clip

__all__ = ["parse_shard", "shard_of"]


def parse_shard(text: str) -> tuple[int, int]:
    """Return ``i/n`` as (i, n), 1 ≤ i ≤ n. Raises OptionError."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise OptionError(
            "not a share of a run",
            where="--shard",
            asked=text,
            found="it takes I/N with I from 1 to N",
            remedy="Of 8 jobs the first is --shard 1/8, the last --shard 8/8.",
        )
    return int(index), int(count)


def shard_of(clips: Sequence[Clip], index: int, count: int) -> list[Clip]:
    """Return the clips of share ``index`` (from 1) of ``count``.

    A clip's name alone decides, so that jobs which start hours apart agree, whatever was added in between.
    """
    return [clip for clip in clips if _number(clip.name) % count == index - 1]


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big")

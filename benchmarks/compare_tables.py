"""The tables of compare.py in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """One contender on one clip, once."""

    process_s: float
    work_s: float
    peak_mb: float
    frames: int
    faces: int
    score: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)


def span(values: Sequence[float]) -> str:
    """Return the median and, of several, the least and the most."""
    middle = f"{statistics.median(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"


def table(clip: str, results: Mapping[str, Sequence[Result]], missing: Mapping[str, str]) -> list[str]:
    """Return a clip's table in Markdown.

    The last column is the median, run by run, of the contender's end-to-end time over that of the first one.
    """
    lines = [
        f"### {clip}",
        "",
        "| | end to end, s | the clip's work, s | frames/s of it | peak memory, MB | faces | recall | BCubed F "
        "| identities (people among them) | end to end against the first |",
        "|-|-|-|-|-|-|-|-|-|-|",
    ]
    first = next((runs for name, runs in results.items() if runs and name not in missing), ())
    for name, runs in results.items():
        if not runs or name in missing:
            lines.append(f"| {name} | missing: {missing.get(name, 'not run')} | | | | | | | | |".replace("\n", " "))
            continue
        work = statistics.median(one.work_s for one in runs)
        score = runs[-1].score
        told = [f"{score[key]:.3f}" if score.get(key) is not None else "–" for key in ("recall", "bcubed_f")]
        people = f"{score['identities']} ({score['people']})" if score else "–"
        ratio = statistics.median(one.process_s / base.process_s for one, base in zip(runs, first, strict=True))
        lines.append(
            f"| {name} | {span([one.process_s for one in runs])} | {span([one.work_s for one in runs])} "
            f"| {runs[-1].frames / work:.1f} | {statistics.median(one.peak_mb for one in runs):.0f} | {runs[-1].faces} "
            f"| {told[0]} | {told[1]} | {people} | {ratio:.2f} |"
        )
    return [*lines, ""]


def time_table(results: Mapping[str, Sequence[Result]], networks: Mapping[str, Sequence[float]]) -> list[str]:
    """Return where this program's time goes, in Markdown: medians in s, one column per pack."""
    packs = [pack for pack in networks if networks[pack] and results.get(f"facesearch {pack}")]
    runs = {pack: results[f"facesearch {pack}"] for pack in packs}
    rows = [("end to end", {p: statistics.median(one.process_s for one in runs[p]) for p in packs})]
    rows += [
        ("start, loading, report", {p: statistics.median(one.process_s - one.work_s for one in runs[p]) for p in packs})
    ]
    work = {p: statistics.median(one.work_s for one in runs[p]) for p in packs}
    rows += [("the clip's work", work)]
    for stage in dict.fromkeys(stage for pack in packs for one in runs[pack] for stage in one.stages):
        rows += [
            (f"&nbsp; {stage}", {p: statistics.median(one.stages.get(stage, 0.0) for one in runs[p]) for p in packs})
        ]
    alone = {p: statistics.median(networks[p]) for p in packs}
    lines = ["| s | " + " | ".join(packs) + " |", "|-|" + "-|" * len(packs)]
    lines += [f"| {name} | " + " | ".join(f"{values[p]:.2f}" for p in packs) + " |" for name, values in rows]
    lines.append("| networks alone, on all cores | " + " | ".join(f"{alone[p]:.2f}" for p in packs) + " |")
    lines.append(
        "| networks alone, of the clip's work | "
        + " | ".join(f"{100 * alone[p] / work[p]:.0f} %" for p in packs)
        + " |"
    )
    return [*lines, ""]

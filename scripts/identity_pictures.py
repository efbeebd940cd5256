#!/usr/bin/env python3
"""Draw how a clip's people were decided: its tracks over time, and how alike its faces are.

python scripts/identity_pictures.py CLIP.pipeline OUT [--pairs 200000]

OUT gets ``identity_timeline.png``: a line for each track, in the colour of its face_id, cuts as grey lines; a thick part has
faces, a thin one bridges a gap. And ``identity_histogram.png``: the cosines of pairs of faces, of one face_id in different
tracks and of two face_ids, with the two thresholds of the embedder. Both need the results of all steps; a clip that
anybody can make is ``facesearch demo``'s.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from facesearch_trt.identity.scale import unit
from facesearch_trt.models.catalogue import load_catalogue
from facesearch_trt.store import ClipStore

COLOURS = [(180, 90, 20), (40, 40, 200), (60, 140, 40), (160, 40, 140), (20, 140, 200), (120, 120, 20), (90, 90, 90)]
"""BGR of face_ids, over and over."""
GREY, DARK = (215, 215, 215), (60, 60, 60)


def text(picture: np.ndarray, what: str, x: int, y: int, colour: tuple[int, int, int] = DARK) -> None:
    """Write a line of text."""
    cv2.putText(picture, what, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.48, colour, 1, cv2.LINE_AA)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def timeline(directory: Path) -> np.ndarray:
    """Return the picture of a clip's tracks."""
    faces = rows_of(directory / "faces.csv")
    seconds = {int(row["frame_num"]): float(row["pts_s"]) for row in rows_of(directory / "frames.csv")}
    first, last = min(seconds.values()), max(seconds.values())
    tracks: dict[int, list[dict[str, str]]] = {}
    for face in faces:
        tracks.setdefault(int(face["track_id"]), []).append(face)
    order = sorted(tracks, key=lambda track: (int(tracks[track][0]["face_id"]), track))
    left, width, height, step = 190, 1000, 22, 1 if len(seconds) < 2 else 2
    picture = np.full((70 + height * len(order), width, 3), 255, np.uint8)

    def x(time: float) -> int:
        return round(left + (time - first) / max(last - first, 1e-6) * (width - left - 30))

    for shot in rows_of(directory / "shots.csv"):
        at = x(float(shot["start_s"]))
        cv2.line(picture, (at, 12), (at, len(picture) - 40), GREY, 1)
    for tick in np.linspace(first, last, 9):
        text(picture, f"{tick:.1f} s", min(x(float(tick)) - 16, width - 50), len(picture) - 18)
    for line, track in enumerate(order):
        y = 28 + height * line
        face_id = int(tracks[track][0]["face_id"])
        colour = COLOURS[face_id % len(COLOURS)]
        text(picture, f"face_id {face_id}  track {track}", 8, y + 5, colour)
        numbers = [int(face["frame_num"]) for face in tracks[track]]
        cv2.line(picture, (x(seconds[numbers[0]]), y), (x(seconds[numbers[-1]]), y), colour, 1)
        for one, other in zip(numbers, numbers[1:] or numbers, strict=False):
            if other - one <= step:
                cv2.line(picture, (x(seconds[one]), y), (x(seconds[other]), y), colour, 9)
    return picture


def histogram(directory: Path, pairs: int) -> np.ndarray:
    """Return the picture of the cosines of a clip's faces."""
    store = ClipStore(directory)
    track_ids, face_ids = store.load_identity()
    vectors = unit(
        np.concatenate(
            [
                frame.faces.embeddings
                for frame in store.load_faces(with_chips=False, with_embeddings=True)
                if len(frame.faces)
            ]
        )
    )
    record = store.record()
    assert record is not None
    entry = load_catalogue().embedder(record.models["embedder"].name)
    random = np.random.default_rng(0)
    one, other = random.integers(0, len(vectors), (2, pairs))
    cosines = np.einsum("ij,ij->i", vectors[one], vectors[other])
    kinds = {
        "one face_id, two tracks": (face_ids[one] == face_ids[other]) & (track_ids[one] != track_ids[other]),
        "two face_ids": face_ids[one] != face_ids[other],
    }
    left, width, height, bottom = 40, 1000, 420, 60
    picture = np.full((height, width, 3), 255, np.uint8)
    low = max(float(cosines.min()) - 0.02, -1)
    edges = np.linspace(low, 1, 121)

    def x(cosine: float) -> int:
        return round(left + (cosine - low) / (1 - low) * (width - left - 30))

    for place, (name, those) in enumerate(kinds.items()):
        colour = COLOURS[place]
        counts = np.histogram(cosines[those], edges)[0]
        tops = height - bottom - np.round(counts / max(counts.max(), 1) * (height - bottom - 70)).astype(int)
        for a, b, top in zip(edges, edges[1:], tops, strict=False):
            if top < height - bottom:
                cv2.rectangle(picture, (x(a), int(top)), (x(b) - 1, height - bottom), colour, -1 if place else 1)
        text(picture, f"{name}: {int(those.sum())} pairs", left + 4, 24 + 22 * place, colour)
    for threshold, name, y in ((entry.similarity, "similarity", 24), (entry.similarity_strict, "strict", 46)):
        cv2.line(picture, (x(threshold), 10), (x(threshold), height - bottom), (60, 140, 40), 1, cv2.LINE_AA)
        text(picture, f"{name} {threshold:g}", x(threshold) + 5 if name == "strict" else x(threshold) - 130, y)
    for tick in np.linspace(low, 1, 9):
        text(picture, f"{tick:.2f}", x(float(tick)) - 16, height - bottom + 22)
    text(picture, f"cosine of two faces, {entry.name}", width // 2 - 120, height - 10)
    return picture


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path), parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=200_000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out / "identity_timeline.png"), timeline(args.directory))
    cv2.imwrite(str(args.out / "identity_histogram.png"), histogram(args.directory, args.pairs))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Draw a clip's people: a row of chips for each face_id, from the first to the last face.

python scripts/people_picture.py CLIP.pipeline PICTURE.png [--chips 10] [--size 96]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("directory", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--chips", type=int, default=10)
parser.add_argument("--size", type=int, default=96)
args = parser.parse_args()

people: dict[int, list[str]] = {}
with (args.directory / "faces.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        people.setdefault(int(row["face_id"]), []).append(row["file"])

label = 110
sheet = np.full((len(people) * (args.size + 6), label + args.chips * (args.size + 6), 3), 255, np.uint8)
for line, (face_id, chips) in enumerate(sorted(people.items())):
    top = line * (args.size + 6) + 3
    for text, y in ((f"face_id {face_id}", 0.45), (f"{len(chips)} faces", 0.7)):
        cv2.putText(
            sheet, text, (4, top + int(args.size * y)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA
        )
    for column, index in enumerate(np.linspace(0, len(chips) - 1, min(args.chips, len(chips))).astype(int)):
        chip = cv2.resize(
            cv2.imread(str(args.directory / chips[index])), (args.size, args.size), interpolation=cv2.INTER_AREA
        )
        left = label + column * (args.size + 6)
        sheet[top : top + args.size, left : left + args.size] = chip
cv2.imwrite(str(args.picture), sheet)

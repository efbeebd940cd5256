#!/usr/bin/env python3
"""The loops that compare.py runs in other libraries' Pythons: a clip in, faces with an identity each out.

    PYTHON benchmarks/compare_peers.py {insightface,face_recognition,deepface} CLIP WORK [--outputs all|tables] [--models DIR]

Needs the library, OpenCV and numpy, and nothing of this program. Each loop is the one that the library's users write: OpenCV's
VideoCapture, one frame at a time, the library's defaults. None of the libraries gives people over a clip, so each gets the grouping
of its users: a face belongs to the first known person whose first face is within the library's own recommended threshold, else it is
a new person. Only the "known person" part of that is kept in memory.

- ``insightface``: InsightFace's ``FaceAnalysis`` loads detectors of its own architectures only, and YuNet is none of them. So this is
  the body of ``FaceAnalysis.get`` with YuNet in the detector's place: ``yunet_n.onnx`` in ONNX Runtime, shrunk to a longer side of 640
  px at most and padded to multiples of 32, score 0.5 (``FaceAnalysis.prepare``'s ``det_thresh``), decoded and thinned out as YuNet's
  authors say; then InsightFace's own ``face_align.norm_crop`` and ``ArcFaceONNX.get_feat`` on ``mobilefacenet_arcface_y1.onnx``, face
  by face. The second look at 128 px that ``FaceAnalysis`` takes by default is left out, in its favour. Threshold: cosine 0.4, the
  default of InsightFace's own program (``gui/core/constants.py``).
- ``face_recognition``: ``face_locations`` (HOG, scaled up once, as it comes), ``face_encodings``; Euclidean distance 0.6, the default
  of its ``compare_faces``.
- ``deepface``: ``DeepFace.represent`` with its detector ``centerface`` and its model ``Dlib``, the networks of this program's pack
  ``open``, aligned and embedded in deepface's way; cosine distance by its ``find_threshold``. Its weights are looked for below
  ``DEEPFACE_HOME``.

Writes WORK/faces.csv (frame_num, x1, y1, x2, y2, face_id) and WORK/embeddings.npy, with ``--outputs all`` also every frame and every
face as PNG. Prints one line of JSON: ``work_s`` (wall time from the opened clip to the last written file; imports and loading of
networks left out), ``frames``, ``faces``.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Face = tuple[list[float], Any, Any]
"""Box x1 y1 x2 y2 in px, vector, picture of the face (uint8 [H, W, 3] BGR)."""
Finder = Callable[[Any], list[Face]]
Apart = Callable[[Any, Any], Any]
"""Distances of one vector [D] from several [N, D]."""


class FirstKnown:
    """Greedy grouping: the first known person within the threshold, else a new one."""

    def __init__(self, apart: Apart, threshold: float) -> None:
        self._apart, self._threshold = apart, threshold
        self._known: list[Any] = []

    def person(self, vector: Any) -> int:
        """Return the number of the person, from 0."""
        if self._known:
            (near,) = np.nonzero(self._apart(np.asarray(vector), np.stack(self._known)) <= self._threshold)
            if len(near):
                return int(near[0])
        self._known.append(np.asarray(vector))
        return len(self._known) - 1


def euclidean(one: Any, others: Any) -> Any:
    """Return Euclidean distances."""
    return np.linalg.norm(others - one, axis=1)


def cosine(one: Any, others: Any) -> Any:
    """Return 1 less the cosine."""
    return 1 - others @ one / (np.linalg.norm(others, axis=1) * np.linalg.norm(one))


def yunet_faces(outputs: dict[str, Any], width: int, least: float) -> tuple[Any, Any]:
    """Decode YuNet's heads for one image: boxes float [N, 4] x1 y1 x2 y2 and landmarks [N, 5, 2], px of its input.

    ``width`` is that of the input. Formula: libfacedetection.train, as in OpenCV's ``FaceDetectorYN``; NMS at IoU 0.3.
    """
    boxes, marks, scores = [], [], []
    for stride in (8, 16, 32):
        score = np.sqrt(outputs[f"cls_{stride}"][0, :, 0] * outputs[f"obj_{stride}"][0, :, 0])
        (places,) = np.nonzero(score >= least)
        rows, columns = np.divmod(places, width // stride)
        corner = np.stack([columns, rows], 1).astype(np.float32)
        box, mark = outputs[f"bbox_{stride}"][0, places], outputs[f"kps_{stride}"][0, places]
        middle, size = (corner + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
        boxes.append(np.hstack([middle - size / 2, middle + size / 2]))
        marks.append((corner[:, None] + mark.reshape(-1, 5, 2)) * stride)
        scores.append(score[places])
    box, mark = np.concatenate(boxes), np.concatenate(marks)
    corners_sizes = np.hstack([box[:, :2], box[:, 2:] - box[:, :2]])
    kept = np.array(cv2.dnn.NMSBoxes(corners_sizes.tolist(), np.concatenate(scores).tolist(), least, 0.3), int).ravel()
    return box[kept], mark[kept]


def insightface(models: Path) -> tuple[Finder, FirstKnown]:
    """Return InsightFace's loop with YuNet as its detector."""
    import onnxruntime
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.utils.face_align import norm_crop

    providers = ["CPUExecutionProvider"]
    yunet = onnxruntime.InferenceSession(str(models / "yunet_n.onnx"), providers=providers)
    names = [output.name for output in yunet.get_outputs()]
    arcface = ArcFaceONNX(str(models / "mobilefacenet_arcface_y1.onnx"))
    arcface.prepare(-1)

    def find(image: Any) -> list[Face]:
        scale = min(1.0, 640 / max(image.shape[:2]))
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale)
        height, width = (-(-side // 32) * 32 for side in small.shape[:2])
        canvas = np.zeros((height, width, 3), np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small
        outputs = yunet.run(names, {"input": np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])})
        boxes, marks = yunet_faces(dict(zip(names, outputs, strict=True)), width, 0.5)
        found: list[Face] = []
        for box, mark in zip(boxes / scale, marks / scale, strict=True):
            chip = norm_crop(image, mark, arcface.input_size[0])
            found.append((box.tolist(), arcface.get_feat(chip)[0], chip))
        return found

    return find, FirstKnown(cosine, 1 - 0.4)


def face_recognition(_: Path) -> tuple[Finder, FirstKnown]:
    """Return face_recognition's loop."""
    import face_recognition as library

    def find(image: Any) -> list[Face]:
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        places = library.face_locations(rgb)
        vectors = library.face_encodings(rgb, places)
        return [
            ([left, top, right, bottom], vector, image[max(0, top) : bottom, max(0, left) : right])
            for (top, right, bottom, left), vector in zip(places, vectors, strict=True)
        ]

    return find, FirstKnown(euclidean, 0.6)


def deepface(_: Path) -> tuple[Finder, FirstKnown]:
    """Return deepface's loop."""
    from deepface import DeepFace
    from deepface.modules.exceptions import FaceNotDetected
    from deepface.modules.verification import find_threshold

    DeepFace.build_model(task="facial_recognition", model_name="Dlib")

    def find(image: Any) -> list[Face]:
        try:
            answers = DeepFace.represent(image, model_name="Dlib", detector_backend="centerface", return_face=True)
        except FaceNotDetected:
            return []
        found: list[Face] = []
        for answer in answers:
            x, y, width, height = (answer["facial_area"][key] for key in "xywh")
            chip = np.clip(255 * answer["face"], 0, 255).astype(np.uint8)
            found.append(([x, y, x + width, y + height], np.array(answer["embedding"]), chip))
        return found

    return find, FirstKnown(cosine, find_threshold("Dlib", "cosine"))


LOOPS = {"insightface": insightface, "face_recognition": face_recognition, "deepface": deepface}


def decoded(clip: Path) -> Iterator[Any]:
    """Yield a clip's frames, uint8 [H, W, 3] BGR."""
    capture = cv2.VideoCapture(str(clip))
    while (read := capture.read())[0]:
        yield read[1]


def work(clip: Path, into: Path, find: Finder, people: FirstKnown, pictures: bool) -> dict[str, Any]:
    """Do the clip and write its results."""
    (into / "faces").mkdir(parents=True)
    rows, vectors, frames = [], [], 0
    start = time.perf_counter()
    for frame_num, image in enumerate(decoded(clip)):
        frames += 1
        if pictures:
            cv2.imwrite(str(into / f"frame_{frame_num:04d}.png"), image)
        for index, (box, vector, chip) in enumerate(find(image)):
            rows.append([frame_num, *box, people.person(vector)])
            vectors.append(vector)
            if pictures and chip.size:
                cv2.imwrite(str(into / "faces" / f"frame_{frame_num:04d}_face_{index:02d}.png"), chip)
    with (into / "faces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame_num", "x1", "y1", "x2", "y2", "face_id"])
        writer.writerows(rows)
    np.save(into / "embeddings.npy", np.array(vectors, np.float32))
    return {"work_s": time.perf_counter() - start, "frames": frames, "faces": len(rows)}


def main() -> None:
    """Do one clip with one library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=sorted(LOOPS))
    parser.add_argument("clip", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--outputs", choices=("all", "tables"), default="all")
    parser.add_argument("--models", type=Path, default=Path(), help="directory of the ONNX files, for insightface")
    args = parser.parse_args()
    find, people = LOOPS[args.library](args.models)
    print(json.dumps(work(args.clip, args.work, find, people, args.outputs == "all")))


if __name__ == "__main__":
    main()

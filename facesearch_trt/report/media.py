"""Videos, by range, and pictures. Nothing of an address becomes a path: a clip is looked up by its id, a face by its
name's form."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import cv2
from fastapi import APIRouter, HTTPException, Query
from starlette.responses import FileResponse, Response

from ..graph.inputs import images_of
from ..store.schema import CHIP_PATTERN, CHIPS_DIRECTORY, frame_file
from .context import ServiceHere, clip_or_404
from .views import ClipView

__all__ = [
    "face",
    "poster",
    "router",
    "still",
    "video",
]

router = APIRouter(prefix="/media", include_in_schema=False)

_PICTURES = {"cache-control": "private, max-age=300"}
"""Short, so that a person who is erased is gone from the browser too."""
_POSTER_PX = 480
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".m2ts": "video/mp2t",
}
"""Browsers that can play what is inside a MOV file ask for it as MP4."""


@router.get("/{clip_id}/video")
@router.head("/{clip_id}/video")
def video(service: ServiceHere, clip_id: str) -> Response:
    """Return the clip's video, or the range of it that is asked for."""
    clip = clip_or_404(service, clip_id)
    if clip.source is None or clip.source.kind != "video" or clip.source.source is None:
        raise HTTPException(404, "there is no video of this clip")
    path = clip.source.source
    if not path.is_file():
        raise HTTPException(404, "the video is gone")
    return FileResponse(path, media_type=_TYPES.get(path.suffix.lower(), "application/octet-stream"))


@router.get("/{clip_id}/faces/{name}")
def face(service: ServiceHere, clip_id: str, name: str) -> Response:
    """Return an aligned face."""
    clip = clip_or_404(service, clip_id)
    if not CHIP_PATTERN.fullmatch(name):
        raise HTTPException(404, "there is no such picture")
    return _picture(clip, clip.directory / CHIPS_DIRECTORY / name)


@router.get("/{clip_id}/still")
def still(service: ServiceHere, clip_id: str, t: float = Query(0.0, ge=-1e9, le=1e9, allow_inf_nan=False)) -> Response:
    """Return the kept picture of a frame, or the image of a folder, nearest to a time."""
    clip = clip_or_404(service, clip_id)
    return _picture_file(_still(service, clip, t))


@router.get("/{clip_id}/poster")
def poster(service: ServiceHere, clip_id: str) -> Response:
    """Return a small picture of the clip's middle."""
    clip = clip_or_404(service, clip_id)
    path = _still(service, clip, (clip.start_s + clip.end_s) / 2)
    image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2)
    if image is None:
        raise HTTPException(404, "the picture cannot be read")
    scale = _POSTER_PX / image.shape[1]
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return Response(coded.tobytes(), media_type="image/jpeg", headers=_PICTURES)


def _still(service: ServiceHere, clip: ClipView, time_s: float) -> Path:
    if clip.record is None:
        raise HTTPException(404, "this clip is not finished")
    boxes = service.boxes.of(clip.directory)
    row = boxes.still(time_s)
    if row is not None:
        return clip.directory / frame_file(int(boxes.frame_num[row]))
    source = clip.source
    # Frames are counted without the images that could not be read, and nothing tells which these were.
    whole = clip.record.damage is None
    if whole and source is not None and source.kind == "images" and source.source is not None and len(boxes.pts_s):
        images = images_of(source.source)
        number = int(boxes.frame_num[abs(boxes.pts_s - time_s).argmin()])
        if number < len(images):
            return images[number]
    raise HTTPException(404, "no picture of this clip was kept")


def _picture(clip: ClipView, path: Path) -> Response:
    # A link in the results could lead anywhere.
    if not path.resolve().is_relative_to(clip.directory.resolve()):
        raise HTTPException(404, "there is no such picture")
    return _picture_file(path)


def _picture_file(path: Path) -> Response:
    if not path.is_file():
        raise HTTPException(404, "there is no such picture")
    kind = mimetypes.guess_type(path.name)[0] or ""
    return FileResponse(
        path, media_type=kind if kind.startswith("image/") else "application/octet-stream", headers=_PICTURES
    )

"""Finds the clips of a run: which videos and image folders a path stands for, and where each one's results go."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..types import Clip

__all__ = [
    "EXPORTS_DIRECTORY",
    "IMAGE_SUFFIXES",
    "OUTPUT_SUFFIX",
    "VIDEO_SUFFIXES",
    "absolute_path",
    "find_clips",
    "images_of",
    "natural_key",
]

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".mts", ".m2ts")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
OUTPUT_SUFFIX = ".pipeline"
EXPORTS_DIRECTORY = "exports"
"""In a ROOT: the videos and tables that were made of its clips, which are none themselves."""

_DIGITS = re.compile(r"(\d+)")
_NO_FILE = "is a broken link or no regular file"


def natural_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Return a sort key: ``img2`` before ``img10``, without regard to case; the name itself decides between equals."""
    parts = _DIGITS.split(name.casefold())
    # Each part says its kind first, so that numbers are never compared with text.
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), name


def absolute_path(path: Path) -> Path:
    """Return an existing path from the root of the file system on, without ``..``; a link at its end keeps its own name.

    Raises InputError where it does not exist or cannot be used.
    """
    try:
        path.stat()
        path = Path.cwd() / path
        # What ".." means behind a link, only the system knows.
        ups = max((place for place, part in enumerate(path.parts, start=1) if part == ".."), default=0)
        return Path(*path.parts[:ups]).resolve().joinpath(*path.parts[ups:]) if ups else path
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        remedy = "Give an existing directory of videos, or one video."
        raise InputError("does not exist", where=path, remedy=remedy) from error
    except OSError as error:
        remedy = "Check the path and its permissions."
        raise InputError("cannot be used", where=path, found=error.strerror, remedy=remedy) from error


def find_clips(path: Path, *, results_alone: bool = False) -> list[Clip]:
    """Return the clips that ``path`` stands for, in natural order of their names.

    Parameters
    ----------
    path: a directory of videos and image folders; or one video, one image folder, or one ``.pipeline`` directory. The
        latter gives a clip whose ``source`` is the video or folder beside it, None where there is none.
    results_alone: whether a directory's ``.pipeline`` directories without a clip beside them, as a camera leaves them,
        are clips too; their ``source`` is None.

    Hidden entries are never inputs, nor is what lies in a ``.pipeline`` directory. Pictures that lie beside videos or
    image folders are not used, nor videos in a folder without images, with a warning. Raises InputError where ``path``
    is missing, unreadable or holds no clip, and where two clips would share their results.
    """
    # The name is needed where the path is "." or ends in "..".
    path = absolute_path(Path(path))
    if path.is_dir():
        if path.name.endswith(OUTPUT_SUFFIX):
            return [_clip_of_output(path)]
        return _clips_in(path, results_alone)
    if not _is_video(path.name):
        remedy = f"Give a video ({' '.join(VIDEO_SUFFIXES)}) or a directory."
        if _is_image(path.name):
            remedy = "Give the directory that holds the image."
        raise InputError("is not a video by its name", where=path, remedy=remedy)
    if not path.is_file():
        raise InputError("is not a regular file", where=path, remedy="Copy the video to a file first.")
    return [_video(path)]


def images_of(folder: Path, left_out: list[str] | None = None) -> list[Path]:
    """Return the images of an image folder, all of them regular files, in natural order of their names.

    ``left_out`` gets the names of links that lead nowhere, pipes and the like which are called as images are. Raises
    OSError where the folder cannot be read.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = _kind(entry) if _is_image(entry.name) else "folder"
            if kind == "file":
                names.append(entry.name)
            elif kind != "folder" and left_out is not None:
                left_out.append(entry.name)
    return [folder / name for name in sorted(names, key=natural_key)]


def _kind(entry: os.DirEntry[str]) -> str:
    """Return ``file``, ``folder``, or in words why an entry is neither; a link is what it leads to."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else _NO_FILE
    except OSError as error:
        return f"cannot be followed ({error.strerror})"


def _clips_in(root: Path, results_alone: bool) -> list[Clip]:
    videos, folders, outputs, has_image = _scan(root)
    known = {Path(name).stem for name in videos} | set(folders)
    alone = [name for name in outputs if results_alone and name not in known]
    if not videos and not folders and not alone:
        if has_image:
            return [_images_in_root(root)]
        kinds = " ".join(VIDEO_SUFFIXES)
        raise InputError(
            "holds no clip",
            where=root,
            asked=f"videos ({kinds}) or sub-directories of images ({' '.join(IMAGE_SUFFIXES)})",
            remedy="Put videos into it, or give the directory that holds them.",
        )
    if has_image:
        log.warning("%s: pictures beside videos and folders are not used; put them into a sub-directory", root)
    clips = [_video(root / name) for name in videos] + [_images(root / name) for name in folders]
    _check_outputs(clips)
    clips += [Clip(name, None, "video", root / f"{name}{OUTPUT_SUFFIX}") for name in alone]
    return sorted(clips, key=lambda clip: natural_key(clip.name))


def _scan(root: Path) -> tuple[list[str], list[str], list[str], bool]:
    """Return the names of the videos, image folders and clips with results in ``root``, and whether it holds pictures
    itself."""
    videos, folders, outputs, has_image = [], [], [], False
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                kind = _kind(entry)
                if kind == "folder":
                    if entry.name.endswith(OUTPUT_SUFFIX):
                        outputs.append(entry.name.removesuffix(OUTPUT_SUFFIX))
                    elif _holds_image(root / entry.name):
                        folders.append(entry.name)
                elif kind == "file":
                    if _is_video(entry.name):
                        videos.append(entry.name)
                    has_image = has_image or _is_image(entry.name)
                elif kind != _NO_FILE or _is_video(entry.name) or _is_image(entry.name):
                    log.warning("%s: %s; not used", root / entry.name, kind)
    except OSError as error:
        raise InputError("cannot be read", where=root, found=error.strerror, remedy="Check its permissions.") from error
    return videos, folders, outputs, has_image


def _holds_image(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            kinds, has_video = set(), False
            for entry in entries:
                has_video = has_video or _is_video(entry.name)
                if _is_image(entry.name):
                    kinds.add(kind := _kind(entry))
                    if kind == "file":
                        return True
    except OSError as error:
        log.warning("%s: cannot be read (%s); not used", folder, error.strerror)
        return False
    if kinds - {"folder"}:
        log.warning("%s: its images are broken links or no regular files; not used", folder)
    if has_video and folder.name != EXPORTS_DIRECTORY:
        log.warning("%s: its videos are not used; give it as a directory of its own", folder)
    return False


def _clip_of_output(output: Path) -> Clip:
    name = output.name.removesuffix(OUTPUT_SUFFIX)
    sources = []
    try:
        with os.scandir(output.parent) as entries:
            for entry in entries:
                if _is_video(entry.name) and Path(entry.name).stem == name and _kind(entry) == "file":
                    sources.append(_video(output.parent / entry.name))
                elif entry.name == name and _kind(entry) == "folder" and _holds_image(output.parent / name):
                    sources.append(_images(output.parent / name))
    except OSError as error:
        raise InputError("cannot be read", where=output.parent, found=error.strerror) from error
    _check_outputs(sources)
    return sources[0] if sources else Clip(name, None, "video", output)


def _check_outputs(clips: Iterable[Clip]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        other = seen.setdefault(clip.name, clip)
        if other is not clip:
            names = sorted(str(each.source) for each in (other, clip))
            raise InputError(
                "two clips would write the same results",
                where=clip.output,
                found=" and ".join(names),
                remedy="Rename one of them.",
            )


def _video(path: Path) -> Clip:
    return Clip(path.stem, path, "video", path.with_name(path.stem + OUTPUT_SUFFIX))


def _images(folder: Path) -> Clip:
    return Clip(folder.name, folder, "images", folder.with_name(folder.name + OUTPUT_SUFFIX))


def _images_in_root(root: Path) -> Clip:
    """Return the one clip of a directory that is an image folder itself, whose results lie beside it, not in it.

    Raises InputError where nothing can be written there, as beside a directory that is mounted into a container.
    """
    output = root.parent / f"{root.name}{OUTPUT_SUFFIX}"
    if not os.access(output if output.exists() else root.parent, os.W_OK):
        raise InputError(
            "its own images are one clip, whose results lie beside it",
            where=root,
            found=f"{output}, which cannot be written",
            remedy="Put the images into a sub-directory of it.",
        )
    if root.is_mount():
        log.warning("%s: the results of its own images go to %s, outside what is mounted there", root, output)
    return Clip(root.name, root, "images", output)


def _is_video(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES)


def _is_image(name: str) -> bool:
    """Return whether a file of that name is a picture to use."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)

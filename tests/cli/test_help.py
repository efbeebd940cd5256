"""What the command line offers, and that it takes what it says it takes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from facesearch_trt.cli import export
from facesearch_trt.cli.main import _COMMANDS, main
from facesearch_trt.errors import OptionError


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_every_command_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for command in _COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.M), command
    assert text.index("  run ") < text.index("  calibrate ")


@pytest.mark.parametrize("command", ["people", "live", "calibrate", "search", "serve"])
def test_no_option_that_does_nothing(capsys: pytest.CaptureFixture[str], command: str) -> None:
    text = help_of(capsys, command)
    assert "--embedder" in text
    for foreign in ("--ray-cpus", "--ray-gpu-share", "--isolate", "--clips-at-once"):
        assert foreign not in text


def test_values_and_defaults_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys, "run").split())
    for words in ("--clips-at-once N", "--png-compression N", "--ray-gpu-share X", "--models-file FILE"):
        assert words in text
    assert re.search(r"--isolate, --no-isolate .*? go on\. \[yes\]", text)
    assert re.search(r"--force, --no-force Do finished work again\. \[no\]", text)
    assert "(RTSP)" in help_of(capsys, "live").partition("options:")[0]


def exported(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    export.register(parser.add_subparsers())
    args = parser.parse_args(["export", *arguments])
    args.root = export._settled_root(args)
    return args


@pytest.mark.parametrize(
    "arguments",
    [
        ["R", "--format", "srt", "csv"],
        ["--format", "srt", "csv", "R"],
        ["--format", "srt", "--format", "csv", "R"],
        ["-v", "R", "--format", "srt", "csv"],
        ["--format", "srt", "csv", "-v", "R"],
        ["--format", "srt", "csv", "--", "R"],
    ],
)
def test_export_takes_its_root_where_it_stands(arguments: list[str]) -> None:
    args = exported(*arguments)
    assert (args.root, args.format) == (Path("R"), ["srt", "csv"])


def test_export_takes_people_and_a_root() -> None:
    args = exported("--format", "blurred", "--only", "Ann", "7", "R")
    assert (args.root, args.only, args.format) == (Path("R"), ["Ann", "7"], ["blurred"])
    args = exported("--except", "Ann", "--format", "blurred", "R")
    assert (args.root, args.but, args.format) == (Path("R"), ["Ann"], ["blurred"])
    for wrong in (["--format", "srt"], ["--format", "blurred", "--only", "Ann"], ["--format", "srt", "nothing", "R"]):
        with pytest.raises(OptionError):
            exported(*wrong)

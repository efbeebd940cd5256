"""A run that the web starts goes on as the ROOT was processed, and does nothing again unasked."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.cli import search
from facesearch_trt.cli.flags import add_option_flags, options_from
from facesearch_trt.config import Options, options_as_dict, options_with
from facesearch_trt.indexing import update_index
from facesearch_trt.last_run import save_last_run
from facesearch_trt.passing import _OF_THE_RUN
from facesearch_trt.plan import planned_keys, source_of
from facesearch_trt.report.finder import Finder
from facesearch_trt.report.jobs import Job
from facesearch_trt.report.runs import RunRequest, flags_of
from facesearch_trt.search.index import Index
from facesearch_trt.search.writer import IndexWriter
from facesearch_trt.wiring import Tools

from ..clip_results import write_clip
from .conftest import Web

MADE_WITH = Options(
    pack="yunet-arcface", every=5, frames="none", crops=False, detector_size=1280, similarity_threshold=-0.5
)


@pytest.fixture
def started(web: Web, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was started, instead of starting it; all results of the ROOT were made with MADE_WITH."""
    save_last_run(web.root, [], dataclasses.replace(MADE_WITH, report=False, clips_at_once=1, every=9))
    for clip in web.service.snapshot().clips:
        if clip.record is None:
            continue
        path = clip.directory / "run.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["options"] = {**options_as_dict(MADE_WITH), "of_another_version": 1}
        for name in _OF_THE_RUN:
            del content["options"][name]
        if clip.source is not None:
            with Tools(MADE_WITH) as tools:
                keys = planned_keys(source_of(clip.source, clip.record), tools)
            content["steps"] = {step: {"state": "done", "key": key} for step, key in keys.items()}
        path.write_text(json.dumps(content), encoding="utf-8")
    web.service.library.changed()
    commands: list[tuple[str, ...]] = []

    def start(title: str, arguments: Any, *, clips: int = 0) -> Job:
        commands.append(tuple(arguments))
        return Job(len(commands), title, tuple(arguments))

    monkeypatch.setattr(web.service.jobs, "start", start)
    return commands


def test_flags_say_all_options() -> None:
    parser = argparse.ArgumentParser()
    add_option_flags(parser)
    for options in (Options(), MADE_WITH, Options(report=False, isolate=False, force=True, models_file="-x y.yaml")):
        assert options_from(parser.parse_args(flags_of(options))) == options


def test_a_run_goes_on_as_before(web: Web, started: list[tuple[str, ...]]) -> None:
    page = web.client.get("/jobs").text
    assert 'name="every" type="number" min="1" max="1000000" value="5"' in page
    assert '<option value="none" selected>' in page
    assert 'name="crops" value="1" checked' not in page
    for flag in ("--pack=yunet-arcface", "--detector-size=1280", "--similarity-threshold=-0.5", "--no-report"):
        assert flag in page
    # The form as it is shown.
    assert web.post("/jobs/run", every="5", frames="none").status_code == 303
    assert web.change("POST", "/api/jobs/run", {}).status_code == 202
    wanted = dataclasses.replace(MADE_WITH, report=False, clips_at_once=1)
    expected = ("run", "--input_directory", str(web.root), *flags_of(wanted))
    assert started == [expected, expected]


def test_finished_clips_are_done_again_only_when_asked(web: Web, started: list[tuple[str, ...]]) -> None:
    page = web.post("/jobs/run", every="1", frames="none")
    assert page.status_code == 200
    assert "Do finished clips again?" in page.text
    assert "3 finished clips of 4" in page.text
    assert "every: 5 → 1" in page.text
    refused = web.change("POST", "/api/jobs/run", {"every": 1})
    assert refused.status_code == 409
    assert "3 finished clips" in refused.json()["detail"]
    assert started == []
    assert web.post("/jobs/run", every="1", frames="none", redo="1").status_code == 303
    assert web.change("POST", "/api/jobs/run", {"every": 1, "redo": True}).status_code == 202
    assert web.change("POST", "/api/jobs/run", {"every": 1, "force": True}).status_code == 202
    assert ["--every=5" in command for command in started] == [False] * 3
    assert ["--force" in command for command in started] == [False, False, True]


def test_what_serve_was_told_wins(web: Web, started: list[tuple[str, ...]]) -> None:
    service = web.service
    service._options, service._given = Options(pack="open", threads=3), {"pack", "threads"}
    options = service.next_options(RunRequest())
    assert (options.pack, options.threads, options.every, options.detector_size) == ("open", 3, 5, 1280)


def test_damaged_records_stand_in_nobodys_way(web: Web, started: list[tuple[str, ...]]) -> None:
    (web.root / "last_run.json").write_text('{"options": {"every": "many"}, "clips": []}')
    assert web.service.next_options(RunRequest()).every == 5
    (web.root / "last_run.json").write_text('{"options": 7}')
    assert web.client.get("/jobs").status_code == 200


def test_results_whose_clip_is_gone(web: Web, started: list[tuple[str, ...]]) -> None:
    (web.root / "b.mp4").unlink()
    web.service.library.changed()
    assert web.change("POST", "/api/jobs/run", {}).status_code == 202
    # Frames cannot be taken anew, so another --every changes nothing of it.
    refused = web.change("POST", "/api/jobs/run", {"every": 1})
    assert "2 finished clips" in refused.json()["detail"]
    assert "3 finished clips" in web.change("POST", "/api/jobs/run", {"every": 1, "crops": True}).json()["detail"]


@pytest.mark.parametrize(("given", "pack"), [({"threads": 1}, "yunet-arcface"), ({"pack": "open"}, "open")])
def test_searches_take_the_indexs_networks_unless_others_are_asked_for(
    tmp_path: Path, given: dict[str, object], pack: str
) -> None:
    with Tools(MADE_WITH) as tools:
        embedder = tools.embedder_entry.name
    (tmp_path / "root").mkdir()
    write_clip(tmp_path / "root", "a", [[0]] * 3, model=embedder)
    with IndexWriter(tmp_path / "index") as writer:
        update_index(writer, [tmp_path / "root"])
    options = options_with(Options(), given, where="test")
    finder = Finder(tmp_path / "root", options, str(tmp_path / "index"), given)
    assert finder._ready()[1].options == dataclasses.replace(options, pack=pack)
    finder.close()
    args = argparse.Namespace(config=None, **{f"option_{name}": value for name, value in given.items()})
    assert search._options(args, Index.open(str(tmp_path / "index"))).pack == pack

"""The report: one file, whole, safe, and of bounded size."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.last_run import save_last_run
from facesearch_trt.people.files import read_people_table
from facesearch_trt.people.update import update_people
from facesearch_trt.report import html as report
from facesearch_trt.report.html import write_report
from facesearch_trt.report.library import Library
from facesearch_trt.report.rendering import moment, span, spans_of
from facesearch_trt.running.runner import Outcome
from facesearch_trt.search.matches import Appearance, Picture
from facesearch_trt.types import Clip

from .conftest import HOSTILE, SIMILARITIES, write_clip


@pytest.fixture
def page(root: Path) -> str:
    """The report of the usual ROOT, in which a run failed on "todo" and a person has a hostile name."""
    zero = read_people_table(root)["a", 0]
    (root / "people.yaml").write_text(
        f"names: {{{zero}: {json.dumps(HOSTILE)}}}\nignore: [{read_people_table(root)['b', 2]}]\n"
    )
    update_people(root, *SIMILARITIES)
    clip = Clip("todo", root / "todo.mp4", "video", root / "todo.pipeline")
    save_last_run(root, [Outcome(clip, "failed", "cannot be decoded <at all>")], Options())
    written = write_report(root)
    assert (written.people, written.clips) == (3, 4)
    return written.path.read_text()


def test_what_it_shows(page: str) -> None:
    assert page.count('<li class="tile"') == 3
    assert page.count("background-image:url(data:image/jpeg;base64,") == 3
    for clip in ("a", "b", "todo", html.escape(HOSTILE)[:20]):
        assert clip in page
    assert "cannot be decoded &lt;at all&gt;" in page
    assert "./b.mp4#t=2.800" in page
    assert "Together on screen" in page
    assert "1.2 s" in page


def test_it_is_one_file_without_a_network(page: str) -> None:
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page)
    assert "<link" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!data:)", page)


def test_a_hostile_name_is_text(page: str) -> None:
    assert "<img" not in page
    assert page.count("<script") == 1
    assert not re.search(r"\son[a-z]+=[\"']", page)
    # The address of its video is one of a file beside the report, whatever its name.
    assert "./%3Cimg%20src%3Dx" in page


def test_only_its_own_style_and_script_run(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = html.unescape(policy[1])
    assert rules.startswith("default-src 'none'")
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in rules


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(root)]) == 0
    assert "4 people in 4 clips" in capsys.readouterr().out
    assert main(["report", str(root / "gone")]) == 2


def test_an_empty_directory(tmp_path: Path) -> None:
    page = write_report(tmp_path).path.read_text()
    assert "Nobody was found" in page


def test_without_pictures_of_faces(tmp_path: Path) -> None:
    write_clip(tmp_path, "bare", [[1, 2]] * 3, crops=False)
    update_people(tmp_path, *SIMILARITIES)
    page = write_report(tmp_path).path.read_text()
    assert "data:image" not in page
    assert page.count('<li class="tile"') == 2


def test_many_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 people stay a small file; more than fit are counted."""
    write_clip(tmp_path, "crowd", [list(range(at, at + 10)) for at in range(0, 500, 10)])
    update_people(tmp_path, *SIMILARITIES)
    people = len(set(read_people_table(tmp_path).values()))
    assert people > 490
    written = write_report(tmp_path)
    assert written.people == people
    # Random pixels, 6 kB each as JPEG; faces take less.
    assert written.bytes < 6_000_000
    assert written.path.read_text().count('<li class="tile"') == people
    monkeypatch.setattr(report, "MOST_PEOPLE", 100)
    page = write_report(tmp_path).path.read_text()
    assert page.count('<li class="tile"') == 100
    assert f"of {people}" in page


def appearance(start_s: float, end_s: float) -> Appearance:
    return Appearance(start_s, end_s, 1, (1,), None, "person", Picture(start_s, 0, 0, (0, 0, 1, 1), 1.0, ""))


def test_bars() -> None:
    assert spans_of([appearance(0, 5)], 0, 10) == [(0.0, 500.0, 0, 5)]
    # The shortest can still be seen, also at the very end.
    (bar,) = spans_of([appearance(10, 10)], 0, 10)
    assert bar[:2] == (996.0, 4.0)
    many = spans_of([appearance(at, at + 0.1) for at in range(100_000)], 0, 100_000, most=100)
    assert 0 < len(many) <= 100
    assert spans_of([appearance(3, 3)], 3, 3) == [(0.0, 4.0, 3, 3)]


def test_words() -> None:
    assert [moment(at) for at in (0, 62.5, 3723.04)] == ["0:00.0", "1:02.5", "1:02:03.0"]
    assert [span(at) for at in (4.21, 180, 4800)] == ["4.2 s", "3 min", "1 h 20 min"]


def test_a_person_with_two_ids_in_a_clip_is_in_one_clip(root: Path) -> None:
    person = next(one for one in Library(root).snapshot().people if one.seen)
    twice = replace(person, seen=(person.seen[0], person.seen[0]))
    assert twice.clip_count == 1
    assert person.clip_count == len({seen.clip.name for seen in person.seen})


def test_many_clips(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_report(root).path.read_text()
    clips = len(Library(root).snapshot().clips)
    assert (whole.count('<div class="card pad part"'), clips) == (4, 4)
    assert "in order of their names" not in whole
    monkeypatch.setattr(report, "MOST_CLIPS", 2)
    monkeypatch.setattr(report, "_MOST_PROBLEMS", 0)
    written = write_report(root)
    page = written.path.read_text()
    assert page.count('<div class="card pad part"') == 2
    assert "The first 2 clips of 4 in order of their names" in page
    assert "… and 1 clip more." in page
    # Nobody is lost with the clips that are not shown.
    assert page.count('<li class="tile"') == whole.count('<li class="tile"')
    assert (written.clips, written.people) == (4, 4)

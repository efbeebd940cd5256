"""Every page answers, shows what it is about, and what its forms change is changed."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from facesearch_trt.people.corrections import last_correction
from facesearch_trt.people.files import read_names

from .conftest import HOSTILE, Web


def test_the_wall(web: Web) -> None:
    page = web.client.get("/")
    assert page.status_code == 200
    assert page.text.count('class="tile"') == 4
    zero = web.people()["a", 0]
    assert f'href="/people/{zero}"' in page.text
    assert web.client.get("/?q=Person").text.count('class="tile"') == 4
    assert "Nobody is called that" in web.client.get("/?q=nobody%20of%20this").text
    assert web.client.get("/?n=99").status_code == 200


def test_a_person(web: Web) -> None:
    zero = web.people()["a", 0]
    page = web.client.get(f"/people/{zero}").text
    assert f"/clips/{web.clip('a')}" in page
    assert f"/clips/{web.clip('b')}?t=2.800" in page
    assert "On screen together with" in page
    assert web.client.get("/people/999").status_code == 404
    assert web.client.get("/people/x").status_code == 422
    assert web.client.get(f"/people/{10**30}").status_code in (404, 422)


def test_names(web: Web) -> None:
    zero = web.people()["a", 0]
    answer = web.post(f"/people/{zero}/name", name=HOSTILE)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/people/{zero}")
    assert [name.name for name in read_names(web.root)] == [HOSTILE]
    for address in ("/", f"/people/{zero}", f"/clips/{web.clip('a')}"):
        page = web.client.get(address).text
        assert HOSTILE not in page
        assert "<img src=x" not in page
        assert html.escape(HOSTILE, quote=False).split("&amp;")[0] in page
    assert web.post(f"/people/{zero}/name", name="a\nb").status_code == 422
    assert web.post(f"/people/{zero}/name", name="x" * 300).status_code == 422


def test_merge_and_undo(web: Web) -> None:
    before = web.people()
    two, three = before["b", 2], before[HOSTILE, 3]
    answer = web.post("/people/merge", person=[str(two), str(three)])
    assert answer.headers["location"] == f"/people/{min(two, three)}"
    assert web.people()["b", 2] == web.people()[HOSTILE, 3]
    page = web.client.get(f"/people/{min(two, three)}").text
    assert f"merged {max(two, three)} into {min(two, three)}" in page
    # The old address leads to who it is now.
    assert web.client.get(f"/people/{max(two, three)}").headers["location"] == f"/people/{min(two, three)}"
    assert web.post("/undo").status_code == 303
    assert web.people() == before
    assert last_correction(web.root) is None
    assert web.post("/undo").status_code == 422


def test_people_seen_together_are_not_merged(web: Web) -> None:
    people = web.people()
    answer = web.post("/people/merge", person=[str(people["a", 0]), str(people["a", 1])])
    assert answer.status_code == 422
    assert "seen together" in answer.text
    assert web.post("/people/merge").status_code == 422
    assert web.post("/people/merge", person=["x"]).status_code == 422


def test_split(web: Web) -> None:
    zero = web.people()["a", 0]
    assert web.people()["b", 0] == zero
    answer = web.post(f"/people/{zero}/split", face=[f"{web.clip('b')}:0"])
    other = web.people()["b", 0]
    assert other != zero
    assert answer.headers["location"] == f"/people/{other}"
    assert web.post(f"/people/{zero}/split", face=["nonsense"]).status_code == 422
    assert web.post(f"/people/{zero}/split", face=[f"{web.clip('b')}:99"]).status_code == 422


def test_ignore_and_back(web: Web) -> None:
    three = web.people()[HOSTILE, 3]
    web.post("/people/ignore", person=[str(three)])
    assert web.client.get("/").text.count('class="tile"') == 3
    assert web.client.get("/?ignored=true").text.count('class="tile"') == 4
    assert "ignored" in web.client.get(f"/people/{three}").text
    web.post("/people/ignore", person=[str(three)], back="1")
    assert web.client.get("/").text.count('class="tile"') == 4


def test_delete_a_person(web: Web) -> None:
    one = web.people()["a", 1]
    assert "cannot be undone" in web.client.get(f"/people/{one}/delete").text
    page = web.post(f"/people/{one}/delete")
    assert "30 faces" in page.text
    assert ("a", 1) not in web.people()
    assert web.client.get(f"/people/{one}").status_code == 404
    assert not list((web.root / "a.pipeline" / "faces").glob("*_face_01.png"))


def test_clips(web: Web) -> None:
    page = web.client.get("/clips").text
    assert page.count('<li class="card">') == 4
    assert "not processed yet" in page
    assert HOSTILE not in page
    shown = web.client.get(f"/clips/{web.clip('a')}?t=1.5").text
    assert 'data-t="1.5"' in shown
    assert shown.count('class="row"') == 2
    assert "seek" in shown
    assert web.client.get(f"/clips/{web.clip('todo')}").status_code == 200
    assert web.client.get("/clips/0000000000000000").status_code == 404
    for wrong in ("nan", "inf", "x"):
        assert web.client.get(f"/clips/{web.clip('a')}?t={wrong}").status_code == 422


def test_delete_a_clip(web: Web) -> None:
    clip = web.clip("b")
    assert web.client.get(f"/clips/{clip}/delete").status_code == 200
    assert "30 faces" in web.post(f"/clips/{clip}/delete").text
    assert not (web.root / "b.pipeline").exists()
    assert (web.root / "b.mp4").exists()


def test_a_clip_without_pictures(web: Web) -> None:
    from .conftest import write_clip

    write_clip(web.root, "bare", [[5]] * 3, crops=False)
    web.service.library.changed()
    page = web.client.get(f"/clips/{web.clip('bare')}").text
    assert 'class="face none"' in page
    assert web.client.get(f"/media/{web.clip('bare')}/poster").status_code == 404


def test_search(web: Web, photo: bytes) -> None:
    assert "not stored" in web.client.get("/search").text
    page = web.client.post("/search", data={"csrf": web.csrf()}, files={"photo": ("p.png", photo)})
    zero = web.people()["a", 0]
    assert page.status_code == 200
    assert f'href="/people/{zero}"' in page.text
    assert f"/clips/{web.clip('a')}?t=0.000" in page.text
    assert "1 person found" in page.text


def test_a_photo_with_two_faces(web: Web, photo: bytes) -> None:
    import cv2
    import numpy as np

    coded = cv2.imencode(".png", np.zeros((3, 2, 3), np.uint8))[1].tobytes()
    page = web.client.post("/search", data={"csrf": web.csrf()}, files={"photo": ("p.png", coded)}).text
    assert "Which face?" in page
    assert page.count('name="face" value=') == 3
    page = web.client.post("/search", data={"csrf": web.csrf(), "face": "2"}, files={"photo": ("p.png", coded)}).text
    assert "1 person found" in page


def test_jobs(web: Web) -> None:
    assert "1 clip of 4 is not finished" in web.client.get("/jobs").text
    answer = web.post("/jobs/report")
    address = answer.headers["location"]
    job = web.service.jobs.all()[0]
    assert web.service.jobs.wait(job, 120)
    page = web.client.get(address).text
    assert "report.html" in page
    assert (job.state, job.status) == ("done", 0)
    assert (web.root / "report.html").is_file()
    assert web.client.get("/jobs/77").status_code == 404
    assert web.post("/jobs/run", every="0x", frames="all").status_code == 422
    assert web.post("/jobs/run", every="1", frames="some").status_code == 422


def test_the_api_in_words(web: Web) -> None:
    page = web.client.get("/api").text
    assert "/api/people/{person_id}" in page
    assert "Find a person by photo" in page


@pytest.mark.parametrize("address", ["/", "/clips", "/search", "/jobs", "/api", "/people/0", "/nowhere"])
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(web: Web, address: str) -> None:
    page = web.client.get(address)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", page.text)
    assert "style=" not in page.text
    assert not re.search(r"(?:src|href|action)=[\"'](?:https?:)?//", page.text)


def test_an_empty_directory(tmp_path: Path) -> None:
    from facesearch_trt.report.security import Access

    from .conftest import opened

    (tmp_path / "empty").mkdir()
    for web in opened(tmp_path / "empty", Access("127.0.0.1")):
        assert "Put videos into it" in web.client.get("/").text
        for address in ("/clips", "/search", "/jobs", "/api"):
            assert web.client.get(address).status_code == 200
        assert web.client.post("/api/search", files={"photo": ("p.png", b"x")}).status_code == 422

"""The REST API: what it gives, what its changes change, and that its description fits."""

from __future__ import annotations

from typing import Any

import pytest

from facesearch_trt.search.index import Index
from facesearch_trt.search.where import Where
from facesearch_trt.store import ClipStore

from .conftest import HOSTILE, Web


def test_status_and_lists(web: Web) -> None:
    status = web.client.get("/api/status").json()
    assert (status["clips"], status["finished"], status["people"]) == (4, 3, 4)
    people = web.client.get("/api/people?limit=2").json()
    assert people["total"] == 4
    assert len(people["people"]) == 2
    seconds = [one["seconds"] for one in web.client.get("/api/people").json()["people"]]
    assert seconds == sorted(seconds, reverse=True)
    clips = {clip["clip"]: clip for clip in web.client.get("/api/clips").json()}
    assert set(clips) == {"a", "b", HOSTILE, "todo"}
    assert clips["todo"]["problem"] == "not processed yet"
    assert clips["a"]["frames"] == 30


def test_a_person_and_a_clip(web: Web) -> None:
    zero = web.people()["a", 0]
    person = web.client.get(f"/api/people/{zero}").json()
    assert [(seen["clip"], len(seen["appearances"])) for seen in person["seen"]] == [("a", 1), ("b", 1)]
    assert web.client.get(person["picture"]).headers["content-type"] == "image/png"
    clip = web.client.get(f"/api/clips/{web.clip('b')}").json()
    two = next(seen for seen in clip["seen"] if seen["face_id"] == 2)
    assert [(round(one["start_s"], 2), round(one["end_s"], 2)) for one in two["appearances"]] == [(0.0, 3.16)]
    assert web.client.get("/api/people/99").status_code == 404
    assert web.client.get("/api/clips/0000000000000000").status_code == 404
    assert web.client.get("/api/clips/nonsense").status_code == 422


def test_boxes(web: Web) -> None:
    found = web.client.get(f"/api/clips/{web.clip('a')}/boxes?from_s=0.2&to_s=0.4").json()
    assert found["frame_num"] == [5, 6, 7, 8, 9, 10]
    assert found["faces"][0] == [[0, 10.0, 10.0, 60.0, 60.0], [1, 70.0, 10.0, 120.0, 60.0]]
    assert (found["width"], found["height"]) == (160, 96)
    people = web.people()
    assert found["people"] == {"0": f"Person {people['a', 0]}", "1": f"Person {people['a', 1]}"}
    assert web.change("POST", "/api/people/ignored", {"people": [people["a", 1]], "ignored": True}).status_code == 204
    found = web.client.get(f"/api/clips/{web.clip('a')}/boxes?from_s=0.2&to_s=0.4").json()
    assert [face[0] for face in found["faces"][0]] == [0]
    empty = web.client.get(f"/api/clips/{web.clip('a')}/boxes?from_s=100&to_s=1").json()
    assert empty["faces"] == []


def test_name_merge_split_undo(web: Web) -> None:
    before = web.people()
    two, three = before["b", 2], before[HOSTILE, 3]
    assert web.change("PUT", f"/api/people/{two}/name", {"name": "Zoë"}).json()["name"] == "Zoë"
    merged = web.change("POST", "/api/people/merge", {"people": [two, three]}).json()
    assert merged["person_id"] == min(two, three)
    assert merged["clips"] == 2
    assert web.client.get("/api/correction").json()["what"].startswith("merged")
    assert web.change("DELETE", "/api/correction").status_code == 200
    assert web.people() == before
    faces = [{"clip_id": web.clip("b"), "face_id": 0}]
    other = web.change("POST", f"/api/people/{before['a', 0]}/split", {"faces": faces}).json()
    assert web.people()["b", 0] == other["person_id"] != before["a", 0]
    refused = web.change("POST", "/api/people/merge", {"people": [before["a", 0], before["a", 1]]})
    assert refused.status_code == 422
    assert "seen together" in refused.json()["detail"]


def test_the_index_follows(web: Web, photo: bytes) -> None:
    zero = web.people()["a", 0]
    web.change("PUT", f"/api/people/{zero}/name", {"name": "Ann"})
    # The pages know at once, the index soon.
    assert search(web, photo)["found"][0]["name"] == "Ann"
    assert web.service.keeper.wait(30)
    index = Index.open(web.service.index)
    assert index.count(Where(people=("Ann",))) == 2


def test_delete(web: Web) -> None:
    people = web.people()
    erased = web.change("DELETE", f"/api/people/{people['a', 0]}").json()
    assert (erased["clips"], erased["faces"], erased["pictures_left"]) == (["a", "b"], 40, 40)
    assert web.change("DELETE", f"/api/clips/{web.clip('b')}").json()["faces"] == 20
    assert web.service.keeper.wait(30)
    assert {entry.clip for entry in Index.open(web.service.index).clips()} == {"a", HOSTILE}


def test_what_is_being_written_is_not_deleted(web: Web) -> None:
    with ClipStore(web.service.root / "b.pipeline").begin({"identity": "again"}):
        assert web.change("DELETE", f"/api/clips/{web.clip('b')}").status_code == 409
        assert web.change("DELETE", f"/api/people/{web.people()['a', 0]}").status_code == 409
    assert web.change("DELETE", f"/api/clips/{web.clip('b')}").status_code == 200


def search(web: Web, photo: bytes, **fields: Any) -> Any:
    answer = web.client.post("/api/search", files={"photo": ("p.png", photo)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_search(web: Web, photo: bytes) -> None:
    found = search(web, photo)
    assert found["verdict"] == "found"
    assert {(one["clip"], one["face_id"]) for one in found["found"]} == {("a", 0), ("b", 0)}
    assert found["found"][0]["confidence"]["words"].endswith("strangers")
    assert found["found"][0]["appearances"][0]["evidence"] == "photo"
    assert [one["clip"] for one in search(web, photo, clip_id=web.clip("b"))["found"]] == ["b"]
    assert len(search(web, photo, top="1")["found"]) == 1
    nobody = search(web, photo, min_similarity="0.99999")
    assert nobody["verdict"] == "nobody"
    assert nobody["nearest"]["clip"] in ("a", "b")
    for wrong in ({"top": "0"}, {"top": "x"}, {"min_similarity": "2"}, {"face": "-1"}):
        refused = web.client.post("/api/search", files={"photo": ("p.png", photo)}, data=wrong)
        assert refused.status_code == 422, wrong
    unknown = web.client.post("/api/search", files={"photo": ("p.png", photo)}, data={"clip_id": "f" * 16})
    assert unknown.status_code == 404


def test_several_photos_are_joined(web: Web, photo: bytes) -> None:
    files = [("photo", ("1.png", photo)), ("photo", ("2.png", photo))]
    assert web.client.post("/api/search", files=files).json()["verdict"] == "found"


def test_which_face(web: Web, photo: bytes) -> None:
    import cv2
    import numpy as np

    two = cv2.imencode(".png", np.zeros((3, 2, 3), np.uint8))[1].tobytes()
    choice = web.client.post("/api/search", files={"photo": ("p.png", two)})
    assert choice.status_code == 300
    assert [face["number"] for face in choice.json()["faces"]] == [1, 2]
    assert search(web, two, face="2")["verdict"] == "found"


def test_ignored_people_are_not_found(web: Web, photo: bytes) -> None:
    web.change("POST", "/api/people/ignored", {"people": [web.people()["a", 0]], "ignored": True})
    assert web.service.keeper.wait(30)
    assert search(web, photo)["verdict"] == "nobody"


def test_jobs(web: Web) -> None:
    job = web.change("POST", "/api/jobs/report").json()
    assert job["state"] in ("waiting", "running")
    found = web.service.jobs.get(job["job"])
    assert found is not None
    assert web.service.jobs.wait(found, 120)
    done = web.client.get(f"/api/jobs/{job['job']}").json()
    assert (done["state"], done["status"], done["progress"]) == ("done", 0, 1.0)
    assert any("report.html" in line for line in done["log"])
    assert web.client.get("/api/jobs").json()[0]["job"] == job["job"]
    assert web.client.get("/api/jobs/99").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [({"every": 0}, 422), ({"frames": "some"}, 422), ({"command": "rm"}, 422), ({"every": "1"}, 422)],
)
def test_jobs_take_only_what_they_know(web: Web, body: dict[str, Any], status: int) -> None:
    assert web.change("POST", "/api/jobs/run", body).status_code == status
    assert web.client.get("/api/jobs").json() == []


def test_every_change_is_described(web: Web) -> None:
    schema = web.client.get("/api/openapi.json").json()
    for address, calls in schema["paths"].items():
        assert address.startswith("/api/")
        for call in calls.values():
            assert call["description"]
            assert {"401", "403", "422"} <= set(call["responses"])

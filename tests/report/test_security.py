"""What must be refused is tried: other sites, other hosts, no token, paths that lead out, files that are bombs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount

from facesearch_trt.cli.main import main
from facesearch_trt.report.rendering import local_path
from facesearch_trt.report.security import Access, Session, is_loopback

from .conftest import HOSTILE, TOKEN, Web, write_clip

SECRET = "secret"


# Hosts and sites.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "169.254.169.254",
    ],
)
def test_dns_rebinding(web: Web, host: str) -> None:
    for address in ("/", "/api/people", "/api/session", f"/media/{web.clip('a')}/video", "/static/base.css"):
        answer = web.client.get(address, headers={"host": host})
        assert answer.status_code == 421
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1:8000", "[::1]:8000", "127.0.0.2"])
def test_this_machine(web: Web, host: str) -> None:
    assert web.client.get("/", headers={"host": host}).status_code == 200


def test_two_hosts(web: Web) -> None:
    answer = web.client.get("/", headers=[("host", "localhost"), ("host", "evil.example")])
    assert answer.status_code == 421


CROSS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", CROSS)
def test_other_sites(web: Web, photo: bytes, headers: dict[str, str]) -> None:
    token = web.csrf()
    before = web.people()
    assert web.client.post("/undo", data={"csrf": token}, headers=headers).status_code == 403
    body = {"people": [0, 1]}
    answer = web.client.post("/api/people/merge", json=body, headers={**headers, "x-csrf-token": token})
    assert answer.status_code == 403
    assert web.client.post("/api/search", files={"photo": ("p", photo)}, headers=headers).status_code == 403
    assert web.people() == before


def test_the_same_site_is_let_in(web: Web) -> None:
    headers = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin", "x-csrf-token": web.csrf()}
    assert web.client.put("/api/people/0/name", json={"name": "x"}, headers=headers).status_code == 200


def changes(web: Web) -> list[tuple[str, str]]:
    """Return every route that changes something, with values for its parameters."""
    found = []
    values = {"person_id": str(web.people()["a", 0]), "clip_id": web.clip("a"), "number": "1"}
    for route in _routes(web.client.app.app.routes):  # type: ignore[attr-defined]
        for method in set(route.methods) - {"GET", "HEAD", "OPTIONS"}:
            if route.path not in ("/api/search", "/login"):
                found.append((method, route.path.format(**values)))
    return found


def _routes(routes: Any) -> list[Any]:
    found = []
    for route in routes:
        if isinstance(route, Mount):
            continue
        if hasattr(route, "methods"):
            found.append(route)
        else:
            found += _routes(getattr(route, "routes", None) or route.original_router.routes)
    return found


def test_no_change_without_its_token(web: Web) -> None:
    before, listed = web.people(), changes(web)
    assert len(listed) >= 19, listed
    web.client.get("/")
    for method, address in listed:
        for headers in (
            {},
            {"x-csrf-token": ""},
            {"x-csrf-token": "0" * 64},
            {"x-csrf-token": "ü".encode()},
        ):
            answer = web.client.request(method, address, headers=headers, data={"csrf": "0" * 64})
            assert answer.status_code == 403, (method, address, answer.text)
        # Neither does another content type get past it.
        answer = web.client.request(method, address, content=b"csrf=1", headers={"content-type": "text/plain"})
        assert answer.status_code in (403, 415), (method, address)
    assert web.people() == before
    assert web.service.jobs.all() == []


def test_a_token_of_another_session(web: Web) -> None:
    foreign = Session.new(web.access, trusted=True)
    web.client.get("/")
    answer = web.client.put("/api/people/0/name", json={"name": "x"}, headers={"x-csrf-token": foreign.csrf})
    assert answer.status_code == 403


def test_cookies(web: Web) -> None:
    cookie = web.client.get("/").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    forged = web.client.get("/api/session", headers={"cookie": f"{web.access.cookie}=aaaa.{'0' * 64}"})
    assert forged.json()["csrf"] != web.access.signed("csrf", "aaaa")


# Tokens.


def test_without_a_token(guarded: Web, photo: bytes) -> None:
    client = guarded.client
    assert client.get("/").headers["location"].startswith("/login")
    assert client.get("/api/people").status_code == 401
    assert client.post("/api/search", files={"photo": ("p", photo)}).status_code == 401
    assert client.get(f"/media/{guarded.clip('a')}/video").status_code == 303
    assert client.get("/api/openapi.json").status_code == 401
    assert client.get("/static/base.css").status_code == 200
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü"):
        value = f"Bearer {wrong}".encode()
        assert client.get("/api/people", headers={"authorization": value}).status_code == 401, wrong
    assert client.get("/login?next=/clips").status_code == 200
    assert "Person" not in client.get("/login").text


def test_with_a_token(guarded: Web) -> None:
    client, bearer = guarded.client, {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/people", headers=bearer).json()["total"] == 4
    assert client.put("/api/people/0/name", json={"name": "x"}, headers=bearer).status_code == 200
    # A page of another site could not have sent it, but is refused all the same.
    answer = client.put("/api/people/0/name", json={"name": "y"}, headers={**bearer, "origin": "https://evil.example"})
    assert answer.status_code == 403


def test_log_in_and_out(guarded: Web) -> None:
    import re

    client = guarded.client
    found = re.search(r'name="csrf" value="(\w+)"', client.get("/login").text)
    assert found is not None
    assert client.post("/login", data={"csrf": found[1], "token": "wrong"}).status_code == 403
    assert client.get("/").status_code == 303
    answer = client.post("/login", data={"csrf": found[1], "token": TOKEN, "next": "//evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = client.get("/")
    assert page.status_code == 200
    assert "Log out" in page.text
    found = re.search(r'name="csrf" value="(\w+)"', page.text)
    assert found is not None
    assert client.post("/logout", data={"csrf": found[1]}).status_code == 303
    assert client.get("/").status_code == 303


def test_a_guest_cannot_make_itself_trusted(guarded: Web) -> None:
    guest = Session.new(guarded.access, trusted=False)
    for purpose in ("guest", "csrf"):
        value = f"{guest.nonce}.{guarded.access.signed(purpose, guest.nonce)}"
        answer = guarded.client.get("/api/people", headers={"cookie": f"{guarded.access.cookie}={value}"})
        assert answer.status_code == 401


def test_names_for_others(guarded: Web) -> None:
    for host, status in (("faces.example", 200), ("192.0.2.1", 200), ("evil.example", 421)):
        assert guarded.client.get("/login", headers={"host": host}).status_code == status


def test_what_cannot_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="token is needed"):
        Access("0.0.0.0")
    with pytest.raises(ValueError, match="characters"):
        Access("127.0.0.1", "short")
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 2
    assert "token" in capsys.readouterr().err
    (tmp_path / "token").write_text("short\n")
    assert main(["serve", str(tmp_path), "--token-file", str(tmp_path / "token")]) == 2
    assert "too short" in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "gone")]) == 2
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.0.1")
    assert is_loopback("::1")


def test_links_stay_here() -> None:
    assert local_path("/clips?t=1") == "/clips?t=1"
    for address in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "evil",
        "",
        "javascript:alert(1)",
        "/a\nb",
    ):
        assert local_path(address) == "/"


# Paths.


TRAVERSALS = [
    "../secret.txt",
    "../../secret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/secret.txt",
    "..%252f..%252fsecret.txt",
    "....//....//secret.txt",
    "..\\..\\secret.txt",
    "..%5c..%5csecret.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "faces.csv",
    "../run.json",
    "..%2frun.json",
    "frame_0000_face_00.png%00.txt",
    "frame_0000_face_00.png/../../run.json",
    "%c0%ae%c0%ae/secret.txt",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_paths_do_not_lead_out(web: Web, path: str) -> None:
    clip = web.clip("a")
    for address in (
        f"/media/{clip}/faces/{path}",
        f"/media/{clip}/{path}",
        f"/media/{path}/video",
        f"/clips/{path}",
        f"/api/clips/{path}",
        f"/static/{path}",
        f"/{path}",
    ):
        answer = web.client.get(address)
        assert answer.status_code in (404, 405, 422), address
        for inside in (b"root:", b'"program"', b"enorm"):
            assert inside not in answer.content
        assert answer.content != SECRET.encode()


def test_a_link_in_the_results_is_not_followed(web: Web) -> None:
    directory = web.root / "a.pipeline" / "faces"
    (directory / "frame_9999_face_00.png").symlink_to(web.root.parent / "secret.txt")
    assert web.client.get(f"/media/{web.clip('a')}/faces/frame_9999_face_00.png").status_code == 404
    assert web.client.get(f"/media/{web.clip('a')}/faces/frame_0000_face_00.png").status_code == 200


def test_a_video_with_a_hostile_name(web: Web) -> None:
    clip = web.clip(HOSTILE)
    assert web.client.get(f"/media/{clip}/video").status_code == 200
    page = web.client.get(f"/clips/{clip}").text
    assert HOSTILE not in page
    assert "onerror=alert" not in page.replace("&lt;img src=x onerror=alert(1)&gt;", "")


@pytest.mark.parametrize(
    "name", ["a\nb", "$(touch x)", "-rf", "%2e%2e", "a#b?c", "日本語", "'; DROP TABLE x; --", "a\udcff"]
)
def test_other_names(web: Web, name: str) -> None:
    write_clip(web.root, name, [[7]] * 2)
    web.service.library.changed()
    clip = web.clip(name)
    assert web.client.get(f"/clips/{clip}").status_code == 200
    assert web.client.get(f"/api/clips/{clip}").status_code == 200
    assert web.client.get(f"/media/{clip}/video").status_code == 200
    assert web.client.get("/clips").status_code == 200
    if name != "a\udcff":  # the index has no such name, so nothing can be deleted in it
        assert web.change("DELETE", f"/api/clips/{clip}").status_code == 200


# Ranges.


def test_ranges(web: Web) -> None:
    address = f"/media/{web.clip('a')}/video"
    whole = web.client.get(address)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    part = web.client.get(address, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert web.client.get(address, headers={"range": "bytes=-10"}).content == whole.content[-10:]
    assert web.client.get(address, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416
    assert web.client.get(address, headers={"range": "bytes=" + ",".join(["0-"] * 5000)}).status_code in (
        200,
        206,
        400,
        416,
    )
    head = web.client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    (web.root / "a.mp4").unlink()
    assert web.client.get(address).status_code == 404


# Uploads.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """Return a PNG of a few kilobytes that says it has side x side pixels, all black."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(side // 8 + 1)) for _ in range(min(side, 2000))) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb(60_000), "too large"),
        (b"BM" + bytes(16) + struct.pack("<ii", 2**31 - 1, -(2**31 - 1)) + bytes(28), "too large"),
        (b"", "no photo"),
        (b"no picture", "not a JPEG"),
        (b"GIF89a" + bytes(100), "not a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03", "damaged"),
        (b"\xff\xd8" + b"\xff" * 100_000, "not a JPEG"),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(30), "damaged"),
    ],
)
def test_pictures_that_are_none(web: Web, content: bytes, says: str) -> None:
    for address in ("/api/search", "/search"):
        answer = web.client.post(address, files={"photo": ("p.png", content)}, data={"csrf": web.csrf()})
        assert answer.status_code == 422
        assert says in answer.text


def test_too_many_bytes(web: Web) -> None:
    token = web.csrf()
    large = bytes(web.access.max_upload + 1)
    answer = web.client.post("/api/search", files={"photo": ("p.png", large)})
    assert answer.status_code == 413

    def drip() -> Any:
        for _ in range(web.access.max_upload // 65536 + 2):
            yield bytes(65536)

    # Without a length, it is cut off on the way.
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert web.client.post("/api/search", content=drip(), headers=kind).status_code in (400, 413)
    body = b'{"name": "' + b"x" * (1 << 19) + b'"}'
    headers = {"x-csrf-token": token, "content-type": "application/json"}
    assert web.client.put("/api/people/0/name", content=body, headers=headers).status_code == 413
    assert web.client.get("/", headers={"content-length": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=y", 400),
        (b"--y\r\n\r\n\r\n--y--", "multipart/form-data; boundary=y", 400),
        (
            b'--y\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nabc',
            "multipart/form-data; boundary=y",
            422,
        ),
    ],
)
def test_malformed_forms(web: Web, content: bytes, kind: str, status: int) -> None:
    answer = web.client.post("/api/search", content=content, headers={"content-type": kind})
    assert answer.status_code in (status, 400, 422)
    assert answer.status_code < 500


def test_too_many_photos(web: Web, photo: bytes) -> None:
    files = [("photo", (f"{at}.png", photo)) for at in range(9)]
    assert web.client.post("/api/search", files=files).status_code == 400


def test_photos_are_not_stored(web: Web, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in a temporary file, as large uploads usually are."""
    import tempfile

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a photo would be written to a file")

    before = sorted(web.root.parent.rglob("*"))
    with monkeypatch.context() as patch:
        for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
            patch.setattr(tempfile, name, refused)
        large = photo + bytes(3 << 20)
        answer = web.client.post("/api/search", files={"photo": ("p.png", large)})
    assert answer.status_code == 200
    assert sorted(web.root.parent.rglob("*")) == before


def test_too_many_searches(web: Web, photo: bytes) -> None:
    web.client.app.app.state.searches._waiting = -web.service.finder.at_once  # type: ignore[attr-defined]
    answer = web.client.post("/api/search", files={"photo": ("p.png", photo)})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_an_internal_error_tells_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from facesearch_trt.config import Options
    from facesearch_trt.report.service import Service
    from facesearch_trt.report.web import create_app

    with Service(root, Options(), str(root.parent / "index")) as service:
        app = create_app(service, Access("127.0.0.1"))
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            monkeypatch.setattr(service.library, "snapshot", lambda: 1 / 0)
            answer = client.get("/api/people")
            assert answer.status_code == 500
            assert "division" not in answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"

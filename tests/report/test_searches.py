"""Searches by photo leave the event loop alone, and no photo is read before its turn."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from facesearch_trt.report.context import _MORE_FORMS, Searches
from facesearch_trt.report.library import Library

from .conftest import Web


def test_nothing_of_a_search_is_done_on_the_event_loop(web: Web, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Library.snapshot
    seen = []

    def elsewhere(library: Library) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        seen.append(threading.current_thread().name)
        return snapshot(library)

    fields = {"csrf": web.csrf(), "clip_id": web.clip("a")}
    monkeypatch.setattr(Library, "snapshot", elsewhere)
    assert web.client.post("/api/search", files={"photo": ("p.png", photo)}, data=fields).status_code == 200
    assert web.client.post("/search", files={"photo": ("p.png", photo)}, data=fields).status_code == 200
    assert len(seen) >= 4


def test_a_photo_is_read_when_its_turn_comes() -> None:
    reading, finish = [], threading.Event()

    def request(number: int) -> Request:
        async def receive() -> dict[str, Any]:
            reading.append(number)
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"content-type", b"application/x-www-form-urlencoded")]
        return Request({"type": "http", "method": "POST", "headers": headers}, receive)

    async def main() -> None:
        searches = Searches(1)
        answers: list[int] = []

        async def search(number: int) -> None:
            answers.append(await searches.answer(request(number), None, lambda _: finish.wait(30) and number))

        async with anyio.create_task_group() as group:
            for number in range(1, 10):
                group.start_soon(search, number)
            await anyio.wait_all_tasks_blocked()
            assert len(reading) == 1 + _MORE_FORMS
            finish.set()
        assert sorted(answers) == sorted(reading) == list(range(1, 10))

    anyio.run(main)


def test_photos_that_do_not_arrive_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import HTTPException

    monkeypatch.setattr("facesearch_trt.report.context._UPLOAD_S", 0.05)

    async def never() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, never)
    with pytest.raises(HTTPException) as caught:
        anyio.run(Searches(1).answer, request, None, lambda form: form)
    assert caught.value.status_code == 408

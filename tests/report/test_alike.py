"""Who resembles whom: what was grouped is read once, and again when it is grouped anew."""

from __future__ import annotations

from typing import Any

import pytest

from facesearch_trt.report import alike

from .conftest import Web


def test_what_is_known_is_read_when_it_changes(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = alike.read_state

    def counted(*arguments: Any) -> Any:
        reads.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(alike, "read_state", counted)
    people = web.people()
    zero, one, two, three = people["a", 0], people["a", 1], people["b", 2], people[next(c for c in people if c[1] == 3)]

    def like(person: int) -> list[int | None]:
        return [found.person.person_id for found in web.service.alike(web.service.person(person), 9)]

    # Those who were seen together are not the same person.
    assert set(like(zero)) == {three}
    assert set(like(one)) == {two, three}
    assert set(like(three)) == {zero, one, two}
    assert len(reads) == 1
    web.service.merge([two, three])
    assert set(like(one)) == {min(two, three)}
    assert len(reads) == 2
    web.service.ignore([two], ignored=True)
    assert like(one) == []
    web.service.delete_person(zero)
    assert web.client.get(f"/people/{one}").status_code == 200
    assert {found.person.person_id for found in web.service.alike(web.service.person(one), 9)} == set()

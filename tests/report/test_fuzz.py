"""The API, fuzzed from its own description: no answer that it does not describe, no internal error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from facesearch_trt.report.security import Access

from .conftest import TOKEN, Web, made, opened

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install schemathesis")

CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
BEARER = {"authorization": f"Bearer {TOKEN}"}
LEFT_OUT = ("/api/jobs/run", "/api/jobs/report")
"""These start processes; tests/report/test_api.py tries what they refuse."""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The application, with a token: then a change needs no second request."""
    root = made(tmp_path_factory.mktemp("fuzz") / "root")
    yield from opened(root, Access("127.0.0.1", TOKEN))


@pytest.fixture(scope="module")
def api(fuzzed: Web) -> Any:
    """The description, with the application behind it."""
    return schemathesis.openapi.from_dict(fuzzed.client.get("/api/openapi.json", headers=BEARER).json())


SETTINGS = settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_api(api: Any, fuzzed: Web) -> None:
    tried = []
    for result in api.get_all_operations():
        operation = result.ok()
        if operation.path not in LEFT_OUT:
            fuzz(operation, fuzzed)
            tried.append((operation.method, operation.path))
    assert len(tried) >= 18, tried
    # Nothing outside of the results was touched.
    assert (fuzzed.root.parent / "secret.txt").read_text() == "secret"
    assert {path.name for path in fuzzed.root.parent.iterdir()} == {"root", "index", "secret.txt"}


def fuzz(operation: Any, web: Web) -> None:
    """Call one operation with made-up values, right ones and wrong ones."""
    for mode in schemathesis.GenerationMode:

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            response = case.call(session=None, app=web.client.app, headers=BEARER, base_url="http://localhost:8000")
            case.validate_response(response, headers=BEARER, checks=CHECKS)

        try:
            call()
        except Unsatisfiable:
            # An operation that takes nothing cannot be called in a wrong way.
            assert mode is schemathesis.GenerationMode.NEGATIVE

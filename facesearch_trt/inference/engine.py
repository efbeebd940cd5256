"""The one protocol that every runtime serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from ..types import Array

__all__ = ["Engine", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and type of an input or output; a dimension that may vary is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    """numpy's name, "float32" for example."""


class Engine(Protocol):
    """A network ready to run. A context manager: leaving it frees the runtime's memory.

    ``infer`` may be called from several threads at once.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    max_batch: int
    """Largest first dimension that ``infer`` accepts."""

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network on C-contiguous host arrays and return host arrays that the caller may keep.

        Raises EngineError where a name, type or shape does not fit, or the runtime fails.
        """
        ...

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

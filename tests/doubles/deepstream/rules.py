"""What breaks the contract is raised where it can be, and remembered in any case.

An exception inside a GStreamer callback is printed and lost, so every violation is also kept here; the fixture that
installs the double fails a test that leaves one behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class ContractViolation(RuntimeError):
    """Code did what DeepStream does not allow."""


@dataclass
class State:
    """The state of the double in this process."""

    jetson: bool = False
    """Behave as on a Jetson: mapped surfaces, no ``_gpu`` access, its own properties."""
    tensors_on_device: bool = False
    """pyservicemaker's tensors of nvinfer lie on the device; otherwise they are the copies on the host."""
    violations: list[str] = field(default_factory=list)
    decoders_alive: int = 0
    eos_late: bool = False
    """Post ``stream-eos`` only when a stream's last frame has been pushed; otherwise at once, before its last frames.
    """
    stalling_width: int = 0
    """Decoders of pictures this wide give two and then nothing more, not even an end."""
    swallow: set[int] = field(default_factory=set)
    """Pads of the mux of whose frames every third is taken and never pushed: a mux that drops."""
    infer_fails_after: int | None = None
    """nvinfer reports an error after so many batches."""
    batches: list[tuple[int, ...]] = field(default_factory=list)
    """The pads of every batch that the mux pushed, in order."""


STATE = State()


def violation(text: str) -> ContractViolation:
    """Remember a violation and return it to be raised."""
    STATE.violations.append(text)
    return ContractViolation(text)


def reset() -> None:
    """Forget everything."""
    STATE.__dict__.update(State().__dict__)

"""Which input shapes an engine is built for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import EngineError

__all__ = ["Profile", "detector_profiles", "embedder_profiles", "fitting_profile"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes of one input that one optimisation profile covers, and the one it is tuned for."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def __post_init__(self) -> None:
        ordered = all(
            1 <= low <= best <= high for low, best, high in zip(self.minimum, self.optimum, self.maximum, strict=True)
        )
        if not ordered:
            raise EngineError(
                "the shapes of an optimisation profile are out of order",
                asked=f"{self.minimum} to {self.maximum}, best at {self.optimum}",
            )

    def covers(self, shape: Sequence[int]) -> bool:
        """Return whether an input of this shape can run with the profile."""
        return len(shape) == len(self.minimum) and all(
            low <= size <= high for low, size, high in zip(self.minimum, shape, self.maximum, strict=True)
        )

    def as_lists(self) -> list[list[int]]:
        """Return minimum, optimum and maximum for a JSON file."""
        return [list(self.minimum), list(self.optimum), list(self.maximum)]

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> Profile:
        """Return the profile that :meth:`as_lists` gave."""
        low, best, high = (tuple(int(size) for size in shape) for shape in lists)
        return cls(low, best, high)


def embedder_profiles(chip_size: int, batches: Iterable[int]) -> tuple[Profile, ...]:
    """Return one profile per batch size, each from one face to that many and tuned for that many.

    Parameters
    ----------
    chip_size: side of the square chips, px.
    batches: wanted batch sizes.
    """
    side = (3, chip_size, chip_size)
    return tuple(Profile((1, *side), (batch, *side), (batch, *side)) for batch in _ascending(batches))


def detector_profiles(
    batches: Iterable[int], best_size: tuple[int, int], largest_side: int, multiple: int
) -> tuple[Profile, ...]:
    """Return one profile per batch size, each from one frame to that many and tuned for that many.

    Parameters
    ----------
    batches: wanted batch sizes.
    best_size: width and height, px, of the network's input that the engine is tuned for.
    largest_side: longest side of an input, px; any shape up to this square runs.
    multiple: both sides of an input are multiples of it.
    """
    width, height = (_up(side, multiple) for side in best_size)
    largest = max(_up(largest_side, multiple), width, height)
    return tuple(
        Profile((1, 3, multiple, multiple), (batch, 3, height, width), (batch, 3, largest, largest))
        for batch in _ascending(batches)
    )


def fitting_profile(profiles: Sequence[Mapping[str, Profile]], shapes: Mapping[str, Sequence[int]]) -> int | None:
    """Return the number of the profile that covers the inputs' shapes and is tuned for a batch nearest above; None if
    none does.

    Parameters
    ----------
    profiles: per profile the shapes of each input.
    shapes: of each input.
    """
    fitting = [
        index
        for index, profile in enumerate(profiles)
        if all(profile[name].covers(shape) for name, shape in shapes.items())
    ]
    return min(fitting, key=lambda index: sum(one.maximum[0] for one in profiles[index].values()), default=None)


def _ascending(batches: Iterable[int]) -> list[int]:
    sizes = sorted(set(batches))
    if not sizes or sizes[0] < 1:
        raise EngineError("an engine needs batch sizes of at least 1", asked=sizes)
    return sizes


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple

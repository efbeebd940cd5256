"""Enumerations as recorded, and the guard that keeps classes to their recorded names."""

from __future__ import annotations

from typing import Any

from .contract import Violation, tensorrt_names

__all__ = ["EnumValue", "Guarded", "enums"]

_ENUMS = (
    "NetworkDefinitionCreationFlag BuilderFlag PreviewFeature TacticSource MemoryPoolType DataType TensorIOMode ErrorCode"
).split()


class EnumValue:
    """A member of a pybind11 enumeration: converts to int, compares by identity."""

    def __init__(self, kind: str, name: str, number: int) -> None:
        self.name, self._kind, self._number = name, kind, number

    def __int__(self) -> int:
        return self._number

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{self._kind}.{self.name}: {self._number}>"


def enums(version: str) -> dict[str, type]:
    """Return the enumerations that the program may use, with the members that the version has."""
    names = tensorrt_names(version)
    result = {}
    for kind in _ENUMS:
        members = sorted(
            name.split(".")[1] for name in names if name.startswith(f"{kind}.") and name.split(".")[1].isupper()
        )
        values = {member: EnumValue(kind, member, number) for number, member in enumerate(members)}
        result[kind] = type(kind, (), values)
    return result


class Guarded:
    """Base of the double's classes: a public name is there only if the version has it, and only what the class sets may be set."""

    _allowed: frozenset[str] = frozenset()
    _checked_name = ""
    _settable: frozenset[str] = frozenset()

    @classmethod
    def _guard(cls, names: frozenset[str]) -> None:
        cls._checked_name = cls.__name__
        cls._allowed = frozenset(name.split(".")[1] for name in names if name.startswith(f"{cls.__name__}."))

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            allowed = object.__getattribute__(self, "_allowed")
            # Subclasses made by the program have methods of their own.
            own = any(name in vars(kind) for kind in type(self).__mro__ if not kind.__module__.startswith(__package__))
            own = own or name in object.__getattribute__(self, "__dict__")
            if allowed and name not in allowed and not own:
                raise AttributeError(f"{object.__getattribute__(self, '_checked_name')} has no attribute {name!r}")
            try:
                return object.__getattribute__(self, name)
            except AttributeError as error:
                raise Violation(f"the double does not model {type(self).__name__}.{name}") from error
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        program = not type(self).__module__.startswith(__package__)
        if not name.startswith("_") and not program and (name not in self._settable or name not in self._allowed):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} that can be set")
        object.__setattr__(self, name, value)

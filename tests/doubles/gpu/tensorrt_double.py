"""The tensorrt module of one version, over ONNX Runtime."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from .contract import Violation, tensorrt_names
from .machine import GpuMachine
from .tensorrt_build import build_classes
from .tensorrt_enums import enums
from .tensorrt_run import run_classes

__all__ = ["make_tensorrt"]


class _StrictModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in tensorrt_names(self.__version__):
            raise Violation(f"the double does not model tensorrt.{name}")
        raise AttributeError(f"tensorrt {self.__version__} has no {name}")


def make_tensorrt(machine: GpuMachine, version: str) -> ModuleType:
    """Return the module for ``sys.modules``. Its names are those of ``version``, each checked against the record."""
    trt = _StrictModule("tensorrt")
    trt.__version__ = version
    names = tensorrt_names(version)
    content = {**enums(version), **build_classes(machine, trt, version), **run_classes(machine, trt, version)}
    for name, value in content.items():
        if name not in names:
            continue  # of another version
        if isinstance(value, type) and hasattr(value, "_guard"):
            value._guard(names)
        setattr(trt, name, value)
    return trt

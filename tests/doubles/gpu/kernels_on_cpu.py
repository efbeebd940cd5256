"""Compiles CUDA source with g++ and calls its kernels, with pycuda's rules for arguments."""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .contract import Violation

__all__ = ["KERNEL", "compile_for_cpu", "has_compiler", "kernel_call"]

KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)', re.S)
_EMULATION = Path(__file__).with_name("cuda_emulation.h")
_SCALARS: dict[str, tuple[type[np.generic], type[ctypes._SimpleCData[object]]]] = {
    "int": (np.int32, ctypes.c_int),
    "float": (np.float32, ctypes.c_float),
    "double": (np.float64, ctypes.c_double),
}


def has_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    return shutil.which("g++") is not None


@cache
def compile_for_cpu(source: str) -> Path:
    """Return a shared library with a function ``launch_<kernel>`` for each kernel of the source."""
    folder = Path(tempfile.gettempdir()) / "facesearch-kernels-on-cpu"
    folder.mkdir(exist_ok=True)
    wrappers = "".join(_wrapper(match[1], match[2]) for match in KERNEL.finditer(source))
    text = f"{_EMULATION.read_text(encoding='utf-8')}\n{source}\n{wrappers}"
    library = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file, built = Path(scratch) / "kernels.cpp", Path(scratch) / "kernels.so"
            file.write_text(text, encoding="utf-8")
            command = ["g++", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
            result = subprocess.run(
                [*command, "-o", str(built), str(file), "-lm"], capture_output=True, text=True, check=False
            )
            if result.returncode:
                raise Violation(f"g++ refuses the kernels:\n{result.stderr}")
            built.replace(library)
    return library


def kernel_call(
    source: str, name: str, arguments: Sequence[object], block: tuple[int, ...], grid: tuple[int, ...]
) -> Callable[[], None]:
    """Return a call of a kernel with checked arguments, to be made later."""
    signatures = {match[1]: _parameters(match[2]) for match in KERNEL.finditer(source)}
    types = signatures[name]
    if len(arguments) != len(types):
        raise Violation(f"{name} takes {len(types)} arguments, got {len(arguments)}")
    if len(block) != 3 or len(grid) != 3 or np.prod(block) > 1024 or min(*block, *grid) < 1 or max(grid[1:]) > 65535:
        raise Violation(f"{name} cannot be launched with blocks {block} in a grid {grid}")
    packed: list[object] = [ctypes.c_uint(int(size)) for size in (*grid, *block)]
    for position, (argument, kind) in enumerate(zip(arguments, types, strict=True)):
        packed.append(_packed(f"{name}, argument {position}", argument, kind))
    launch = getattr(ctypes.CDLL(str(compile_for_cpu(source))), f"launch_{name}")
    return lambda: launch(*packed)


def _packed(where: str, argument: object, kind: str) -> object:
    if kind == "pointer":
        # A device address travels as an unsigned integer of 8 bytes.
        if not isinstance(argument, (np.uint64, np.uintp)):
            raise TypeError(f"invalid type on parameter: {where}: {type(argument)} for a pointer")
        return ctypes.c_void_p(int(argument))
    numpy_type, c_type = _SCALARS[kind]
    if type(argument) is not numpy_type:
        raise TypeError(f"invalid type on parameter: {where}: {type(argument)} for {kind}")
    return c_type(argument.item())  # type: ignore[attr-defined]


def _parameters(text: str) -> list[str]:
    return ["pointer" if "*" in one else one.split()[-2] for one in text.split(",")]


def _wrapper(name: str, declared_text: str) -> str:
    declared = [" ".join(one.split()) for one in declared_text.split(",")]
    names = [re.split(r"[ *]", one)[-1] for one in declared]
    return f"""
extern "C" void launch_{name}(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              {", ".join(declared)}) {{
    gridDim = {{gx, gy, gz}};
    blockDim = {{bx, by, bz}};
    for (blockIdx.z = 0; blockIdx.z < gz; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gy; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < gx; ++blockIdx.x)
    for (threadIdx.z = 0; threadIdx.z < bz; ++threadIdx.z)
    for (threadIdx.y = 0; threadIdx.y < by; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < bx; ++threadIdx.x)
        {name}({", ".join(names)});
}}
"""

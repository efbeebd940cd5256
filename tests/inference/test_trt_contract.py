"""Every name of TensorRT and pycuda that the program mentions exists in each version it claims, or stands in the table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch_trt.inference.trt_versions import VERSION_DEPENDENT, generation
from tests.doubles.gpu.contract import TENSORRT_VERSIONS, pycuda_names, tensorrt_names

ROOM = Path(__file__).parents[2] / "facesearch_trt" / "inference"

TENSORRT_VARIABLES = {
    "trt": "",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "monitor": "IProgressMonitor",
}
"""Name of a variable → class of what it holds, in the modules that use TensorRT."""
TENSORRT_MODULES = {
    "build.py": {"trt", "builder", "network", "parser", "config", "profile", "cache"},
    "tensorrt.py": {"trt", "runtime", "engine", "_engine"},
    "trt_versions.py": {"trt", "config", "engine", "error"},
    "trt_logging.py": {"trt"},
    "execution.py": {"_context"},
}
PYCUDA_VARIABLES = {"driver": "driver", "_driver": "driver", "_stream": "driver.Stream", "device": "driver.Device"}


def _chains(module: str, variables: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (variable, dotted attributes) for each use of one of the variables."""
    tree = ast.parse((ROOM / module).read_text(encoding="utf-8"))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        names: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            names.insert(0, value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            names.insert(0, value.id)
        for position, name in enumerate(names[:-1]):
            if name in variables:
                yield name, ".".join(names[position + 1 :])
                break


def _mentioned() -> dict[str, set[str]]:
    """Return "Class.attribute" → modules that mention it."""
    found: dict[str, set[str]] = {}
    for module, variables in TENSORRT_MODULES.items():
        for variable, attributes in _chains(module, variables):
            kind = TENSORRT_VARIABLES[variable]
            # What lies behind a method or property of an object (shape.dims) is not the module's business.
            depth = 2 if kind == "" else 1
            name = ".".join(part for part in (kind, *attributes.split(".")[:depth]) if part)
            found.setdefault(name.removesuffix(".__init__"), set()).add(module)
    return found


def test_the_scan_sees_the_program() -> None:
    seen = _mentioned()
    for name in (
        "Builder.build_serialized_network",
        "IExecutionContext.execute_async_v3",
        "BuilderFlag.FP16",
        "TensorIOMode.INPUT",
    ):
        assert name in seen
    assert len(seen) > 40


@pytest.mark.parametrize("version", TENSORRT_VERSIONS)
def test_names_exist_in_every_version_or_stand_in_the_table(version: str) -> None:
    here = tensorrt_names(version)
    missing = {name for name in _mentioned() if name not in here and name not in VERSION_DEPENDENT}
    assert not missing, f"TensorRT {version} lacks {sorted(missing)}"


def test_what_versions_differ_in_is_in_one_file() -> None:
    spread = {
        name: modules
        for name, modules in _mentioned().items()
        if name in VERSION_DEPENDENT and modules != {"trt_versions.py"}
    }
    assert not spread


def test_the_table_tells_what_was_recorded() -> None:
    for name, (first, gone) in VERSION_DEPENDENT.items():
        for version in TENSORRT_VERSIONS:
            numbers = tuple(int(part) for part in version.split(".")[:2])
            expected = numbers >= first and (gone is None or numbers < gone)
            assert (name in tensorrt_names(version)) == expected, f"{name} in {version}"


def test_tactic_sources_exist_everywhere() -> None:
    from facesearch_trt.inference.build import _TACTICS

    for version in TENSORRT_VERSIONS:
        assert {f"TacticSource.{name}" for name in _TACTICS} <= tensorrt_names(version)


def test_generations_switch_where_the_record_does() -> None:
    for version in TENSORRT_VERSIONS:
        names, kind = tensorrt_names(version), generation(version)
        assert kind.precision_flags <= ("BuilderFlag.FP16" in names)
        assert kind.strongly_typed_flag <= ("NetworkDefinitionCreationFlag.STRONGLY_TYPED" in names)
        assert kind.progress_monitor == ("IProgressMonitor" in names)
        assert kind.memory_size_v2 == ("ICudaEngine.device_memory_size_v2" in names)
        assert kind.named_parser_errors == ("ParserError.node_name" in names)


def test_pycuda_names_exist() -> None:
    seen = set()
    for module in ("device.py", "kernels.py"):
        for variable, attributes in _chains(module, set(PYCUDA_VARIABLES)):
            if variable == "device" and module == "kernels.py":
                continue  # our own device
            prefix = PYCUDA_VARIABLES[variable]
            seen.add(f"{prefix}.{attributes}".removesuffix(".getattr"))
    assert {"driver.mem_alloc", "driver.memcpy_htod_async", "driver.Device.retain_primary_context"} <= seen
    assert seen <= pycuda_names(), sorted(seen - pycuda_names())
    tree = ast.parse((ROOM / "device.py").read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "pycuda.compiler"
        for alias in node.names
    }
    assert imported == {"compile"}
    assert "compiler.compile" in pycuda_names()


def test_pycuda_is_never_used_in_the_ways_that_make_another_context() -> None:
    for module in ROOM.glob("*.py"):
        source = module.read_text(encoding="utf-8")
        assert "make_context" not in source
        assert "import pycuda.auto" not in source

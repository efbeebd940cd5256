"""The rules of the house: who may import whom, which library lives in which room, and that every module imports bare."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "facesearch_trt"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOM_OF_LIBRARY = {
    "gi": {"graph/gst.py"},
    "norfair": {"identity/track.py"},
    "scenedetect": {"identity/shots.py"},
    "onnxruntime": {"inference/onnxruntime.py", "inference/precision.py", "inference/calibration.py"},
    "tensorrt": {"inference/tensorrt.py", "inference/build.py", "inference/trt_versions.py"},
    "pycuda": {"inference/device.py", "inference/kernels.py"},
    "onnx": {"models", "inference/precision.py", "inference/build.py"},
    "pyds": {"graph/probe.py"},
    "pyservicemaker": {"graph/servicemaker.py"},
    "rich": {"cli"},
    "isal": {"store/png.py"},
    "lancedb": {"search"},
    "prometheus_client": {"cli/metrics.py"},
    "ray": {"distributed.py"},
    "fastapi": {"report"},
    "starlette": {"report"},
    "uvicorn": {"report"},
    "python_multipart": {"report"},
    "jinja2": {"report"},
}
"""Library → the only files or folders of the package that may import it."""

OPTIONAL = (
    "gi",
    "norfair",
    "scenedetect",
    "onnxruntime",
    "tensorrt",
    "pycuda",
    "onnx",
    "pyds",
    "pyservicemaker",
    "rich",
    "scipy",
    "prometheus_client",
    "ray",
)
"""Heavy or optional libraries: no module may need them only to be imported."""


def _name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def _imported(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("library", ROOM_OF_LIBRARY)
def test_library_stays_in_its_room(library: str) -> None:
    allowed = ROOM_OF_LIBRARY[library]
    for module in MODULES:
        if library in _imported(module):
            name = _name(module)
            assert name in allowed or name.split("/")[0] in allowed, (
                f"{name} imports {library}, whose room is {sorted(allowed)}"
            )


def test_every_module_imports_without_optional_libraries() -> None:
    modules = [".".join(("facesearch_trt", *module.relative_to(PACKAGE).with_suffix("").parts)) for module in MODULES]
    modules = [module.removesuffix(".__init__") for module in modules if not module.endswith("__main__")]
    program = f"""
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
for module in {modules!r}:
    importlib.import_module(module)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_layers() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed; ./test.sh installs it")
    result = subprocess.run(
        [program, "--config", "setup.cfg", "--no-cache"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_all_names_what_is_public(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    public = {
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }
    exported: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            exported = set(ast.literal_eval(node.value))
    assert public <= exported, f"{_name(module)}: not in __all__: {sorted(public - exported)}"


def test_files_stay_readable() -> None:
    long = {
        _name(module): count
        for module in MODULES
        if (count := len(module.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long, f"files over 400 lines: {long}"

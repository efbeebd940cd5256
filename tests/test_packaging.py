"""What an installed package holds: every module and every file that the program reads, as the images install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "facesearch_trt"


def files_of(directory: Path) -> set[str]:
    files = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with the package as ``pip install .`` would leave it."""
    # Setuptools writes beside its sources.
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, checkout)
    for name in ("facesearch_trt", "configs"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    built = checkout / "built"
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(built)]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return built


def test_everything_is_installed(installed: Path) -> None:
    wanted = files_of(PACKAGE) | {f"configs/{name}" for name in files_of(REPOSITORY / "configs")}
    assert files_of(installed / "facesearch_trt") == wanted


def test_every_installed_module_is_imported_from_where_it_is_installed(installed: Path) -> None:
    package = installed / "facesearch_trt"
    modules = [".".join(path.relative_to(installed).with_suffix("").parts) for path in package.rglob("*.py")]
    modules = [module.removesuffix(".__init__") for module in modules if not module.endswith("__main__")]
    program = f"""
import importlib, sys
sys.path.insert(0, {str(installed)!r})
for name in {modules!r}:
    importlib.import_module(name)
# What is not installed would come from the checkout here, and from nowhere elsewhere.
for name, module in list(sys.modules.items()):
    if name.split(".")[0] == "facesearch_trt":
        assert module.__file__.startswith({str(installed)!r}), module.__file__
from facesearch_trt.config import CONFIGS
assert str(CONFIGS).startswith({str(installed)!r}), CONFIGS
assert (CONFIGS / "default.yaml").is_file()
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=installed.parent.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr

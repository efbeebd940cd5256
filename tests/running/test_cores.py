"""The cores that a container was given, on files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facesearch_trt.running.cores import usable_cores


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def machine(tmp_path: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    mount = tmp_path / "cgroup"
    mount.mkdir()
    for name, content in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(content + "\n")
    (tmp_path / "own").write_text(own + "\n")
    return mount, tmp_path / "own"


QUOTA, PERIOD = "cpu/{}cpu.cfs_quota_us", "cpu/{}cpu.cfs_period_us"
V1 = "4:memory:/docker/abc\n3:cpuset:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        pytest.param("0::/", {"cpu.max": "400000 100000"}, 4, id="a container's root, version 2"),
        pytest.param("0::/", {"cpu.max": "150000 100000"}, 2, id="part of a core counts as one"),
        pytest.param("0::/", {"cpu.max": "1000 100000"}, 1, id="at least one"),
        pytest.param("0::/", {"cpu.max": "max 100000"}, 16, id="no limit"),
        pytest.param("0::/", {"cpu.max": "6400000 100000"}, 16, id="more than the cores"),
        pytest.param("0::/", {}, 16, id="no such file, as in the root of a machine"),
        pytest.param("0::/", {"cpu.max": "many few"}, 16, id="a file that says nothing"),
        pytest.param(
            "0::/user.slice/a.scope",
            {"user.slice/a.scope/cpu.max": "max 100000", "user.slice/cpu.max": "300000 100000"},
            3,
            id="the group around it is the narrower",
        ),
        pytest.param(
            V1, {QUOTA.format(""): "250000", PERIOD.format(""): "50000"}, 5, id="version 1, the container's own mount"
        ),
        pytest.param(
            V1,
            {
                QUOTA.format("docker/abc/"): "200000",
                PERIOD.format("docker/abc/"): "100000",
                QUOTA.format(""): "-1",
                PERIOD.format(""): "100000",
            },
            2,
            id="version 1, the machine's mount",
        ),
        pytest.param(V1, {QUOTA.format(""): "-1", PERIOD.format(""): "100000"}, 16, id="version 1, no limit"),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path: Path, own: str, files: dict[str, str], cores: int) -> None:
    assert usable_cores(*machine(tmp_path, own, files)) == cores


def test_without_control_groups_the_cores_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "nothing") == 16


def test_this_machine_is_read() -> None:
    assert 1 <= usable_cores() <= 16

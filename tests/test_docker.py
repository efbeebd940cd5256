"""The images' files: what they copy is there, their versions are the contract's, and the entry point does what it says."""

from __future__ import annotations

import configparser
import http.server
import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from facesearch_trt.graph.gst import PACKAGES

REPOSITORY = Path(__file__).parents[1]
DOCKERFILES = [REPOSITORY / name for name in ("Dockerfile", "docker/Dockerfile.cpu", "docker/Dockerfile.jetson")]
ENTRYPOINT = REPOSITORY / "docker" / "entrypoint.sh"
RELEASES: dict[str, dict[str, str]] = json.loads(
    (REPOSITORY / "tests" / "contracts" / "deepstream.json").read_text(encoding="utf-8")
)["release_matrix"]["releases"]


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner: Any = load("scripts/dockerfile_in_chroot.py")
healthcheck: Any = load("docker/healthcheck.py")


def steps(path: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = runner.instructions(path.read_text(encoding="utf-8"))
    return found


def arguments(path: Path) -> dict[str, str]:
    """Return the defaults of the build arguments."""
    return dict(rest.split("=", 1) for word, rest in steps(path) if word == "ARG" and "=" in rest)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=name_of)
class TestDockerfiles:
    def test_what_is_copied_is_there_and_sent_to_the_build(self, dockerfile: Path) -> None:
        lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "*"
        sent = [line[1:] for line in lines if line.startswith("!")]
        copied = [rest.split()[:-1] for word, rest in steps(dockerfile) if word == "COPY" and "--from" not in rest]
        assert copied
        for source in (source for sources in copied for source in sources):
            assert (REPOSITORY / source).exists(), source
            assert source in sent, f".dockerignore keeps {source} back"
        assert all((REPOSITORY / source).exists() for source in sent)

    def test_stages_that_are_copied_from_exist(self, dockerfile: Path) -> None:
        named = {rest.split(" AS ")[1] for word, rest in steps(dockerfile) if word == "FROM" and " AS " in rest}
        for word, rest in steps(dockerfile):
            if word == "COPY" and rest.startswith("--from="):
                assert rest.split()[0].removeprefix("--from=") in named

    def test_every_base_image_has_a_version(self, dockerfile: Path) -> None:
        for word, rest in steps(dockerfile):
            if word == "FROM":
                image = rest.split(" AS ")[0]
                assert re.fullmatch(r"(build|run)\$\{JETPACK\}", image) or (":" in image and "latest" not in image)

    def test_it_starts_the_entry_point_with_a_health_check(self, dockerfile: Path) -> None:
        found = dict(steps(dockerfile))
        assert json.loads(found["ENTRYPOINT"]) == ["/opt/facesearch/bin/entrypoint.sh"]
        assert json.loads(found["CMD"]) == ["/data"]
        assert json.loads(found["HEALTHCHECK"].split("CMD ")[1]) == ["python", "/opt/facesearch/bin/healthcheck.py"]
        assert found["STOPSIGNAL"] == "SIGINT"
        copied = [rest for word, rest in steps(dockerfile) if word == "COPY"]
        assert "docker/entrypoint.sh docker/healthcheck.py /opt/facesearch/bin/" in copied

    def test_the_extras_exist(self, dockerfile: Path) -> None:
        config = configparser.ConfigParser()
        config.read(REPOSITORY / "setup.cfg")
        (wanted,) = re.findall(r"pip install '\.\[(.*?)\]'", dockerfile.read_text(encoding="utf-8"))
        # The web app brings its own when it is there.
        assert set(wanted.split(",")) - {"web"} <= set(config["options.extras_require"])
        assert ("gpu" in wanted) is (dockerfile.name != "Dockerfile.cpu")

    def test_hadolint_has_nothing_to_say(self, dockerfile: Path) -> None:
        program = Path(sys.executable).with_name("hadolint")
        if not program.exists():
            pytest.skip("hadolint is not installed; ./test.sh installs it on x86-64")
        result = subprocess.run([program, dockerfile], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


def agrees(deepstream: str, pyds: str, python: str) -> None:
    release = RELEASES[deepstream]
    assert pyds == release["pyds"]
    assert python == "cp" + release["python"].replace(".", "")


def test_versions_of_the_x86_image() -> None:
    found = arguments(REPOSITORY / "Dockerfile")
    agrees(found["DEEPSTREAM"], found["PYDS"], found["PYTHON"])
    release = RELEASES[found["DEEPSTREAM"]]
    assert found["UBUNTU"] == release["ubuntu"]
    assert found["CUDA"].rpartition(".")[0] == release["cuda"]


def test_versions_of_the_other_deepstream_that_the_comment_names() -> None:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    found = dict(re.findall(r"--build-arg (\w+)=(\S+)", text))
    agrees(found["DEEPSTREAM"], found["PYDS"], found["PYTHON"])
    release = RELEASES[found["DEEPSTREAM"]]
    assert found["UBUNTU"] == release["ubuntu"] and found["CUDA"].rpartition(".")[0] == release["cuda"]


@pytest.mark.parametrize(("jetpack", "contract"), [("6", "6.1"), ("7", "Thor BSP r38.2")])
def test_versions_of_the_jetson_image(jetpack: str, contract: str) -> None:
    text = (REPOSITORY / "docker" / "Dockerfile.jetson").read_text(encoding="utf-8")
    pattern = rf"FROM nvcr\.io/nvidia/deepstream:(\S+)-samples-multiarch AS run{jetpack}\nENV PYDS=(\S+) PYTHON=(\S+)"
    (found,) = re.findall(pattern, text)
    agrees(*found)
    assert RELEASES[found[0]]["jetpack"] == contract


def test_the_cpu_image_has_what_the_software_graph_needs() -> None:
    (run,) = [rest for word, rest in steps(REPOSITORY / "docker" / "Dockerfile.cpu") if "plugins-base" in rest]
    assert set(PACKAGES) <= set(run.split())


def test_compose() -> None:
    content = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    services = content["services"]
    assert set(services) == {"run", "run-cpu", "web"}
    for service in services.values():
        build = service["build"]
        file = "Dockerfile" if isinstance(build, str) else build["dockerfile"]
        assert (REPOSITORY / file).is_file()
        clips, cache = service["volumes"]
        assert clips["target"] == "/data" and cache == "cache:/cache"
    assert services["run"]["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert services["web"]["command"] == ["serve", "/data"]
    assert "FACESEARCH_TOKEN:?" in services["web"]["environment"]["FACESEARCH_TOKEN"]
    # Reached from this machine only, unless asked for otherwise.
    assert services["web"]["ports"] == ["${FACESEARCH_BIND:-127.0.0.1}:8000:8000"]


class Container:
    """The entry point on this machine, with stand-ins for what an image has."""

    def __init__(self, tmp_path: Path) -> None:
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self.calls = tmp_path / "calls"
        self.data = tmp_path / "videos"
        self.data.mkdir()
        (self.data / "clip.mp4").touch()
        self.stand_in("facesearch", f'echo "facesearch $*|$FACESEARCH_HOME|$HOME" >>{self.calls}\n')
        self.stand_in("mountpoint", "exit 1\n")
        self.stand_in("id", "echo 1000\n")

    def stand_in(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text("#!/bin/sh\n" + text)
        file.chmod(0o755)

    def start(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_")}
        env = {**kept, "PATH": f"{self.bin}:{os.environ['PATH']}", **environment}
        return subprocess.run([ENTRYPOINT, *words], env=env, capture_output=True, text=True, check=False)

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


class TestEntryPoint:
    def test_it_can_be_started(self) -> None:
        assert os.access(ENTRYPOINT, os.X_OK)
        assert subprocess.run(["bash", "-n", ENTRYPOINT], check=False).returncode == 0

    def test_a_directory_means_the_whole_job(self, container: Container) -> None:
        result = container.start(str(container.data), "--every", "5", FACESEARCH_IMAGE="cpu")
        assert result.returncode == 0, result.stderr
        home = container.data / ".facesearch"
        assert container.called == [f"facesearch run --input_directory {container.data} --every 5|{home}|{home}"]
        assert home.is_dir()

    def test_a_volume_for_the_cache_is_used(self, container: Container) -> None:
        container.stand_in("mountpoint", '[ "$2" = /cache ]\n')
        container.start("doctor", FACESEARCH_IMAGE="cpu")
        assert container.called == ["facesearch doctor|/cache|/cache"]

    def test_commands_go_to_the_program(self, container: Container) -> None:
        home = str(container.data / "home")
        container.start("search", "--photo", "x.jpg", str(container.data), FACESEARCH_HOME=home)
        container.start("serve", str(container.data), FACESEARCH_HOME=home)
        assert container.called == [
            f"facesearch search --photo x.jpg {container.data}|{home}|{home}",
            f"facesearch serve --host 0.0.0.0 --port 8000 {container.data}|{home}|{home}",
        ]

    def test_a_gpu_image_without_a_gpu_does_not_fall_back_silently(self, container: Container) -> None:
        if list(Path("/dev").glob("nvidia[0-9]*")):
            pytest.skip("this machine has a GPU")
        result = container.start(str(container.data), FACESEARCH_IMAGE="gpu")
        assert result.returncode == 2 and "--gpus all" in result.stderr and "--backend onnxruntime" in result.stderr
        assert container.called == []
        for words in (["--backend", "onnxruntime"], ["--backend=onnxruntime"]):
            assert container.start(str(container.data), *words, FACESEARCH_IMAGE="gpu").returncode == 0
        assert [call.partition("|")[0] for call in container.called] == [
            f"facesearch run --input_directory {container.data} --backend onnxruntime",
            f"facesearch run --input_directory {container.data} --backend=onnxruntime",
        ]

    def test_with_a_gpu_the_engines_are_built_first_for_what_will_run(self, container: Container) -> None:
        # `compgen` looks for devices; where there are none it is told that there are.
        text = ENTRYPOINT.read_text().replace("compgen -G '/dev/nvidia[0-9]*'", "true")
        script = container.bin / "entrypoint.sh"
        script.write_text(text)
        script.chmod(0o755)
        env = {**os.environ, "PATH": f"{container.bin}:{os.environ['PATH']}", "FACESEARCH_IMAGE": "gpu"}
        env["FACESEARCH_HOME"] = str(container.data / "home")
        words = [str(container.data), "--every", "2", "--pack", "buffalo_l", "--precision=int8", "--frames", "none"]
        subprocess.run([script, *words], env=env, check=True)
        assert [call.partition("|")[0] for call in container.called] == [
            f"facesearch build --pack buffalo_l --precision=int8 --clips {container.data}",
            f"facesearch run --input_directory {' '.join(words)}",
        ]
        container.calls.unlink()
        subprocess.run([script, str(container.data), "--graph", "software"], env=env, check=True)
        assert container.called[0].startswith("facesearch build|")

    def test_root_is_given_up_for_the_owner_of_the_clips(self, container: Container) -> None:
        container.stand_in("id", 'case "$*" in "-u") echo 0;; *) echo 10001;; esac\n')
        container.stand_in("setpriv", f'echo "setpriv $*" >>{container.calls}\n')
        container.stand_in("stat", 'case "$3" in /dev/*) echo 44; echo 0;; *) echo 1234:5678;; esac\n')
        container.start(str(container.data), FACESEARCH_IMAGE="cpu")
        (call,) = container.called
        assert call.startswith("setpriv --reuid 1234 --regid 5678 --groups 5678,44 --no-new-privs ")
        assert call.endswith(f"entrypoint.sh {container.data}")
        # What belongs to root is worked on by the image's own user, unless root is asked for by name.
        container.calls.unlink()
        container.stand_in("stat", "echo 0:0\n")
        container.start(str(container.data), FACESEARCH_IMAGE="cpu")
        assert "--reuid 10001 --regid 10001" in container.called[0]
        container.calls.unlink()
        container.start(str(container.data), FACESEARCH_IMAGE="cpu", FACESEARCH_USER="0")
        assert container.called[0].startswith("facesearch run ")

    def test_a_directory_that_cannot_be_written_tells_what_to_do(self, container: Container) -> None:
        if os.geteuid() == 0:
            home = Path("/proc/facesearch")
        else:
            home = container.data / "closed" / "home"
            home.parent.mkdir(mode=0o500)
        result = container.start(str(container.data), FACESEARCH_IMAGE="cpu", FACESEARCH_HOME=str(home))
        assert result.returncode == 2
        assert "cannot be written by uid 1000" in result.stderr and "FACESEARCH_USER" in result.stderr

    def test_wrong_use_is_told(self, container: Container) -> None:
        result = container.start("--every", "5")
        assert result.returncode == 2 and "the first argument is the directory of clips" in result.stderr
        gone = container.start("/nowhere/at/all", FACESEARCH_HOME=str(container.data))
        assert gone.returncode == 2 and "docker run -v /videos:/nowhere/at/all" in gone.stderr

    def test_shellcheck_has_nothing_to_say(self) -> None:
        if shutil.which("shellcheck") is None:
            pytest.skip("shellcheck is not installed: apt-get install shellcheck")
        result = subprocess.run(["shellcheck", ENTRYPOINT], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


class TestHealthCheck:
    def test_only_a_web_app_has_to_answer(self) -> None:
        assert healthcheck.port_of(["python", "facesearch", "run", "--input_directory", "/data"]) is None
        assert healthcheck.port_of(["facesearch", "serve", "/data"]) == healthcheck.PORT == 8000
        assert healthcheck.port_of(["facesearch", "serve", "--port", "80", "/data"]) == 80
        assert healthcheck.port_of(["facesearch", "serve", "--port=81", "/data"]) == 81
        assert f"--port {healthcheck.PORT}" in ENTRYPOINT.read_text()

    def test_a_web_app_that_speaks_tls(self, tmp_path: Path) -> None:
        certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=faces.example"]
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: apt-get install openssl")
        subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        assert healthcheck.speaks_tls(["facesearch", "serve", "--tls-certificate", "c.pem", "/data"])
        assert healthcheck.speaks_tls(["facesearch", "serve", "--tls-certificate=c.pem", "/data"])
        assert not healthcheck.speaks_tls(["facesearch", "serve", "/data"])

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                assert healthcheck.answers(server.server_port, tls=True)
            finally:
                server.shutdown()
                thread.join()

    @pytest.mark.parametrize(("status", "is_well"), [(200, True), (401, True), (503, False)])
    def test_an_answer(self, status: int, is_well: bool) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                assert healthcheck.answers(server.server_port) is is_well
            finally:
                server.shutdown()
                thread.join()
        assert healthcheck.answers(server.server_port) is False


def test_the_runner_reads_what_docker_reads() -> None:
    text = "# a comment\nFROM a AS b\nRUN one && \\\n# in between\n    two\nENV A=1 \\\n    B='x y'\n"
    assert runner.instructions(text) == [("FROM", "a AS b"), ("RUN", "one &&     two"), ("ENV", "A=1     B='x y'")]
    stage = runner.Stage(Path("/nowhere"))
    stage.set("A=1 B='x y' PATH=/opt:$PATH")
    assert stage.environment["B"] == "x y" and stage.environment["PATH"].startswith("/opt:/usr/local/sbin:")

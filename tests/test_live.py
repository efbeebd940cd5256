"""Cameras, served by a real RTSP server on loopback: recorded, gone and back, too fast, locked, and addresses that are none."""

from __future__ import annotations

import csv
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.cameras import Camera, LiveClip, read_addresses
from facesearch_trt.cli.live import Grouping
from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.errors import DecodeError, InputError
from facesearch_trt.graph.camera import without_password
from facesearch_trt.graph.live import LiveStream
from facesearch_trt.graph.software_camera import software_camera
from facesearch_trt.wiring import Tools
from tests.clip_results import write_clip as write_results
from tests.media import number_of, numbered, write_clip

REPOSITORY = Path(__file__).parents[1]
RATE = 25


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds, each frame with its number."""
    frames = (numbered(n) for n in range(8 * RATE))
    return write_clip(tmp_path_factory.mktemp("camera") / "camera.mp4", frames, fps=RATE, codec="h264")


class Server:
    """A camera that can be switched off and on."""

    def __init__(self, video: Path, *login: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [sys.executable, "-m", "tests.rtsp_server", str(video), str(self.port), *login]
        self._process: subprocess.Popen[str] | None = None
        self.on()

    def uri(self, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/camera"

    def on(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        if self._process.stdout.readline() != "ready\n":
            said = self._process.stderr.read()
            self.off()
            if "GstRtspServer" in said:
                pytest.skip("no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0")
            pytest.fail(said)

    def off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def serve(video: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*login: str) -> Server:
        servers.append(Server(video, *login))
        return servers[-1]

    yield start
    for server in servers:
        server.off()


def stream_of(uri: str, *, room: int = 1000, retry_s: float = 0.2) -> LiveStream:
    return LiveStream(
        without_password(uri),
        lambda: software_camera(uri, stall_timeout_s=3.0, latency_ms=100),
        room=room,
        retry_s=retry_s,
    )


def test_every_frame_comes_with_its_time(serve: Callable[..., Server]) -> None:
    frames = list(software_camera(serve().uri(), stall_timeout_s=5.0, latency_ms=100))
    assert [frame.frame_num for frame in frames] == list(range(8 * RATE))
    images = [frame.image for frame in frames if frame.image is not None]
    assert images[0].shape == (96, 128, 3) and not images[0].flags.writeable
    assert [number_of(image) for image in images] == list(range(8 * RATE))
    times = np.array([frame.pts_s for frame in frames])
    # The jitter buffer follows this machine's clock, so a busy one moves single times a little.
    assert (np.diff(times) >= 0).all() and np.abs(times - times[0] - np.arange(8 * RATE) / RATE).max() < 0.3


def test_a_camera_goes_away_and_comes_back(serve: Callable[..., Server]) -> None:
    server = serve()
    with stream_of(server.uri()) as stream:
        before = [stream.take() for _ in range(20)]
        server.off()
        deadline = time.monotonic() + 20
        while not stream.counts.interruptions and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        server.on()
        while stream.counts.away_s < 0.3 or stream._away_since is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        frames = [frame for frame in before if frame is not None]
        stream.stop()
        while (frame := stream.take()) is not None:
            frames.append(frame)
    assert stream.counts.interruptions == 1 and stream.counts.dropped_frames == 0
    assert [frame.number for frame in frames] == list(range(len(frames))) and len(frames) > 20
    times = [frame.utc_s for frame in frames]
    assert times == sorted(times) and max(np.diff(times)) > 0.5
    assert abs(times[-1] - time.time()) < 10


def test_a_slow_consumer_loses_frames_and_is_told_how_many(serve: Callable[..., Server]) -> None:
    with stream_of(serve().uri(), room=2) as stream:
        first = stream.take()
        time.sleep(2.0)
        stream.stop()
        rest = [stream.take(), stream.take(), stream.take()]
        assert first is not None and rest[2] is None
        assert 30 <= stream.counts.dropped_frames <= 60


def test_a_clip_ends_though_its_camera_went_away_for_long(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch_trt.cameras._LATE_S", 0.5)
    server = serve()
    with stream_of(server.uri()) as stream:
        first = stream.peek()
        assert first is not None
        clip = LiveClip(stream, first, 3.0, graph="software")
        frames = []
        for frame in clip:
            frames.append(frame)
            if len(frames) == 10:
                server.off()
        assert 10 <= len(frames) < 3 * RATE and frames[-1].pts_s < 3
        # To leave a dead server takes the graph a moment, before which nothing is known to be lost.
        deadline = time.monotonic() + 60
        while not clip.lost().interruptions and time.monotonic() < deadline:
            time.sleep(0.05)
        assert clip.lost().interruptions == 1 and clip.lost().away_ms > 0


def test_whoever_waits_for_a_frame_is_woken_by_stop() -> None:
    with stream_of("rtsp://127.0.0.1:1/none") as stream:
        got: list[object] = []
        waiting = threading.Thread(target=lambda: got.append(stream.take()))
        waiting.start()
        time.sleep(0.2)
        stream.stop()
        waiting.join(5)
        assert got == [None]


@pytest.mark.parametrize("what", ["nowhere", "wrong path", "no password", "wrong password"])
def test_a_camera_that_cannot_be_read_is_named_without_its_password(serve: Callable[..., Server], what: str) -> None:
    server = serve("anna", "secret")
    uri = {
        "nowhere": "rtsp://anna:hidden@127.0.0.1:1/camera",
        "wrong path": server.uri("anna:secret@").replace("/camera", "/other"),
        "no password": server.uri(),
        "wrong password": server.uri("anna:hidden@"),
    }[what]
    with pytest.raises(DecodeError) as caught:
        next(software_camera(uri, stall_timeout_s=5.0, latency_ms=100))
    said = str(caught.value)
    assert "the camera cannot be read" in said and "Check the address" in said
    assert "secret" not in said and "hidden" not in said
    assert {"nowhere": "connect", "wrong path": "404"}.get(what, "401") in said


def test_clips_of_a_camera_are_clips(
    serve: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, root = serve("anna", "secret"), tmp_path / "root"
    cameras = tmp_path / "cameras.txt"
    cameras.write_text(f"# the entrance\ndoor={server.uri('anna:secret@')}  # with its password\n")
    command = ["live", "--input_directory", str(root), "--uris", str(cameras), "--clip-s", "2", "--for-s", "9"]
    assert main([*command, "--every", "5", "--detector-size", "128", "--retry-s", "0.2"]) == 0
    said = capsys.readouterr().out
    clips = sorted(path for path in root.iterdir() if path.suffix == ".pipeline")
    assert len(clips) >= 2 and all(re.fullmatch(r"door-\d{8}T\d{6}Z\.pipeline", clip.name) for clip in clips)
    assert f"1 cameras: {len(clips)} clips" in said
    record = json.loads((clips[0] / "run.json").read_text())
    # On a busy machine frames may be dropped; then their numbers are missing.
    assert (
        record["live"].keys() == {"dropped_frames", "interruptions", "away_ms"} and not record["live"]["interruptions"]
    )
    assert record["source"]["path"] == server.uri() and sorted(record["steps"]) == sorted(
        ["frames", "faces", "embeddings", "identity"]
    )
    with (clips[0] / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(row["frame_num"]) for row in rows]
    assert numbers[0] == 0 and set(numbers) <= set(range(0, 2 * RATE + 10, 5))
    assert len(numbers) >= 10 - record["live"]["dropped_frames"]
    assert [float(row["pts_s"]) for row in rows] == pytest.approx([n / RATE for n in numbers], abs=0.3)
    assert not [path for path in root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    # They are complete: a later run finds nothing to do, and step 4 can be done again from what is stored.
    assert main(["run", "--input_directory", str(root), "--every", "5", "--detector-size", "128"]) == 0
    assert f"{len(clips)} skipped" in capsys.readouterr().out
    assert main(["identity", "--input_directory", str(root), "--force"]) == 0


def test_what_hinders_the_grouping_does_not_end_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with Tools(Options()) as tools:
        write_results(tmp_path, "a", [[0, 1]], model=tools.embedder_entry.name)
        grouping = Grouping(tmp_path, tools)
        (tmp_path / "people.yaml").write_text("merge: nobody\n")
        grouping()
        assert grouping.failed and "people.yaml" in caplog.text
        (tmp_path / "people.yaml").write_text("merge: []\n")
        grouping()
        assert "2 people in 1 clips" in capsys.readouterr().out


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "name", "uri"),
        [
            ("rtsp://10.0.0.5:554/live/1", "10-0-0-5-live-1", "rtsp://10.0.0.5:554/live/1"),
            ("hall=rtsps://a:b=c@cam.example/x?y=1", "hall", "rtsps://a:b=c@cam.example/x?y=1"),
            ("rtsp://a:b=c@cam.example/x", "cam-example-x", "rtsp://a:b=c@cam.example/x"),
        ],
    )
    def test_names(self, text: str, name: str, uri: str) -> None:
        assert Camera.from_text(text) == Camera(name, uri)

    @pytest.mark.parametrize("text", ["clip.mp4", "http://example.org/x", "rtsp:///x", "name=rtsp:", "../x=rtsp://h/x"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(InputError, match=r"rtsp://HOST"):
            Camera.from_text(text)

    def test_passwords_are_not_shown(self) -> None:
        assert without_password("rtsp://anna:se@cret@host/p") == "rtsp://host/p"
        with pytest.raises(InputError) as caught:
            Camera.from_text("http://anna:secret@host/p")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("secret", ["hid#den", "hid/den", "hid?den", "12#den", "hid[den", "hid]den"])
    def test_a_password_that_has_to_be_escaped_is_not_shown(self, tmp_path: Path, secret: str) -> None:
        (tmp_path / "list").write_text(f"door=rtsp://anna:{secret}@host/x\n")
        with pytest.raises(InputError, match=r"list:1.*%23") as caught:
            read_addresses(tmp_path / "list")
        assert "hid" not in str(caught.value) and "den" not in str(caught.value)

    def test_a_password_in_what_is_no_address_is_not_shown(self) -> None:
        with pytest.raises(InputError) as caught:
            Camera.from_text("rtsp:/anna:hidden@host/x")
        assert "hidden" not in str(caught.value)

    def test_remarks(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("# all\na=rtsp://h/1 # the hall\n  \t# none\n#\nb=rtsp://x:y%23z@h/2\n")
        assert read_addresses(tmp_path / "list") == [Camera("a", "rtsp://h/1"), Camera("b", "rtsp://x:y%23z@h/2")]

    def test_a_list_with_a_mistake_names_the_line(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("a=rtsp://h/1\n\nb=nonsense\n")
        with pytest.raises(InputError, match=r"list:3"):
            read_addresses(tmp_path / "list")
        with pytest.raises(InputError, match="cannot read the list"):
            read_addresses(tmp_path / "none")

    def test_a_root_that_cannot_be_made(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").touch()
        for place in ("file", "file/below"):
            assert main(["live", "--input_directory", str(tmp_path / place), "--uri", "rtsp://h/1"]) == 2
            assert "cannot be made a directory" in capsys.readouterr().err

    def test_two_cameras_of_one_name(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root = ["live", "--input_directory", str(tmp_path)]
        assert main([*root, "--uri", "a=rtsp://h/1", "--uri", "a=rtsp://h/2"]) == 2
        assert "names of their own" in capsys.readouterr().err
        assert main(root) == 2
        assert "no camera was given" in capsys.readouterr().err

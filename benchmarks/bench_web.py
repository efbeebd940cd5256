#!/usr/bin/env python3
"""Load of the web application: many users at once, each searching by photo or looking at pages, for a minute.

python benchmarks/bench_web.py [--users 50] [--seconds 60] [--record]

A server of its own over the demo clip's results answers; the users are coroutines of this process, so both share the
machine. Half of the users search, half look at pages and media, each as fast as the answers come. --record writes
results/web.json.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import httpx2 as httpx
import numpy as np

from facesearch_trt import demo

RESULT = Path(__file__).parent / "results" / "web.json"


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def photos() -> list[bytes]:
    """Return the demo's portraits as JPEG files whose longer side is 640 px."""
    found = []
    for path in demo.pictures().values():
        image = cv2.imread(str(path))
        scale = 640 / max(image.shape[:2])
        found.append(cv2.imencode(".jpg", cv2.resize(image, None, fx=scale, fy=scale))[1].tobytes())
    return found


class Load:
    """What the users did, by kind."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    async def call(self, client: httpx.AsyncClient, kind: str, method: str, address: str, **more: object) -> None:
        start = time.perf_counter()
        try:
            answer = await client.request(method, address, **more)
        except httpx.HTTPError as error:
            self.errors.append(f"{address}: {error!r}")
            return
        self.times[kind].append(time.perf_counter() - start)
        if answer.status_code not in (200, 206):
            self.errors.append(f"{address}: {answer.status_code} {answer.text[:100]}")


async def run(base: str, users: int, seconds: float) -> Load:
    load, pictures = Load(), itertools.cycle(photos())
    limits = httpx.Limits(max_connections=users + 2, max_keepalive_connections=users + 2)
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as client:
        clip = (await client.get("/api/clips")).json()[0]["clip_id"]
        face = (await client.get("/api/people")).json()["people"][0]["picture"]
        await client.post("/api/search", files={"photo": ("p.jpg", next(pictures))})
        views = [
            ("page", "/"),
            ("page", "/people/0"),
            ("page", f"/clips/{clip}?t=3"),
            ("api", f"/api/clips/{clip}/boxes"),
            ("media", face),
            ("media", f"/media/{clip}/video"),
        ]
        end = time.monotonic() + seconds

        async def searcher() -> None:
            while time.monotonic() < end:
                await load.call(client, "search", "POST", "/api/search", files={"photo": ("p.jpg", next(pictures))})

        async def viewer(first: int) -> None:
            for kind, address in itertools.islice(itertools.cycle(views), first, None):
                if time.monotonic() >= end:
                    return
                headers = {"range": "bytes=0-65535"} if address.endswith("/video") else {}
                await load.call(client, kind, "GET", address, headers=headers)

        await asyncio.gather(*(searcher() if user % 2 else viewer(user) for user in range(users)))
    return load


def peak_rss_mb(process: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        demo.make(root)
        facesearch = [sys.executable, "-m", "facesearch_trt"]
        subprocess.run([*facesearch, "run", "--input_directory", root, "--no-report"], check=True)
        number = port()
        server = subprocess.Popen(
            [*facesearch, "serve", root, "--index", root.parent / "index", "--port", str(number)],
            stdout=subprocess.DEVNULL,
        )
        try:
            base = f"http://127.0.0.1:{number}"
            while True:
                try:
                    if httpx.get(f"{base}/api/status").json()["finished"] and (root.parent / "index").is_dir():
                        break
                except httpx.HTTPError:
                    time.sleep(0.2)
            time.sleep(2)
            busy = os.getloadavg()[0]
            load = asyncio.run(run(base, args.users, args.seconds))
            rss = peak_rss_mb(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
        shutil.rmtree(root)
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_average_before": round(busy, 1),
        "date": time.strftime("%Y-%m-%d"),
        "users": args.users,
        "seconds": args.seconds,
        "errors": len(load.errors),
        "server_peak_rss_mb": round(rss),
        "kinds": {
            kind: {
                "count": len(times),
                "per_s": round(len(times) / args.seconds, 1),
                **{f"p{q}_ms": round(float(np.percentile(times, q)) * 1000, 1) for q in (50, 95, 99)},
            }
            for kind, times in sorted(load.times.items())
        },
    }
    print(json.dumps(result, indent=2))
    for error in load.errors[:10]:
        print(error, file=sys.stderr)
    if args.record:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return int(bool(load.errors))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Make the pictures of the README: the report and the web pages over the demo clip, whose photographs are in the public domain.

python scripts/screenshots.py [DIR]        docs/images by default; needs Chromium (apt-get install chromium) and Playwright
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# First of all; see inference/onnxruntime.py.
import onnxruntime  # noqa: F401
import uvicorn
from playwright.sync_api import Page, sync_playwright

from facesearch_trt import demo
from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.report.html import write_report
from facesearch_trt.report.security import Access
from facesearch_trt.report.service import Service
from facesearch_trt.report.web import create_app

NAMES = {"collins": "Eileen Collins", "obama": "Barack Obama", "biden": "Joe Biden"}
"""In the order in which the clip shows them."""
SIZE = {"width": 1000, "height": 520}


@contextmanager
def served(root: Path) -> Iterator[tuple[str, Service]]:
    """Serve a ROOT while the body runs."""
    with Service(root, Options(), str(root.parent / "index")) as service:
        for person, name in enumerate(NAMES.values()):
            service.name(person, name)
        service.keeper.update()
        service.keeper.wait()
        server = uvicorn.Server(
            uvicorn.Config(create_app(service, Access("127.0.0.1")), port=0, log_level="warning", ws="none")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", service
        finally:
            server.should_exit = True
            thread.join()


def take(page: Page, path: Path, height: int) -> None:
    """Take a picture of the page's top."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": SIZE["width"], "height": height})
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def pictures(root: Path, directory: Path, chromium: str) -> None:
    """Take all pictures."""
    with served(root) as (address, service), sync_playwright() as driver:
        browser: Any = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        clip = service.snapshot().clip_named["demo"].id
        page.goto(f"{address}/clips/{clip}?t=3.2")
        page.locator("#player").evaluate("(player) => { player.querySelector('video').controls = false; }")
        take(page, directory / "web_clip.png", 815)
        page.goto(f"{address}/search")
        page.set_input_files("#photo", demo.pictures()["obama_2"])
        page.wait_for_selector("#results .result")
        take(page, directory / "web_search.png", 860)
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        write_report(root)
        page.goto((root / "report.html").as_uri())
        take(page, directory / "report.png", 900)
        browser.close()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
directory = parser.parse_args().directory
found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if found is None:
    parser.error("there is no Chromium: apt-get install chromium")
with tempfile.TemporaryDirectory() as temporary:
    root = Path(temporary) / "demo"
    demo.make(root)
    if main(["run", "--input_directory", str(root)]) != 0:
        parser.exit(1)
    pictures(root, directory, found)

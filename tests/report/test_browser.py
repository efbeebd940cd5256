"""The ways of a user in a real browser, over the demo clip, and what axe says of every page."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.people.files import read_people_table
from facesearch_trt.report.security import Access
from facesearch_trt.report.service import Service
from facesearch_trt.report.web import create_app

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
axe_playwright = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install axe-playwright-python"
)
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'facesearch_trt[web]'")


@pytest.fixture(scope="module")
def root(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results: person 0 and person 2 are never seen together."""
    root = tmp_path_factory.mktemp("browser") / "root"
    root.mkdir()
    shutil.copy(demo_clip, root)
    assert main(["run", "--input_directory", str(root), "--every", "2"]) == 0
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """The address of a server over it."""
    with Service(root, Options(), str(root.parent / "index")) as service:
        service.keeper.update()
        assert service.keeper.wait(60)
        config = uvicorn.Config(create_app(service, Access("127.0.0.1")), port=0, log_level="warning", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, condition: str, timeout_s: float = 60) -> None:
    """Wait for a JavaScript condition; Playwright's own way would need what the pages' policy forbids."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page; whatever it says on its console as an error fails the test, and so does a request to elsewhere."""
    context = browser.new_context(base_url=address, viewport={"width": 1200, "height": 800})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "blob:", "data:", "file:")) else said.append(request.url)
        ),
    )
    yield page
    context.close()
    # A photo that cannot be used is answered with 422, which Chromium reports.
    assert [text for text in said if "status of 422" not in text] == []


def test_from_the_wall_to_the_moment(page: Any) -> None:
    page.goto("/")
    page.get_by_role("link", name="Person 1").click()
    page.wait_for_url("**/people/1")
    page.locator(".moments a").first.click()
    page.wait_for_selector("#player")
    start = float(page.url.split("t=")[1])
    until(page, "document.querySelector('#video').readyState >= 2 && !document.querySelector('#video').seeking")
    assert page.evaluate("document.querySelector('#video').currentTime") == pytest.approx(start, abs=0.05)
    until(page, "Number(document.querySelector('#player').dataset.faces) >= 1")
    # Something is drawn on the canvas over the video.
    drawn = """() => { const c = document.querySelector('#boxes');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }"""
    until(page, drawn)
    until(page, "document.querySelector('.row.now')?.textContent.includes('Person 1')")
    # The timeline seeks: to the beginning of a bar by keyboard, to the very place by pointer.
    bar = page.locator(".row", has_text="Person 0").locator("a[data-seek]").last
    bar.focus()
    page.keyboard.press("Enter")
    later = float(bar.get_attribute("data-seek"))
    until(page, f"Math.abs(document.querySelector('#video').currentTime - {later}) < 0.05")
    until(page, "[...document.querySelectorAll('.row.now')].some((row) => row.textContent.includes('Person 0'))")
    page.locator("#show").uncheck()
    until(page, drawn.replace("return c", "return !c"))
    # It plays, and the boxes follow.
    page.evaluate("document.querySelector('#video').play()")
    until(page, f"document.querySelector('#video').currentTime > {later + 0.2}")


def test_from_a_photo_to_its_hits(page: Any, demo_pictures: dict[str, Path]) -> None:
    page.goto("/search")
    page.set_input_files("#photo", demo_pictures["biden"])
    page.wait_for_selector("#results .result")
    assert page.locator("#results h2").inner_text() == "1 person found"
    assert page.locator(".result h3").inner_text() == "Person 2"
    assert page.locator("#previews img").count() == 1
    page.locator(".result .moments a").first.click()
    page.wait_for_selector("#player")
    until(page, "[...document.querySelectorAll('.row.now')].some((row) => row.textContent.includes('Person 2'))")


def test_a_photo_of_several(page: Any, demo_pictures: dict[str, Path], tmp_path: Path) -> None:
    import cv2
    import numpy as np

    pictures = [cv2.resize(cv2.imread(str(demo_pictures[name])), (400, 500)) for name in ("obama", "biden")]
    cv2.imwrite(str(tmp_path / "both.jpg"), np.hstack(pictures))
    found = set()
    for number in (1, 2):
        page.goto("/search")
        page.set_input_files("#photo", tmp_path / "both.jpg")
        page.wait_for_selector("#results .choose")
        assert page.locator(".choose").count() == 2
        page.get_by_role("button", name=f"Search for face {number}").click()
        page.wait_for_selector("#results .result")
        found.add(page.locator(".result h3").inner_text())
    assert found == {"Person 1", "Person 2"}


def test_a_photo_of_nobody(page: Any, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((300, 300, 3), 90, np.uint8))
    page.goto("/search")
    with page.expect_response("**/search") as answered:
        page.set_input_files("#photo", tmp_path / "grey.png")
    assert answered.value.status == 422
    until(page, "document.querySelector('#results').textContent.includes('shows no face')")


def test_a_merge_and_its_undo(page: Any, root: Path) -> None:
    before = read_people_table(root)
    page.goto("/")
    for name in ("Person 0", "Person 2"):
        page.locator(".tile", has_text=name).hover()
        page.get_by_label(f"Choose {name}").check()
    assert page.locator("#count").inner_text() == "2 chosen"
    page.get_by_role("button", name="These are one person").click()
    page.wait_for_url("**/people/0")
    assert read_people_table(root)["demo", 2] == read_people_table(root)["demo", 0] == 0
    page.goto("/")
    assert page.locator(".tile").count() == 2
    page.get_by_role("button", name="Undo").click()
    page.wait_for_load_state()
    page.goto("/")
    assert page.locator(".tile").count() == 3
    assert read_people_table(root) == before


def test_keyboard(page: Any) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.locator(".tile > a").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.tile > a')[1]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/people/*")


def test_a_job_is_followed(page: Any) -> None:
    page.goto("/jobs")
    page.get_by_role("button", name="Write report.html").click()
    page.wait_for_url("**/jobs/*")
    until(page, "document.querySelector('#state').textContent === 'done'", timeout_s=60)
    assert "report.html" in page.locator("#log").inner_text()


PAGES = ["/", "/people/1", "/people/1/delete", "/clips", "CLIP", "/search", "/jobs", "/api", "/nowhere", "REPORT"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_every_page_is_accessible(browser: Any, address: str, root: Path, scheme: str, width: int) -> None:
    context = browser.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
    )
    page = context.new_page()
    problems = []
    for name in PAGES:
        page.goto("/clips")
        place = page.locator(".clips a").first.get_attribute("href") if name == "CLIP" else name
        page.goto((root / "report.html").as_uri() if name == "REPORT" else place)
        page.wait_for_load_state("networkidle")
        found = axe_playwright.Axe().run(page).response["violations"]
        problems += [(name, one["id"], one["nodes"][0]["html"][:160]) for one in found]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            problems.append((name, "wider than the window", str(width)))
    context.close()
    assert problems == []


def test_the_report_needs_no_server(browser: Any, root: Path) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto((root / "report.html").as_uri())
    assert page.locator(".tile").count() == 3
    page.locator("#filter").fill("person 2")
    assert page.locator(".tile:visible").count() == 1
    page.locator(".tile:visible a").click()
    assert page.url.endswith("#p2")
    context.close()
    assert said == []

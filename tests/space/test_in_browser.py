"""A visit with Chromium: upload, read the program, see the 3D view; `make test-space SCREENSHOTS=docs/space`."""

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

SPACE = Path(__file__).parents[2] / "space"
PATIENCE = 180_000  # milliseconds, on a busy machine
# WebGL without a graphics card; Chromium's sandbox does not work for root.
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", *(["--no-sandbox"] if os.getuid() == 0 else [])]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of `python space/app.py`, at a port that Gradio finds free."""
    log = tmp_path_factory.mktemp("space") / "log.txt"
    with log.open("w") as output:
        command = [sys.executable, "-u", str(SPACE / "app.py")]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(PATIENCE // 500):
            assert server.poll() is None, log.read_text()
            if "http://" in log.read_text():
                break
            time.sleep(0.5)
        (line,) = (line for line in log.read_text().splitlines() if "http://" in line)
        yield line.split()[-1]
    finally:
        server.terminate()
        assert server.wait(30) == 0


@pytest.fixture
def tab(address: str):
    """A page of the browser, which may talk to nobody but the server."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.elsewhere = []
        page.on("request", lambda request: page.elsewhere.append(request.url) if is_elsewhere(request.url) else None)
        page.goto(address)
        page.wait_for_selector("#picture input[type=file]", state="attached")
        yield page
        browser.close()


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:"))


def colourful(png: bytes) -> float:
    """The share of pixels that are neither grey nor pale: what is there of the objects."""
    saturation = np.asarray(Image.open(io.BytesIO(png)).convert("HSV"))[..., 1]
    return float((saturation > 100).mean())


def screenshot(page, name: str, tmp_path: Path) -> None:
    """Into the folder of the variable SCREENSHOTS, for a person to look at."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(700)  # what comes up fades in
    page.screenshot(path=folder / name, full_page=True)


def test_visit_with_a_picture(tab, tmp_path):
    tab.set_input_files("#picture input[type=file]", SPACE / "examples" / "scene_2.png")
    tab.wait_for_function("document.querySelector('#program textarea').value.includes('add(')")
    program = tab.input_value("#program textarea")
    assert program.count("add(") == 5 and "color='purple'" in program
    canvas = tab.wait_for_selector("#view canvas")
    for _ in range(60):
        if colourful(canvas.screenshot()) > 0.01:
            break
        tab.wait_for_timeout(500)
    assert colourful(canvas.screenshot()) > 0.01
    table = tab.locator("#objects").inner_text()
    assert table.count("cylinder") >= 2 and table.count("%") >= 25
    tab.wait_for_selector("#rendered img")
    screenshot(tab, "visit.png", tmp_path)
    changed = program.replace("color='purple'", "color='green'")
    before = tab.get_attribute("#rendered img", "src")
    tab.fill("#program textarea", changed)
    tab.click("#again")
    tab.wait_for_function("src => (document.querySelector('#rendered img') || {src}).src != src", arg=before)
    assert "green" in tab.locator("#objects").inner_text()
    screenshot(tab, "changed.png", tmp_path)
    assert tab.elsewhere == []


def test_example_is_read(tab):
    tab.locator("button:has(img[src*='scene_1'])").first.click()
    tab.wait_for_function("document.querySelector('#program textarea').value.split('add(').length == 8")


def test_errors_are_shown_as_messages(tab, tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    tab.set_input_files("#picture input[type=file]", tmp_path / "note.png")
    tab.wait_for_selector("text=This is no picture")
    tab.fill("#program textarea", "add(size='huge')")
    tab.click("#again")
    tab.wait_for_selector("text=This is no scene program")
    screenshot(tab, "messages.png", tmp_path)


def test_server_has_no_file_outside_of_its_folder(address):
    assert requests.get(f"{address}/gradio_api/file={SPACE / 'app.py'}", timeout=30).status_code == 403

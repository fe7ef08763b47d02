"""The page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import gan_zoo
from gan_zoo.images import to_uint8

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 20_000
"""Milliseconds: a loaded machine is slow."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="no Chromium: apt-get install chromium"),
]
pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

DRAG = """() => new Promise(done => {
    const box = document.querySelector('.zoo-image'), slider = document.querySelector('input[type=range]');
    const before = box.querySelector('img').src, start = performance.now();
    new MutationObserver((_, watch) => {
        const image = box.querySelector('img');
        if (!image || image.src === before) return;
        watch.disconnect();
        image.decode().then(() => done(performance.now() - start));
    }).observe(box, {subtree: true, childList: true, attributes: true});
    slider.value = +slider.value > 1.5 ? -1.5 : +slider.value + 0.2;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
})"""
"""Moves the first slider; the milliseconds until the new image is there."""


class Visit:
    """A page that is looked at, and all that it asked for."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector(".zoo-image img")

    def source(self, column: int = 0) -> str:
        return str(self.page.locator(".zoo-image img").nth(column).get_attribute("src"))

    def image(self) -> np.ndarray:
        with Image.open(BytesIO(base64.b64decode(self.source().partition(",")[2]))) as image:
            return np.array(image)

    def changed(self, before: str, column: int = 0) -> None:
        """Wait until another image is shown."""
        playwright.expect(self.page.locator(".zoo-image img").nth(column)).not_to_have_attribute(
            "src", before, timeout=PATIENCE
        )

    def slider(self, label: str) -> Any:
        return self.page.get_by_label(f"range slider for {label}")


def served(*runs: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "gan_zoo", "explore", *map(str, runs), "--port", "0"]
    variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def alone(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a run's page, and the run, whose log may be written."""
    copy = Path(shutil.copytree(run, tmp_path_factory.mktemp("alone") / "digits"))
    for address in served(copy):
        yield address, copy


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, args=list(FLAGS), accept_downloads=True
        )
        yield context
        context.close()


@pytest.fixture
def visit(alone: tuple[str, Path], browser: Any) -> Iterator[Visit]:
    page = browser.new_page()
    yield Visit(page, alone[0])
    page.close()


def test_a_slider_moves_the_image(visit: Visit, run: Path) -> None:
    before = visit.source()
    slider = visit.slider("c2, uniform")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=8)
    visit.changed(before)  # while it is still held
    visit.page.mouse.up()
    visit.page.wait_for_timeout(1000)
    command = visit.page.inner_text(".zoo-command")
    value = float(re.search(r"c2=(-?[0-9.]+)", command)[1])
    assert value > 1.3
    codes = {name: float(v) for name, v in re.findall(r"(c\d)=(-?[0-9.]+)", command)}
    own = gan_zoo.load(run).sample(1, codes, seed=0)
    assert np.array_equal(visit.image(), to_uint8(own)[0, 0].numpy())


def test_the_image_follows_within_150_ms(visit: Visit, record_property: Any) -> None:
    visit.page.wait_for_selector(".zoo-grid img")
    times = sorted(visit.page.evaluate(DRAG) for _ in range(25))
    record_property("milliseconds", times)
    print(f"from the slider to the image: {median(times):.0f} ms, at most {times[-1]:.0f}")
    assert times[0] < 150  # the best, since other tests run beside this one


def test_a_choice_and_the_noise_move_the_image(visit: Visit) -> None:
    before = visit.source()
    visit.page.get_by_label("7", exact=True).check()
    visit.changed(before)
    before = visit.source()
    visit.page.get_by_role("button", name="Draw noise anew").click()
    visit.changed(before)
    assert "--seed 0" not in visit.page.inner_text(".zoo-command")
    before = visit.source()
    visit.page.get_by_label("noise (its seed)").fill("5")
    visit.changed(before)


def test_a_digit_is_read_and_the_controls_move_there(visit: Visit, run: Path, digit: bytes, tmp_path: Path) -> None:
    from gan_zoo.explore.view import View

    (tmp_path / "digit.png").write_bytes(digit)
    visit.page.set_input_files(".zoo-drop input[type=file]", tmp_path / "digit.png")
    visit.page.wait_for_selector(".zoo-codes")
    reading = View(run).read(digit)
    told = visit.page.inner_text(".zoo-codes")
    assert all(words in told for words in reading.told)
    where = ",".join(f"c{k + 1}={value:.9g}" for k, value in enumerate(reading.values))
    playwright.expect(visit.page.locator(".zoo-command")).to_contain_text(where, timeout=PATIENCE)
    before = visit.source()
    visit.slider("c3, uniform").press("ArrowRight")  # and on from there
    visit.changed(before)


def test_what_is_no_image_is_told(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_text("no image")
    visit.page.set_input_files(".zoo-drop input[type=file]", tmp_path / "digit.png")
    playwright.expect(visit.page.locator(".zoo-refused")).to_have_text("this is no image that can be read")


def test_a_grid_is_drawn_and_saved(visit: Visit, tmp_path: Path) -> None:
    visit.page.wait_for_selector(".zoo-grid img")
    before = visit.page.get_attribute(".zoo-grid img", "src")
    visit.page.get_by_label("along the columns").click()
    visit.page.get_by_role("option", name="c3").click()
    playwright.expect(visit.page.locator(".zoo-grid img")).not_to_have_attribute("src", before)
    for place, name in ((".zoo-grid", "digits-c3-c2.png"), (".zoo-image", "digits-0.png")):
        with visit.page.expect_download() as download:
            visit.page.locator(place).get_by_text("Download").click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"


def test_the_curves_follow_a_training(visit: Visit, alone: tuple[str, Path]) -> None:
    assert "2,000" not in visit.page.inner_text(".zoo-told")
    log = alone[1] / "metrics.jsonl"
    lines = log.read_text()
    try:
        with log.open("a") as file:
            file.write(json.dumps({**json.loads(lines.splitlines()[-1]), "step": 2000}) + "\n")
        playwright.expect(visit.page.locator(".zoo-told")).to_contain_text("2,000", timeout=PATIENCE)
    finally:
        log.write_text(lines)


def test_nothing_is_asked_from_afar(visit: Visit, alone: tuple[str, Path]) -> None:
    visit.page.wait_for_selector(".zoo-grid img")
    visit.page.wait_for_timeout(4000)  # the timer's calls, too
    asked = {urlsplit(url).netloc for url in visit.asked if not url.startswith(("data:", "blob:"))}
    assert asked == {urlsplit(alone[0]).netloc}
    assert not visit.errors


def test_runs_side_by_side(run: Path, plain: Path, browser: Any) -> None:
    for address in served(run, plain):
        page = browser.new_page()
        visit = Visit(page, address)
        playwright.expect(page.locator(".zoo-image img")).to_have_count(2, timeout=PATIENCE)
        assert page.get_by_text("has no codes").is_visible()
        first, second = visit.source(0), visit.source(1)
        page.get_by_label("noise (its seed)").nth(1).fill("9")
        visit.changed(second, 1)
        assert visit.source(0) == first
        page.close()

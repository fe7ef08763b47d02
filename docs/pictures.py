"""Draw the pictures of README.md and docs/ from a trained run: `python docs/pictures.py runs/NAME`.

Requires the extra `dev` and Chromium. Writes traversal.png, turn.webp, explore.png, explore-phone.png and report.png to
docs/images.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from gan_zoo import cli
from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset

IMAGES = Path(__file__).parent / "images"
PATIENCE = 120_000
"""Timeout in milliseconds."""
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
DIGIT = 400
"""A held-back digit, which the page is shown with."""


def main(run: Path) -> None:
    """Draw all pictures."""
    cli.main(["traverse", str(run), "--rows", "4", "--out", str(IMAGES / "traversal.png")])
    turn = ["--code", "c3", "--by", "c1", "--rows", "2", "--values", "12"]
    cli.main(["traverse", str(run), *turn, "--out", str(IMAGES / "turn.webp")])
    with tempfile.TemporaryDirectory() as folder, browser() as pages:
        report = Path(folder, "report.html")
        cli.main(["report", str(run), "--out", str(report)])
        page = pages.new_page(viewport={"width": 1280, "height": 1500})
        page.goto(report.as_uri())
        shoot(page, "report")
        explore(run, pages, Path(folder))


def explore(run: Path, pages: Any, folder: Path) -> None:
    """The page of `gan-zoo explore`: a slanted digit on a screen, a sample on a phone."""
    test = open_dataset(Data(name="mnist-5k")).test
    assert test is not None
    Image.fromarray(test.images[DIGIT][0].numpy()).save(folder / "digit.png")
    with served(run) as address:
        for name, size in (("explore", DESK), ("explore-phone", PHONE)):
            page = pages.new_page(viewport=size)
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            page.locator(".zoo-grid img").wait_for()
            if size is DESK:
                page.locator(".zoo-drop input[type=file]").set_input_files(folder / "digit.png")
                page.get_by_role("button", name="Back to samples").wait_for()
                page.get_by_label("range slider for c3").fill("0.8")
                page.get_by_text("IMAGE --codes").wait_for()
            page.wait_for_timeout(3000)  # the grid follows
            shoot(page, name)


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of `gan-zoo explore`."""
    command = [sys.executable, "-um", "gan_zoo", "explore", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[1]
        server.terminate()


def shoot(page: Any, name: str) -> None:
    """Save what a page shows, in 128 colours, and close it."""
    with Image.open(BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(128).save(IMAGES / f"{name}.png", optimize=True)
    page.close()
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What the page's functions answer, without a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import gan_zoo

gr = pytest.importorskip("gradio")
from gan_zoo.explore import markup  # noqa: E402
from gan_zoo.explore.app import Page, Upload  # noqa: E402
from gan_zoo.explore.view import Inverted, View  # noqa: E402

VALUES = [4, 0.5, -0.5]


@pytest.fixture(scope="module")
def view(run: Path) -> View:
    return View(run)


@pytest.fixture(scope="module")
def found(view: View, digit: bytes) -> Inverted:
    return view.invert(digit)


@pytest.fixture
def page(view: View) -> Page:
    return Page([view])


def named(page: Page, answer: Any) -> dict[str, Any]:
    """An answer about an image of one's own."""
    return dict(zip(("upload", "field", "back", "noise", "told", "seen"), answer, strict=False))


def silent(*_: Any, **__: Any) -> None:
    """No progress is shown."""


@pytest.mark.parametrize("seed", [-5, 99999999999999999999, 2**53, 1.5, None])
def test_a_wrong_seed_keeps_the_image_and_is_told(page: Page, seed: Any) -> None:
    images, commands, told = page._draw(None, page.inputs[1].preprocess(seed), *VALUES)
    assert images == commands == gr.skip()
    assert "The noise seed must be an integer from 0 to 9007199254740991" in told


def test_every_seed_that_a_browser_holds_exactly_is_taken(page: Page) -> None:
    _, command, told = page._draw(None, page.inputs[1].preprocess(2**53 - 1), *VALUES)
    assert "--seed 9007199254740991 " in command
    assert not told


def test_marks_are_at_the_ends_of_a_traversal() -> None:
    uniform, gaussian = markup.marks("uniform"), markup.marks("gaussian")
    assert " 25.00% 0 " in uniform and " 75.00% 0 " in uniform  # -1 and 1 on a slider from -2 to 2
    assert " 16.67% 0 " in gaussian and " 83.33% 0 " in gaussian  # -2 and 2 on a slider from -3 to 3
    assert uniform in markup.CSS and gaussian in markup.CSS


@pytest.mark.parametrize(("typed", "taken"), [(99, None), (-2.01, None), (None, None), (2, 2)])
def test_a_number_outside_a_slider_waits_until_it_is_corrected(page: Page, typed: Any, taken: Any) -> None:
    assert page.inputs[3].preprocess(typed) == taken


def test_an_image_hides_the_noise_unless_a_run_still_draws_samples(
    view: View, plain: Path, digit: bytes, tmp_path: Path
) -> None:
    (tmp_path / "digit.png").write_bytes(digit)
    for views, needed in (([view], False), ([view, View(plain)], True)):
        page = Page(views)
        answer = named(page, page._invert(str(tmp_path / "digit.png"), *VALUES, progress=silent))
        assert answer["noise"].visible == needed
        told = page._draw(answer["upload"], None, *answer["upload"].values)[2]
        assert bool(told) == needed, "a seed that is not used may be wrong"


def test_an_unreadable_file_ends_the_image_before_it_and_is_named_with_a_remedy(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no image")
    answer = named(page, page._invert(str(tmp_path / "notes.png"), *VALUES, progress=silent))
    assert answer["upload"] is answer["field"] is None
    assert not answer["back"].visible and answer["noise"].visible
    assert "notes.png: the image cannot be read" in answer["told"] and "save it as PNG or JPEG" in answer["told"]


def test_leaving_the_image_cancels_its_inversion(page: Page) -> None:
    inverting = {key for key, fn in page.blocks.fns.items() if fn.name in ("_invert", "_renew")}
    assert len(inverting) == 2
    cancelled = [set(fn.cancels) for fn in page.blocks.fns.values() if fn.cancels]
    assert cancelled and all(inverting <= each for each in cancelled)


def test_an_image_is_inverted_again_by_a_newly_loaded_checkpoint(run: Path, tmp_path: Path, digit: bytes) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    page = Page([view := View(copy)])
    before = Upload(digit, [view.invert(digit)], list(VALUES))
    assert page._renew(before, *VALUES, progress=silent) == gr.skip()
    gan_zoo.train("infogan", config=copy / "config.toml", out=copy, quiet=True, resume=True, steps=14)
    assert view.refresh()
    assert "not yet inverted by this checkpoint" in page._draw(before, 0, *VALUES)[0]
    answer = named(page, page._renew(before, *VALUES, progress=silent))
    (again,) = answer["upload"].inversions
    assert again.checkpoint == view.checkpoint
    assert again.rmse == pytest.approx(view.invert(digit).rmse, abs=0.01)
    assert f"error of {again.rmse:.1f}" in answer["seen"]
    assert "inverted your image again" in answer["told"]
    assert "not yet" not in page._draw(answer["upload"], 0, *answer["upload"].values)[0]


def test_codes_that_draw_an_image_and_differ_from_the_controls_are_named(view: View, found: Inverted) -> None:
    drawn = found.latents.codes[0].tolist()
    assert markup.kept(view, [None] * 3, drawn, found) == []
    other = (drawn[0] + 1) % 10
    (note,) = markup.kept(view, [None] * 3, [other, *drawn[1:]], found)
    assert note == f"Your image is drawn with c1 = {drawn[0]:g} until their controls move."
    assert markup.kept(view, [other, None, None], [other, *drawn[1:]], found) == []
    assert markup.kept(view, [None] * 3, [other, *drawn[1:]], None) == []

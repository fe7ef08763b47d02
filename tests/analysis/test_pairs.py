"""Traversals of two codes, of codes with many values, and of many codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import zoo
from PIL import Image

import gan_zoo
from gan_zoo.analysis.panel import Panel
from gan_zoo.analysis.traverse import draw_traversals, shown_values, traversal, write_traversals
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN

CODES = "categorical:5, uniform:2, bernoulli:1"
GREY = 2 / 255
"""The step between a pixel's 256 values."""


def make(codes: str) -> GAN:
    made = gan_zoo.create("infogan", codes=codes, width=4, resolution=28, channels=1, classes=0, noise=6)
    with torch.no_grad():
        for parameter in made.generator.parameters():
            parameter.mul_(8)
    return made.eval()


@pytest.fixture(scope="module")
def model() -> GAN:
    return make(CODES)


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Panel, torch.Tensor]]:
    """The panels that are drawn from here on."""
    drawn: list[tuple[Panel, torch.Tensor]] = []
    real = Panel.draw

    def draw(panel: Panel, images: torch.Tensor) -> Image.Image:
        drawn.append((panel, images))
        return real(panel, images)

    monkeypatch.setattr(Panel, "draw", draw)
    return drawn


def test_a_pair_takes_every_pair_of_values_and_holds_the_rest(model: GAN, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(model, "generate", lambda latents: seen.append(latents) or torch.zeros(len(latents.codes), 1))
    c1, c2 = model.codes[:2]
    traversal(model, (c1, c1.traversal()), (c2, [-2.0, 0.0, 2.0]), samples=4, seed=3)
    codes = torch.cat([latents.codes for latents in seen]).view(4, 5, 3, 4)
    noise = torch.cat([latents.input for latents in seen])[:, :6].view(4, 5, 3, 6)
    drawn = model.prior.sample(4, seed=3, stream=SHOWN)
    assert torch.equal(codes[..., 1], torch.tensor([-2.0, 0.0, 2.0]).expand(4, 5, 3))
    assert torch.equal(codes[..., 0], torch.arange(5.0)[:, None].expand(4, 5, 3))
    for held in (2, 3):
        assert torch.equal(codes[..., held], drawn.codes[:, None, None, held].expand(4, 5, 3))
    assert torch.equal(noise, drawn.input[:, None, None, :6].expand(4, 5, 3, 6))


def test_a_pair_s_rows_are_traversals_of_one_code(model: GAN) -> None:
    c1, c2 = model.codes[:2]
    images = traversal(model, (c1, c1.traversal()), (c2, c2.traversal(3)), samples=2, seed=1)
    assert images.shape == (2, 5, 3, 1, 28, 28)
    alone = traversal(model, (c2, c2.traversal(3)), samples=2, seed=1)
    own = model.prior.sample(2, seed=1, stream=SHOWN).codes[:, 0].long()
    for sample in range(2):
        torch.testing.assert_close(images[sample, own[sample]], alone[sample], rtol=0, atol=GREY / 100)
    assert not torch.allclose(images[:, 0], images[:, 1], atol=1e-3)
    turned = traversal(model, (c2, c2.traversal(3)), (c1, c1.traversal()), samples=2, seed=1)
    torch.testing.assert_close(turned, images.transpose(1, 2), rtol=0, atol=GREY / 100)


def test_a_picture_of_a_pair_has_one_code_along_the_columns_and_one_down_the_rows(
    model: GAN, panels: list[tuple[Panel, torch.Tensor]], tmp_path: Path
) -> None:
    write_traversals(model, tmp_path / "pair.png", "c2", by="c1", count=3, seed=2)
    ((panel, images),) = panels
    assert (panel.across, panel.down, panel.title) == ("c2, uniform", "c1, categorical", "")
    assert panel.columns == ["-1", "0", "1"]
    assert panel.rows == ["0", "1", "2", "3", "4"]
    expected = traversal(model, (model.codes[0], [0, 1, 2, 3, 4]), (model.codes[1], [-1, 0, 1]), samples=1, seed=2)
    assert torch.equal(images, expected[0])


def test_more_samples_of_a_pair_are_further_panels(
    model: GAN, panels: list[tuple[Panel, torch.Tensor]], tmp_path: Path
) -> None:
    write_traversals(model, tmp_path / "pair.png", "c2", by="c3", rows=3)
    assert [panel.title for panel, _ in panels] == ["sample 1", "sample 2", "sample 3"]
    assert {tuple(panel.columns) for panel, _ in panels} == {tuple(panels[0][0].rows)}
    assert len(panels[0][0].columns) == 10
    assert not torch.equal(panels[0][1], panels[1][1])


@pytest.mark.parametrize("ending", [".webp", ".gif"])
def test_an_animation_of_a_pair_turns_one_code_and_has_the_other_along_the_columns(
    model: GAN, ending: str, panels: list[tuple[Panel, torch.Tensor]], tmp_path: Path
) -> None:
    path = write_traversals(model, tmp_path / f"pair{ending}", "c2", by="c1", rows=2, count=4, seed=5)
    assert [panel.title for panel, _ in panels] == [f"c2, uniform: {word}" for word in ("-1", "-0.33", "0.33", "1")]
    for panel, images in panels:
        assert (panel.across, panel.down) == ("c1, categorical", "sample")
        assert (panel.columns, panel.rows) == (["0", "1", "2", "3", "4"], ["1", "2"])
        assert images.shape == (2, 5, 1, 28, 28)
    c1, c2 = model.codes[:2]
    expected = traversal(model, (c1, c1.traversal()), (c2, c2.traversal(4)), samples=2, seed=5)
    assert torch.equal(torch.stack([images for _, images in panels]), expected.permute(2, 0, 1, 3, 4, 5))
    with Image.open(path) as animation:
        assert animation.n_frames == 4 + 2
        assert animation.width > 5 * 86 and animation.height > 2 * 86


def test_an_animation_of_two_continuous_codes_has_ten_columns(
    model: GAN, panels: list[tuple[Panel, torch.Tensor]], tmp_path: Path
) -> None:
    write_traversals(model, tmp_path / "pair.gif", "c2", by="c3", rows=1)
    assert len(panels) == 24
    assert {len(panel.columns) for panel, _ in panels} == {10}


def test_the_frames_of_an_animation_name_the_value(
    model: GAN, panels: list[tuple[Panel, torch.Tensor]], tmp_path: Path
) -> None:
    path = write_traversals(model, tmp_path / "turn.gif", "c1", rows=1)
    assert [panel.title for panel, _ in panels] == [f"c1, categorical: {k}" for k in range(5)]
    with Image.open(path) as animation:
        first = np.asarray(animation.convert("L")).astype(int)
        animation.seek(1)
        second = np.asarray(animation.convert("L")).astype(int)
    assert (np.abs(first - second)[: first.shape[0] - 80] > 60).any()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".gif"])
@pytest.mark.parametrize("args", [("c2", "c3"), ("c1", "c4"), ("c4", "c2"), ("c1", None)])
def test_the_least_of_everything_is_drawn_in_every_format(
    model: GAN, ending: str, args: tuple[str, str | None], tmp_path: Path
) -> None:
    path = write_traversals(model, tmp_path / f"small{ending}", args[0], by=args[1], rows=1, count=2)
    with Image.open(path) as picture:
        picture.load()
        assert min(picture.size) >= 56


def test_the_command_draws_a_pair(tmp_path: Path) -> None:
    gan_zoo.train("infogan", out=tmp_path / "run", quiet=True, steps=1, batch_size=4, width=2, device="cpu")
    ended = zoo("traverse", tmp_path / "run", "--code", "c2", "--by", "c1", "--values", "3")
    assert ended.code == 0, ended.err
    further = zoo("traverse", tmp_path / "run", "--code", "c2", "--overshoot")
    assert further.out.strip().endswith("traversal-c2-overshoot.png"), further.err
    with Image.open(tmp_path / "run" / "samples" / "traversal-c2-c1-values-3.png") as picture:
        assert picture.height > 10 * 86 > 3 * 86 < picture.width < 6 * 86


@pytest.mark.parametrize(
    ("code", "count", "expected"),
    [
        (Code("c1", "categorical", 32), None, list(range(32))),
        (Code("c1", "categorical", 32), 2, list(range(32))),
        (Code("c1", "categorical", 200), 3, [0, 100, 199]),
        (Code("c1", "categorical", 33), 40, list(range(33))),
        (Code("c1", "bernoulli"), 5, [0, 1]),
        (Code("c1", "uniform"), None, [-1, 0, 1]),
        (Code("c1", "gaussian"), 5, [-2, -1, 0, 1, 2]),
    ],
)
def test_the_values_that_are_shown(code: Code, count: int | None, expected: list[float]) -> None:
    assert shown_values(code, count, 3) == expected


def test_of_many_values_32_are_shown_spread_evenly() -> None:
    values = shown_values(Code("c1", "categorical", 4096), None, 10)
    assert len(values) == len(set(values)) == 32
    assert (values[0], values[-1]) == (0, 4095)
    assert set(np.diff(values)) <= {132, 133}


def test_a_code_with_many_values_is_drawn_and_says_how_many(panels: list[tuple[Panel, torch.Tensor]]) -> None:
    model = make("categorical:200")
    picture = draw_traversals(model, model.codes, rows=1)
    assert panels[0][0].across == "c1, categorical: 32 of 200 values"
    assert picture.width < 3000
    with pytest.raises(InputError, match="by 211 pixels and 200 images; at most 12288 pixels"):
        draw_traversals(model, model.codes, rows=1, count=200)


def test_of_many_codes_the_first_are_drawn_and_a_line_says_so(panels: list[tuple[Panel, torch.Tensor]]) -> None:
    model = make("uniform:100")
    picture = draw_traversals(model, model.codes, rows=1, count=2)
    assert [panel.across for panel, _ in panels] == [f"c{k}, uniform" for k in range(1, 13)]
    assert max(picture.size) < 2500
    alone = draw_traversals(model, model.codes[:12], rows=1, count=2)
    assert np.array_equal(np.asarray(picture)[: alone.height], np.asarray(alone))
    below = np.asarray(picture)[alone.height :]
    assert (below < 128).any()


def test_codes_are_left_out_rather_than_a_picture_too_tall(panels: list[tuple[Panel, torch.Tensor]]) -> None:
    model = make("uniform:4")
    picture = draw_traversals(model, model.codes, rows=130, count=30)
    assert len(panels) == 1
    assert max(picture.size) <= 12_288

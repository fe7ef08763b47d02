"""Traversals and sample grids: what is fixed, what varies, and that the files open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import write_set, zoo
from PIL import Image

import gan_zoo
from gan_zoo.analysis.traverse import draw_traversals, pick_codes, traversal, write_traversals
from gan_zoo.errors import InputError
from gan_zoo.images import grid, mosaic, most_images, to_uint8
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN

CODES = "categorical:5, uniform:1, gaussian:1, bernoulli:1"


@pytest.fixture(scope="module")
def model() -> GAN:
    """A narrow InfoGAN with a code of every kind."""
    made = gan_zoo.create("infogan", codes=CODES, width=4, resolution=28, channels=1, classes=0, noise=6)
    with torch.no_grad():
        for parameter in made.generator.parameters():
            parameter.mul_(8)
    return made.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few large steps on coloured images, enough for the codes to have an effect."""
    place = tmp_path_factory.mktemp("run")
    data = write_set(place / "set.npz", resolution=32, channels=3)
    gan_zoo.train(
        "infogan", out=place / "run", quiet=True, data=data, trunk={"name": "dcgan", "width": 2}, codes=CODES,
        steps=4, batch_size=4, device="cpu", ema=0.0, generator_lr=0.1,
    )  # fmt: skip
    return place / "run"


@pytest.mark.parametrize(("index", "count", "columns"), [(0, 7, 5), (1, 7, 7), (2, 3, 3), (3, 7, 2)])
def test_a_row_shares_noise_and_other_codes_and_a_column_its_value(
    model: GAN, index: int, count: int, columns: int
) -> None:
    code = model.codes[index]
    values = code.traversal(count)
    latents = model.prior.traverse(code, values, 4, seed=3)
    assert len(values) == columns
    held = latents.codes.view(4, columns, 4)
    noise = latents.input[:, : model.prior.noise].view(4, columns, -1)
    assert torch.equal(noise, noise[:, :1].expand_as(noise))
    assert len(noise[:, 0].unique(dim=0)) == 4
    for other in range(4):
        own = held[:, :, other]
        expected = torch.tensor(values).expand(4, -1) if other == index else own[:, :1].expand_as(own)
        assert torch.equal(own, expected)
    images = traversal(model, (code, code.traversal(count)), samples=4, seed=3)
    assert images.shape == (4, columns, 1, 28, 28)
    assert torch.equal(images.flatten(0, 1), model.generate(latents))
    assert not torch.equal(images[:, 0], images[:, -1])


def test_a_continuous_code_covers_its_trained_range_in_even_steps_or_twice_that() -> None:
    for kind, end in (("uniform", 1), ("gaussian", 2)):
        expected = [-end, -end / 2, 0, end / 2, end]
        assert Code("c1", kind).traversal(5) == expected
        assert Code("c1", kind).traversal(5, overshoot=True) == [2 * value for value in expected]


def test_a_discrete_code_takes_all_of_its_values() -> None:
    assert Code("c1", "categorical", 4).traversal(99) == [0, 1, 2, 3]
    assert Code("c1", "bernoulli").traversal(99) == [0, 1]


def test_the_seed_decides_a_traversal(model: GAN) -> None:
    code = model.codes[0]
    first, again, other = (traversal(model, (code, code.traversal()), samples=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_all_codes_are_drawn_or_the_one_that_is_named(model: GAN) -> None:
    assert pick_codes(model, None) == model.codes
    assert [code.name for code in pick_codes(model, "c3")] == ["c3"]
    with pytest.raises(InputError, match="unknown code 'c9'"):
        pick_codes(model, "c9")


def test_a_grid_lays_images_row_after_row() -> None:
    images = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 3, 64, 64)
    pixels = np.asarray(grid(images, 3, gap=2))
    assert pixels.shape == (2 * 64 + 2, 3 * 64 + 2 * 2, 3)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 66].tolist() == [51, 51, 51]
    assert pixels[66, 132].tolist() == [255, 255, 255]
    assert (pixels[64:66] == 255).all()


@pytest.mark.parametrize(("n", "columns", "factor"), [(6, 3, 3), (48**2, 48, 2), (100**2, 100, 1), (1, 4000, 1)])
def test_small_images_are_enlarged_by_a_whole_factor_as_far_as_there_is_room(n: int, columns: int, factor: int) -> None:
    images = torch.rand(2, 1, 28, 28).repeat(n, 1, 1, 1)[:n] * 2 - 1
    picture = grid(images, columns)
    assert picture.width == columns * (28 * factor + 2) - 2
    first = np.asarray(picture)[: 28 * factor, : 28 * factor]
    assert np.array_equal(first, np.kron(to_uint8(images)[0, 0].numpy(), np.ones((factor, factor), np.uint8)))


def test_a_grid_fills_its_last_row_with_white() -> None:
    pixels = np.asarray(grid(torch.full((4, 1, 64, 64), -1.0), 3, gap=0))
    assert pixels.shape == (128, 192)
    assert (pixels[64:, 64:] == 255).all()
    assert (pixels[64:, :64] == 0).all()


def test_a_panel_is_drawn_for_every_code(model: GAN) -> None:
    whole = np.asarray(draw_traversals(model, model.codes, rows=2, count=4))
    for code in model.codes:
        cells = traversal(model, (code, code.traversal(4)), samples=2)
        own = np.asarray(grid(cells.flatten(0, 1), cells.shape[1]).convert("RGB"))
        assert contains(whole, own), code.name
        assert not contains(whole, 255 - own)


def contains(whole: np.ndarray, part: np.ndarray) -> bool:
    """Whether `part` stands somewhere in `whole`, pixel for pixel."""
    height, width = part.shape[:2]
    down, across = whole.shape[0] - height + 1, whole.shape[1] - width + 1
    return any(
        np.array_equal(whole[y : y + height, x : x + width], part)
        for y, x in np.argwhere((whole[:down, :across] == part[0, 0]).all(2))
    )


@pytest.mark.parametrize(("ending", "kind"), [(".png", "PNG"), (".PNG", "PNG"), (".jpg", "JPEG"), (".pdf", None)])
def test_a_figure_has_the_format_of_its_ending(model: GAN, ending: str, kind: str | None, tmp_path: Path) -> None:
    path = write_traversals(model, tmp_path / "new" / f"picture{ending}", "c1", rows=1)
    if kind is None:
        assert path.read_bytes()[:4] == b"%PDF"
        return
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == kind
    assert [path.name for path in path.parent.iterdir()] == [f"picture{ending}"]


@pytest.mark.parametrize("ending", [".webp", ".gif"])
@pytest.mark.parametrize(("code", "frames"), [("c1", 5), ("c2", 6 + 4), ("c4", 2)])
def test_an_animation_turns_a_code_there_and_back(
    model: GAN, ending: str, code: str, frames: int, tmp_path: Path
) -> None:
    path = write_traversals(model, tmp_path / f"turn{ending}", code, count=6)
    with Image.open(path) as animation:
        assert animation.n_frames == frames
        assert animation.width > 8 * 86
        assert animation.height > animation.width, "the value stands above the grid"
        shown = []
        for frame in range(frames):
            animation.seek(frame)
            shown.append(np.asarray(animation.convert("L")).astype(int))
    assert np.abs(shown[0] - shown[frames // 2]).max() > 16
    if code == "c2":
        assert np.abs(shown[1] - shown[-1]).mean() < np.abs(shown[1] - shown[5]).mean()


def test_the_command_draws_a_figure_in_the_run(run: Path) -> None:
    ended = zoo("traverse", run)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(run / "samples" / "traversal.png")
    with Image.open(run / "samples" / "traversal.png") as picture:
        assert picture.mode == "RGB"
        assert min(picture.size) > 200


@pytest.mark.parametrize("ending", [".png", ".webp", ".gif"])
def test_the_command_draws_one_code_into_a_file(run: Path, ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"turn{ending}"
    ended = zoo("traverse", run, "--code", "c4", "--rows", "2", "--out", target)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(target)
    with Image.open(target) as picture:
        assert getattr(picture, "n_frames", 1) == (1 if ending == ".png" else 2)


def test_a_checkpoint_is_drawn_in_its_run(run: Path) -> None:
    (checkpoint,) = (run / "checkpoints").iterdir()
    ended = zoo("sample", checkpoint, "-n", "3")
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(run / "samples" / "samples.png")
    assert (run / "samples" / "samples.png").is_file()


def test_a_sample_grid_holds_the_codes_that_are_named(run: Path, tmp_path: Path) -> None:
    ended = zoo("sample", run, "--n", "9", "--codes", "c1=3, c2=-1.5", "--seed", "4", "--out", tmp_path / "held.png")
    assert ended.code == 0, ended.err
    trained = gan_zoo.load(run)
    images = trained.sample(9, {"c1": 3, "c2": -1.5}, seed=4)
    with Image.open(tmp_path / "held.png") as picture:
        assert picture.size == (3 * 64 + 4, 3 * 64 + 4)
        assert np.array_equal(np.asarray(picture), np.asarray(grid(images, 3)))
    drawn = trained.prior.sample(9, seed=4, stream=SHOWN)
    held = drawn.codes.clone()
    held[:, 0], held[:, 1] = 3, -1.5
    expected = trained.generate(trained.prior.compose(drawn.input[:, : trained.prior.noise], held))
    assert torch.equal(to_uint8(images), to_uint8(expected))
    assert not torch.equal(images, trained.sample(9, seed=4))


def test_samples_of_one_seed_are_the_same(run: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert zoo("sample", run, "-n", "4", "--seed", seed, "--out", tmp_path / f"{name}.png").code == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(("n", "size"), [(1, (1, 1)), (2, (2, 1)), (5, (3, 2)), (64, (8, 8))])
def test_a_sample_grid_is_nearly_square(run: Path, n: int, size: tuple[int, int], tmp_path: Path) -> None:
    ended = zoo("sample", run, "-n", n, "--out", tmp_path / "samples.png")
    assert ended.code == 0, ended.err
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == tuple(66 * side - 2 for side in size)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "columns", "gap"), [(1, 1, 2), (6, 3, 0), (7, 3, 2), (5, 5, 1)])
def test_a_mosaic_of_batches_is_the_grid_of_all(channels: int, n: int, columns: int, gap: int) -> None:
    images = torch.rand(n, channels, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = np.asarray(grid(images, columns, gap=gap))
    parts = np.asarray(mosaic(images.split(2), n, columns, gap=gap))
    assert np.array_equal(parts, whole)
    height = -(-n // columns) * (80 + gap) - gap
    assert whole.shape[:2] == (height, columns * (80 + gap) - gap)


def test_a_picture_of_too_many_samples_is_refused_with_the_number_that_fits(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.images.MOST_PIXELS", 101 * 101)
    monkeypatch.setattr("gan_zoo.images.MOST_ENLARGED", 101)
    most = most_images(32)
    assert most == 9
    assert zoo("sample", run, "-n", most, "--out", tmp_path / "a.png").code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width * picture.height <= 101 * 101
    ended = zoo("sample", run, "-n", most + 1, "--out", tmp_path / "b.png")
    assert ended.code == 2
    assert ended.err == (
        "gan-zoo: --n 10: a picture holds at most 9 images of 32×32 pixels; --separate writes one each\n"
    )
    assert not (tmp_path / "b.png").exists()


def test_twenty_thousand_samples_of_64_pixels_fit_a_picture() -> None:
    assert most_images(64) >= 20_000


def test_large_images_are_shrunk_as_they_come_and_the_picture_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    large = gan_zoo.create(
        "infogan", codes=CODES, trunk={"name": "dcgan", "width": 2}, resolution=128, channels=1
    ).eval()
    code = large.codes[1]
    picture = draw_traversals(large, [code], rows=2, count=3)
    assert traversal(large, (code, code.traversal(3)), samples=2).shape[-1] == 128
    assert traversal(large, (code, code.traversal(3)), samples=2, most_side=64).shape[-1] == 64
    monkeypatch.setattr("gan_zoo.analysis.traverse.resized", lambda images, side: images)
    assert np.array_equal(np.asarray(picture), np.asarray(draw_traversals(large, [code], rows=2, count=3)))

"""`gan-zoo invert` and `gan-zoo edit`, and the files of latents that they write and other commands read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import zoo
from measured import SIDE, write_striped
from narrow import narrow_train, one_line
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import gan_zoo
from gan_zoo.analysis import edit
from gan_zoo.analysis.edit import draw_pairs
from gan_zoo.analysis.invert import invert
from gan_zoo.analysis.panel import Panel
from gan_zoo.analysis.traverse import GAP as EDGE
from gan_zoo.cli.codes import parse_lists
from gan_zoo.errors import InputError
from gan_zoo.images import GAP, cell_side, grid
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN, Latents

CODES = "categorical:3, uniform:1, bernoulli:1"
CELL = cell_side(SIDE)
QUICK = ("--steps", "4")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with and without codes, three pictures, and a file that is none."""
    place = tmp_path_factory.mktemp("place")
    settings = {"data": str(write_striped(place / "set.npz")), "steps": 2, "trunk__name": "mlp"}
    narrow_train("infogan", place / "run", infogan__codes=CODES, **settings)
    narrow_train("infogan", place / "other", infogan__codes="categorical:3, uniform:2", **settings)
    narrow_train("infogan", place / "cube", infogan__codes=CODES, latent__distribution="uniform", **settings)
    narrow_train("gan", place / "plain", **settings)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(place / name)
    (place / "broken.png").write_text("no image")
    return place


@pytest.fixture(scope="module")
def model(place: Path) -> GAN:
    return gan_zoo.load(place / "run")


@pytest.fixture
def latents(model: GAN) -> Latents:
    return model.prior.sample(3, seed=5, stream=SHOWN)


@pytest.fixture
def stored(model: GAN, latents: Latents, tmp_path: Path) -> Path:
    return gan_zoo.save_latents(latents, model, tmp_path / "latents.safetensors")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_image_that_the_model_does_not_draw_is_named() -> None:
    pairs = torch.zeros(3, 2, 1, 2, 2)
    pairs[:, 0] = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    pairs[0, 1] = 0.1 * pairs[0, 0]  # nearer than grey
    pairs[1, 1] = -pairs[1, 0]
    pairs[2, 1] = -0.1 * pairs[2, 0]
    assert edit.undrawn(edit.Inverted(["a", "b", "c"], None, None, pairs)) == ["b", "c"]  # type: ignore[arg-type]


# Files of latents.


def test_latents_come_back_from_their_file(model: GAN, latents: Latents, stored: Path) -> None:
    read = gan_zoo.load_latents(stored, model)
    assert torch.equal(read.input, latents.input)
    assert torch.equal(read.codes, latents.codes)


def test_a_file_names_its_prior_its_run_and_its_images(model: GAN, latents: Latents, tmp_path: Path) -> None:
    names = ["a.png", "ü.png", "c.png"]
    path = gan_zoo.save_latents(latents, model, tmp_path / "l.safetensors", run="runs/one", images=names)
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        assert file.get_tensor("noise").shape == (3, 6)
        assert torch.equal(file.get_tensor("codes"), latents.codes)
    assert facts["prior"] == "noise(normal):6, c1 categorical:3, c2 uniform:1, c3 bernoulli(0.5):1"
    assert (facts["model"], facts["run"], json.loads(facts["images"])) == ("infogan", "runs/one", names)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("other", "c3 uniform:1"),
        ("cube", "the model needs noise(uniform):6"),
        ("plain", "the model needs noise(normal):6"),
    ],
)
def test_latents_of_another_prior_are_refused(place: Path, stored: Path, run: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        gan_zoo.load_latents(stored, gan_zoo.load(place / run))
    assert f"{stored} has latents of noise(normal):6, c1 categorical:3" in one_line(refused)
    assert told in one_line(refused)
    ended = zoo("sample", place / run, "--from", stored, "--out", stored.with_name("picture.png"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert not stored.with_name("picture.png").exists()


def changed(path: Path, **tensors: torch.Tensor) -> Path:
    """A copy of a file with other tensors."""
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(kept | tensors, path.with_name("changed.safetensors"), file.metadata())
    return path.with_name("changed.safetensors")


@pytest.mark.parametrize(
    "tensors",
    [
        {"noise": torch.zeros(2, 6)},
        {"noise": torch.zeros(3, 5)},
        {"noise": torch.zeros(3, 6, 1)},
        {"noise": torch.zeros(3, 6, dtype=torch.float64)},
        {"noise": torch.full((3, 6), torch.nan)},
        {"noise": torch.zeros(0, 6), "codes": torch.zeros(0, 3)},
        {"codes": torch.zeros(3, 2)},
        {"codes": torch.tensor([[3.0, 0, 0]] * 3)},
        {"codes": torch.tensor([[0.5, 0, 0]] * 3)},
        {"codes": torch.tensor([[0, torch.inf, 0]] * 3)},
        {"codes": torch.tensor([[0, 0, torch.nan]] * 3)},
    ],
)
def test_damaged_latents_are_refused(model: GAN, stored: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = changed(stored, **tensors)
    with pytest.raises(InputError) as refused:
        gan_zoo.load_latents(path, model)
    assert f"{path} is damaged" in one_line(refused)


def test_what_is_no_file_of_latents_is_refused(place: Path, model: GAN, tmp_path: Path) -> None:
    (weights,) = (place / "run").rglob("model.safetensors")
    torch.save({"noise": torch.zeros(1, 6)}, tmp_path / "pickle.safetensors")
    for path, told in (
        (weights, "no latents that this release reads; gan-zoo invert writes"),
        (tmp_path / "pickle.safetensors", "not readable as safetensors"),
        (tmp_path / "missing.safetensors", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(InputError) as refused:
            gan_zoo.load_latents(path, model)
        assert told in one_line(refused) and str(path) in one_line(refused)
    save_file({"noise": torch.zeros(1, 6)}, tmp_path / "half.safetensors", _facts(model, tmp_path))
    with pytest.raises(InputError, match="not readable as safetensors"):
        gan_zoo.load_latents(tmp_path / "half.safetensors", model)


def _facts(model: GAN, place: Path) -> dict[str, str]:
    whole = gan_zoo.save_latents(model.prior.sample(1, seed=0), model, place / "whole.safetensors")
    with safe_open(whole, framework="pt") as file:
        return file.metadata()  # type: ignore[no-any-return]


# gan-zoo invert


def test_invert_writes_pairs_and_latents_and_prints_errors(place: Path, model: GAN, tmp_path: Path) -> None:
    ended = zoo("invert", place / "run", place / "a.png", place / "b.png", *QUICK, "--out", tmp_path / "out")
    assert ended.code == 0
    assert ended.err.startswith("not drawn well: ") and ended.err.count("\n") == 1  # it is hardly trained
    head, first, second, mean, *files = ended.out.splitlines()
    assert head.split() == ["image", "codes", "RMSE"]
    assert files == [str(tmp_path / "out" / name) for name in ("pairs.png", "latents.safetensors")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["latents.safetensors", "pairs.png"]
    read = gan_zoo.load_latents(tmp_path / "out/latents.safetensors", model)
    errors = []
    for row, (line, name) in enumerate(zip((first, second), ("a.png", "b.png"), strict=True)):
        image, codes, error = line.split()
        assert image == str(place / name)
        c1, c2, c3 = read.codes[row].tolist()
        assert codes == f"c1={c1:.0f},c2={c2:.2f},c3={c3:.0f}".replace(".00", "")
        errors.append(float(error))
    assert mean.split() == ["mean", f"{sum(errors) / 2:.1f}"] or abs(float(mean.split()[1]) - sum(errors) / 2) < 0.06
    picture = pixels(tmp_path / "out/pairs.png")[..., 0]
    height, left = 2 * CELL + GAP, Panel(CELL, ["", ""], ["a.png", "b.png"]).margins[0] + EDGE
    first = picture[EDGE : EDGE + CELL, left : left + CELL]
    assert len(np.unique(first.reshape(SIDE, CELL // SIDE, SIDE, CELL // SIDE)[5, :, 7, :])) == 1, "sharp pixels"
    assert picture[EDGE : EDGE + height, :left].min() < 128, "names of the images"
    assert picture[EDGE + height : -EDGE, left:].min() < 128, "names of the columns"
    with safe_open(tmp_path / "out/latents.safetensors", framework="pt") as file:
        assert file.metadata()["run"] == str(place / "run")
        assert json.loads(file.metadata()["images"]) == [str(place / name) for name in ("a.png", "b.png")]


def test_invert_gives_what_the_function_gives(place: Path, model: GAN, tmp_path: Path) -> None:
    ended = zoo(
        "invert", place / "run", "mnist-5k", "--split", "test", "-n", 3, *QUICK, "--seed", 2, "--codes",
        "--out", tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert [line.split()[0] for line in ended.out.splitlines()[:5]] == ["image", "0", "1", "2", "mean"]
    opened = edit.Images(*_test_split(place, model))
    images = edit.normalise(opened.split.pixels(torch.arange(3)))
    found = invert(model, images, steps=4, seed=2, codes=True)
    read = gan_zoo.load_latents(tmp_path / "latents.safetensors", model)
    assert torch.allclose(read.input, found.latents.input, atol=1e-4)


def _test_split(place: Path, model: GAN) -> tuple[edit.Split, str]:
    from gan_zoo.analysis.encode import open_images
    from gan_zoo.training.run import find

    opened = open_images(["mnist-5k"], find(place / "run")[0], model.image, part="test")
    return opened.split, opened.where


def test_many_images_are_inverted_in_batches(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit, "MOST_SHOWN", 4)
    monkeypatch.setattr("gan_zoo.models.gan.model.MAX_IMAGES_AT_ONCE", 12)  # three images from four starts
    sizes: list[int] = []
    monkeypatch.setattr(
        edit, "invert", lambda model, images, **k: sizes.append(len(images)) or invert(model, images, **k)
    )
    ended = zoo("invert", place / "plain", place / "set.npz", "-n", 8, *QUICK, "--out", tmp_path)
    assert ended.code == 0, ended.err
    assert sizes == [3, 3, 2]
    assert len(gan_zoo.load_latents(tmp_path / "latents.safetensors", gan_zoo.load(place / "plain"))) == 8
    assert "pairs.png (the first 4)" in ended.out
    margins = Panel(CELL, ["image", "found"], ["0"]).margins
    assert pixels(tmp_path / "pairs.png").shape[:2] == (
        2 * CELL + GAP + margins[2] + 2 * EDGE, 2 * (2 * CELL + GAP + margins[0]) + 3 * EDGE
    ), "two pairs in each of two panels"  # fmt: skip


def test_images_that_cannot_be_read_are_named(place: Path, tmp_path: Path) -> None:
    names = [place / name for name in ("a.png", "broken.png", "b.png")]
    ended = zoo("invert", place / "run", *names, *QUICK, "--out", tmp_path)
    assert ended.code == 0
    assert ended.err.startswith("left out: 1 that cannot be read: ") and str(place / "broken.png") in ended.err
    assert [line.split()[0] for line in ended.out.splitlines()[1:3]] == [str(names[0]), str(names[2])]
    ended = zoo("edit", place / "run", place / "broken.png", "--codes", "c2=1", "--out", tmp_path / "edit.png")
    assert ended.code == 2
    assert ended.err.count("\n") == 1 and str(place / "broken.png") in ended.err
    assert not (tmp_path / "edit.png").exists()


def test_pairs_stand_beside_each_other() -> None:
    pairs = torch.stack([torch.full((9, 1, 28, 28), -1.0), torch.full((9, 1, 28, 28), 0.0)], 1)
    drawn = draw_pairs(edit.Inverted([f"{k}.png" for k in range(20)], None, None, pairs))  # type: ignore[arg-type]
    picture = np.asarray(drawn.convert("L"))
    left = Panel(84, ["image", "found"], [f"{k}.png" for k in range(9)]).margins[0]
    places = [EDGE + left, 2 * EDGE + 2 * left + 170]
    for row, place in ((0, places[0]), (4, places[0]), (0, places[1]), (3, places[1])):
        above = EDGE + 86 * row
        assert picture[above : above + 84, place : place + 84].max() == 0
        assert set(np.unique(picture[above : above + 84, place + 86 : place + 170])) == {128}
    assert picture[EDGE + 4 * 86 + 40 :, 2 * EDGE + left + 172 :].min() == 255, "paper where there is no tenth"


# gan-zoo edit


def test_edit_draws_the_image_its_reconstruction_and_the_edits(place: Path, model: GAN, tmp_path: Path) -> None:
    ended = zoo(
        "edit", place / "run", place / "a.png", place / "b.png", *QUICK, "--codes", "c2=-1,0,1,c1=2",
        "--out", tmp_path / "edit.png",
    )  # fmt: skip
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'edit.png'}\n")
    zoo("invert", place / "run", place / "a.png", place / "b.png", *QUICK, "--out", tmp_path)
    latents = gan_zoo.load_latents(tmp_path / "latents.safetensors", model)
    picture = pixels(tmp_path / "edit.png")[..., 0].astype(float)
    cell, expected = CELL, [model.generate(latents)]
    expected += [model.generate(model.prior.with_codes(latents, {"c2": value, "c1": 2})) for value in (-1, 0, 1)]
    for images in expected:
        for image in images:
            small = ((image[0] + 1) * 127.5).round().clamp(0, 255).numpy()
            large = small.repeat(cell // SIDE, 0).repeat(cell // SIDE, 1)
            assert holds(picture, large)
    assert not holds(picture, np.full((cell, cell), 7.0))


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether a picture has a part somewhere."""
    side = len(part)
    corners = np.argwhere(picture[: -side + 1, : -side + 1] == part[0, 0])
    return any(np.abs(picture[y : y + side, x : x + side] - part).max() <= 1 for y, x in corners)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("c2=1.5", {"c2": [1.5]}),
        ("c2=-1,0,1", {"c2": [-1, 0, 1]}),
        (" c2 = -1 , 0 ,c3=2,", {"c2": [-1, 0], "c3": [2]}),
        ("c1=3,c2=1e-1", {"c1": [3], "c2": [0.1]}),
        ("", {}),
    ],
)
def test_values_of_edits_are_parsed(text: str, values: dict[str, list[float]]) -> None:
    assert parse_lists(text) == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1", "'1' is not NAME=NUMBER"),
        ("=1", "'=1' is not NAME=NUMBER"),
        ("c2=", "'c2=' is not NAME=NUMBER"),
        ("c2=1,x", "'x' is not NAME=NUMBER"),
        ("c2=1,c3=0,c2=2", "--codes sets c2 twice"),
    ],
)
def test_malformed_values_are_refused(text: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_lists(text)
    assert told in one_line(refused)


# Commands that read latents.


def test_sample_draws_latents_of_a_file(
    place: Path, model: GAN, latents: Latents, stored: Path, tmp_path: Path
) -> None:
    for words, chosen, n in (((), {}, 3), (("--codes", "c1=1,c2=0.5", "-n", 2), {"c1": 1, "c2": 0.5}, 2)):
        ended = zoo("sample", place / "run", "--from", stored, *words, "--out", tmp_path / "s.png")
        assert ended.code == 0, ended.err
        images = model.generate(model.prior.with_codes(latents, chosen))[:n]
        expected = np.asarray(grid(images, n))
        assert np.abs(pixels(tmp_path / "s.png").astype(int) - expected).max() <= 1
    ended = zoo("sample", place / "run", "--from", stored, "-n", 4, "--out", tmp_path / "more.png")
    assert (ended.code, ended.err) == (2, "gan-zoo: --n 4: the file of --from has 3 latents\n")


def test_sample_without_a_file_still_draws_64(place: Path, tmp_path: Path) -> None:
    assert zoo("sample", place / "run", "--out", tmp_path / "s.png").code == 0
    assert pixels(tmp_path / "s.png").shape == (8 * (CELL + 2) - 2,) * 2


def test_traverse_varies_codes_of_latents_of_a_file(
    place: Path, model: GAN, latents: Latents, stored: Path, tmp_path: Path
) -> None:
    from gan_zoo.analysis.traverse import traversal

    code = model.codes[1]
    images = traversal(model, (code, [-1.0, 1.0]), samples=2, seed=latents)
    for k, value in enumerate((-1.0, 1.0)):
        expected = model.generate(model.prior.with_codes(latents, {"c2": value}))[:2]
        assert torch.allclose(images[:, k], expected, atol=1e-5)
    traverse = ("traverse", place / "run", "--from", stored, "--code", "c2")
    for name, words in (("t.png", ()), ("by.png", ("--by", "c1")), ("t.gif", ()), ("by.gif", ("--by", "c1"))):
        ended = zoo(*traverse, *words, "--out", tmp_path / name)
        assert (ended.code, ended.err) == (0, ""), name
    ended = zoo(*traverse, "--rows", 4, "--out", tmp_path / "more.png")
    assert ended.code == 2
    assert ended.err == "gan-zoo: 4 samples require as many latents, and there are 3\n"
    assert not (tmp_path / "more.png").exists()

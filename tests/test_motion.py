"""Truncation, seeds in a list, a file for each image, walks, and MP4."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import zoo
from narrow import narrow_config, narrow_train, one_line
from PIL import Image

import gan_zoo
from gan_zoo.analysis.walk import code_path, draw_walk, noise_path
from gan_zoo.cli.sample import parse_seeds
from gan_zoo.errors import InputError
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.codes import parse_codes
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.training.build import build_model
from gan_zoo.training.run import Run

CODES = "categorical:5, uniform:1, gaussian:1"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("runs") / "run"
    return narrow_train("infogan", place, training__steps=1, infogan__codes=CODES)


@pytest.fixture
def model(run: Run) -> GAN:
    return run.load()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_truncation_multiplies_the_noise_and_nothing_else(model: GAN) -> None:
    given = model.prior.sample(5, seed=3, stream=SHOWN)
    scaled = model.prior.compose(0.3 * given.input[:, : model.prior.noise], given.codes)
    assert torch.equal(model.sample(5, seed=3, truncation=0.3), model.generate(scaled))
    assert torch.equal(model.sample(5, seed=3, truncation=1), model.sample(5, seed=3))
    none = model.sample(5, codes={"c1": 2, "c2": 0.5, "c3": 0}, truncation=0)
    assert torch.equal(none, none[:1].expand_as(none))


def test_a_value_far_from_those_of_training_is_named(run: Run, tmp_path: Path) -> None:
    out = ("-n", 2, "--out", tmp_path / "far.png")
    assert zoo("sample", run.folder, "--codes", "c2=2", *out).err == ""
    told = zoo("sample", run.folder, "--codes", "c2=-7", *out).err
    assert told == "c2 = -7 is far outside the range that it was trained on, -1 to 1\n"


@pytest.mark.parametrize("truncation", [-0.1, 1.1, float("nan"), "half"])
def test_truncation_beyond_its_range_is_refused(truncation: Any, model: GAN) -> None:
    with pytest.raises(InputError, match="truncation must be a number from 0 to 1, not"):
        model.sample(1, truncation=truncation)


def test_a_command_draws_truncated_samples(run: Run, tmp_path: Path) -> None:
    for psi in ("1", "0.5"):
        assert zoo("sample", run.folder, "-n", 4, "--truncation", psi, "--out", tmp_path / f"{psi}.png").code == 0
    assert zoo("sample", run.folder, "-n", 4, "--out", tmp_path / "default.png").code == 0
    assert (pixels(tmp_path / "1.png") == pixels(tmp_path / "default.png")).all()
    assert (pixels(tmp_path / "0.5.png") != pixels(tmp_path / "default.png")).any()
    ended = zoo("sample", run.folder, "--truncation", 2, "--out", tmp_path / "no.png")
    assert (ended.code, ended.err) == (2, "gan-zoo: truncation must be a number from 0 to 1, not 2.0\n")
    assert not (tmp_path / "no.png").exists()


def test_seeds_are_numbers_and_ranges() -> None:
    assert [*map(list, parse_seeds("1, 5-9,3-3"))] == [[1], [5, 6, 7, 8, 9], [3]]
    assert sum(map(len, parse_seeds("0-999999999"))) == 10**9


@pytest.mark.parametrize(
    "text", ["5-", "-5", "a", "1;2", "9-5", "1.5", "99999999999999999999", f"{2**63}", "1-2-3", "٣"]
)
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_seeds(f"1,{text}")
    assert f"--seeds: {text!r} is not a seed or a range of seeds, as in 1,5-9" in one_line(error)


def test_a_seed_of_a_list_gives_the_image_of_that_seed_alone(run: Run, model: GAN, tmp_path: Path) -> None:
    assert zoo("sample", run.folder, "--seeds", "7,2-3", "--separate", "--out", tmp_path / "three").code == 0
    for index, seed in enumerate((7, 2, 3)):
        drawn = pixels(tmp_path / "three" / f"img{index:05}.png")
        assert (drawn == to_uint8(model.sample(1, seed=seed))[0, 0].numpy()).all()
    assert zoo("sample", run.folder, "--seeds", "7,2-3,9", "--out", tmp_path / "grid.png").code == 0
    assert pixels(tmp_path / "grid.png").shape == (170, 170)


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 1, 3), (6, 2, 3), (10, 3, 4), (64, 8, 8)])
def test_a_grid_of_samples_is_not_taller_than_wide(n: int, rows: int, columns: int, run: Run, tmp_path: Path) -> None:
    assert zoo("sample", run.folder, "-n", n, "--out", tmp_path / "grid.png").code == 0
    assert pixels(tmp_path / "grid.png").shape == (86 * rows - 2, 86 * columns - 2)


@pytest.mark.parametrize("flags", [("-n", 3), ("--seed", 3)])
def test_a_list_of_seeds_excludes_a_number_and_a_seed(flags: tuple[object, ...], run: Run) -> None:
    ended = zoo("sample", run.folder, "--seeds", "1,2", *flags)
    assert (ended.code, ended.err) == (
        2, "gan-zoo: --seeds draws one image for each seed; leave out --seed, -n and --from\n"
    )  # fmt: skip
    ended = zoo("sample", run.folder, "--seeds", ",")
    assert (ended.code, "names no seed" in ended.err) == (2, True)


def test_any_number_of_images_is_written_one_to_a_file_in_batches(
    run: Run, model: GAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most: list[int] = []
    generate = GAN.generate
    monkeypatch.setattr(
        GAN, "generate", lambda self, latents: most.append(len(latents.input)) or generate(self, latents)
    )
    monkeypatch.setattr("gan_zoo.images.MOST_PIXELS", 60**2)
    ended = zoo("sample", run.folder, "-n", 300, "--separate", "--out", tmp_path / "many")
    assert (ended.code, ended.out) == (0, f"300 images: {tmp_path / 'many'}\n")
    assert max(most) == 256
    names = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert (len(names), names[0], names[-1]) == (300, "img00000.png", "img00299.png")
    assert (pixels(tmp_path / "many" / "img00299.png") == to_uint8(model.sample(300))[299, 0].numpy()).all()
    ended = zoo("sample", run.folder, "-n", 300, "--out", tmp_path / "a.png")
    assert (ended.code, "a picture holds at most 4 images of 28×28 pixels; --separate" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "label", "total", "calls"),
    [
        (("sample", "-n", 300, "--separate", "--out", "many"), "images", 300, 2),
        (("sample", "--seeds", "1-3", "--out", "a.png"), "images", 3, 3),
        (("walk", "--seconds", 0.2, "--rows", 1, "--out", "walk.gif"), "frames", 5, 6),
    ],
)
def test_progress_counts_images_and_frames(
    words: tuple[object, ...],
    label: str,
    total: int,
    calls: int,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def progress(label: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: told.append((label, done, total))

    monkeypatch.setattr("gan_zoo.terminal.progress", progress)
    command, *rest = words
    ended = zoo(command, run.folder, *rest)
    assert (ended.code, ended.err) == (0, "")
    assert len(told) == calls
    assert told[-1] == (label, total, total)


def test_images_are_not_written_among_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "file").touch()
    for out, words in (("full", "is not empty; name another folder"), ("file", "is not a folder; name a new")):
        ended = zoo("sample", run.folder, "--separate", "--out", tmp_path / out)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert words in ended.err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_no_images_are_left_where_writing_them_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_zoo.images.png", fail)
    assert zoo("sample", run.folder, "-n", 3, "--separate", "--out", tmp_path / "new").code == 2
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("circles", [1, 3])
def test_a_walk_is_closed_and_steady_and_distributed_as_the_prior_everywhere(distribution: str, circles: int) -> None:
    model = build_model(narrow_config("gan", latent__distribution=distribution, latent__noise=50))
    path = noise_path(model, 400, 40, circles=circles)
    assert path.shape == (40, 400, 50)
    expected = {"normal": torch.distributions.Normal(0, 1), "uniform": torch.distributions.Uniform(-1, 1)}[distribution]
    for z in path[::13]:
        for probability in (0.05, 0.5, 0.9):
            assert (z <= expected.icdf(torch.tensor(probability))).float().mean() == pytest.approx(
                probability, abs=0.01
            )
    if distribution == "uniform":
        assert path.abs().max() < 1
    steps = (path.roll(-1, 0) - path).square().mean((1, 2)).sqrt()
    assert steps.max() < 1.1 * steps.min()
    drawn = model.prior.sample(400, seed=0, stream=SHOWN).input[:, :50]
    if circles == 1:
        assert torch.allclose(path[0], drawn, atol=1e-4)


def test_a_code_swings_over_its_range_or_takes_its_values_in_turn() -> None:
    discrete, uniform, gaussian = parse_codes(CODES)
    assert code_path(discrete, 10) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert code_path(uniform, 4) == pytest.approx([-1, 0, 1, 0])
    assert code_path(gaussian, 4) == pytest.approx([-2, 0, 2, 0])


def test_a_walk_moves_what_is_asked_for(model: GAN, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    generate = GAN.generate
    monkeypatch.setattr(GAN, "generate", lambda self, latents: seen.append(latents.input) or generate(self, latents))

    def moving(**settings: Any) -> list[bool]:
        """Whether the noise, c1, c2 and c3 change along a walk."""
        seen.clear()
        assert len(draw_walk(model, rows=2, seconds=0.4, **settings)) == 10
        rows = torch.stack(seen)
        assert rows.shape[:2] == (10, 4)
        parts = rows.split([model.prior.noise, 5, 1, 1], 2)
        return [bool((part != part[:1]).any()) for part in parts]

    uniform = model.codes[1]
    assert moving() == [True, False, False, False]
    assert moving(code=uniform, noise=False) == [False, False, True, False]
    assert moving(code=uniform) == [True, False, True, False]
    assert moving(code=model.codes[0], noise=False) == [False, True, False, False]
    assert moving(truncation=0) == [False, False, False, False]


@pytest.mark.parametrize(("ending", "kind"), [("webp", "WEBP"), ("gif", "GIF")])
def test_a_walk_is_written(ending: str, kind: str, run: Run, tmp_path: Path) -> None:
    words = ("--code", "c2", "--noise", "--rows", 2, "--seconds", 0.4, "--out", tmp_path / f"walk.{ending}")
    ended = zoo("walk", run.folder, *words)
    assert (ended.code, ended.out) == (0, f"{tmp_path / f'walk.{ending}'}\n")
    with Image.open(tmp_path / f"walk.{ending}") as picture:
        assert (picture.format, getattr(picture, "n_frames", 1), picture.info["loop"]) == (kind, 10, 0)


def test_a_walk_has_a_place_in_the_run(run: Run) -> None:
    assert zoo("walk", run.folder, "--rows", 1, "--seconds", 0.08).out == f"{run.folder}/samples/walk.webp\n"
    assert zoo("walk", run.folder, "--code", "c2", "--rows", 1, "--seconds", 0.08).out.endswith("/walk-c2.webp\n")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--seconds", "0"), "--seconds must be a number from 0.08 to 600, not 0"),
        (("--seconds", "nan"), "--seconds must be a number from 0.08 to 600, not nan"),
        (("--seconds", "1e9"), "--seconds must be a number from 0.08 to 600, not 1e+09"),
        (("--rows", "100"), "reduce --rows or --seconds"),
        (("--code", "c9"), "unknown code 'c9'"),
        (("--truncation", "7"), "truncation must be a number from 0 to 1, not 7.0"),
        (("--out", "walk.png"), "walk.png: the name of an animation must end in .webp, .gif, .mp4"),
        (("--rows", "0"), "--rows must be a whole number, at least 1"),
    ],
)
def test_a_walk_that_cannot_be_is_refused(
    flags: tuple[str, ...], words: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = zoo("walk", run.folder, *(() if "--out" in flags else ("--out", "walk.gif")), *flags)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert words in ended.err
    assert not any(tmp_path.iterdir())


def test_a_model_without_noise_or_codes_is_told_what_it_lacks() -> None:
    codes_only = build_model(narrow_config("infogan", latent__noise=0, infogan__codes="uniform:2"))
    with pytest.raises(InputError, match="has no noise to walk through"):
        draw_walk(codes_only)
    with pytest.raises(InputError, match="a walk requires the noise or a code"):
        draw_walk(build_model(narrow_config("gan")), noise=False)


ENCODER = """#!/bin/sh
for last; do :; done
{{ echo "$@"; wc -c; }} > "$last"
{end}
"""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a program that stands for ffmpeg; on the PATH before all others."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin" / "ffmpeg"


def test_an_mp4_is_encoded_by_the_ffmpeg_that_is_there(run: Run, ffmpeg: Path, tmp_path: Path) -> None:
    ffmpeg.write_text(ENCODER.format(end=""))
    ffmpeg.chmod(0o755)
    for words in (("walk", "--seconds", 0.4, "--rows", 2), ("traverse", "--code", "c2", "--rows", 2, "--values", 6)):
        ended = zoo(words[0], run.folder, *words[1:], "--out", tmp_path / "a.mp4")
        assert ended.code == 0, ended.err
        options, size = (tmp_path / "a.mp4").read_text().splitlines()
        width, height = map(int, options.partition("-s ")[2].split()[0].split("x"))
        assert int(size) == 10 * 3 * width * height
        assert "-r 25" in options if words[0] == "walk" else "-r 16.6667" in options


def test_an_encoder_that_fails_is_told_and_leaves_nothing(run: Run, ffmpeg: Path, tmp_path: Path) -> None:
    ffmpeg.write_text(ENCODER.format(end="echo Unknown encoder >&2; exit 1"))
    ffmpeg.chmod(0o755)
    ended = zoo("walk", run.folder, "--seconds", 0.08, "--rows", 1, "--out", tmp_path / "a.mp4")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "a.mp4: ffmpeg failed: Unknown encoder; name a .webp or .gif instead" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_without_an_encoder_an_mp4_is_refused_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.animations.shutil.which", lambda _: None)
    monkeypatch.setattr("gan_zoo.animations.find_spec", lambda _: None)
    monkeypatch.setattr("gan_zoo.training.run.load", lambda *_, **__: pytest.fail("it began to work"))
    for command in ("walk", "traverse"):
        ended = zoo(command, run.folder, "--out", tmp_path / "a.mp4")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "requires ffmpeg on the PATH, or an extra: pip install 'gan-zoo[video]'" in ended.err
    assert not any(tmp_path.iterdir())


def test_weights_of_the_package_walk(tmp_path: Path) -> None:
    frames = draw_walk(gan_zoo.load("mnist-5k"), rows=1, seconds=0.4)
    assert len({frame.tobytes() for frame in frames}) == 10

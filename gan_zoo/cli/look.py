"""Commands that draw what a model makes, or read images with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.types import RunFolder, RunFolders


def sample(
    run: Positional[RunFolder],
    /,
    n: Annotated[int, arg(aliases=["-n"])] = 64,
    codes: str = "",
    out: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Draw a grid of samples.

    Args:
        n: How many images; the first ones of more are those of fewer.
        codes: Codes to hold, e.g. "c1=3,c2=-1.5"; the others are drawn.
        out: The picture; by default samples.png among the run's samples.
        seed: Decides what is drawn.
        device: Where to compute: auto, cpu, cuda, cuda:N.

    Examples:
        gan-zoo sample runs/infogan-mnist-5k-001 --codes c1=3,c2=-1.5                              # threes, slanted
        gan-zoo sample runs/infogan-mnist-5k-001/checkpoints/step-00000500 -n 100 --out early.png
        gan-zoo sample hf://org/name --seed 7
    """
    from gan_zoo import commands

    commands.sample(run, n=n, codes=codes, out=out, seed=seed, device=device)


def traverse(
    run: Positional[RunFolder],
    /,
    code: str | None = None,
    by: str | None = None,
    out: Path | None = None,
    rows: int | None = None,
    values: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Vary a code, or one by another, and hold everything else: a grid with a sample a row, or an animation.

    Args:
        code: The code to vary, e.g. c1; by default a panel for each, in an animation the first.
        by: A second code: a picture shows one sample with this code down the rows, an animation has it along the
            columns.
        out: The picture (.png) or animation (.webp, .gif); by default a picture among the run's samples, traversal.png,
            or of one code traversal-c1.png.
        rows: Samples, 10 in a picture; an animation shows a square of this side, 8. With --by, samples, too: a panel
            each in a picture, 1; a row each in an animation, 8.
        values: Steps of a continuous code from -2 to 2; 10 in a picture, 24 in an animation. Of a discrete code with
            more than 32 values, how many are shown, 32.
        seed: Decides noise and the other codes.
        device: Where to compute: auto, cpu, cuda, cuda:N.

    Examples:
        gan-zoo traverse runs/infogan-mnist-5k-001                            # a panel for each code
        gan-zoo traverse runs/infogan-mnist-5k-001 --code c1 --by c2
        gan-zoo traverse runs/infogan-mnist-5k-001 --code c2 --out turn.webp  # animated
    """
    from gan_zoo import commands

    commands.traverse(run, code=code, by=by, out=out, rows=rows, values=values, seed=seed, device=device)


def encode(
    run: Positional[RunFolder],
    images: Positional[Annotated[tuple[str, ...], arg(metavar="[IMAGES ...]")]] = (),
    /,
    out: Path | None = None,
    split: Literal["train", "test"] = "train",
    batch_size: int = 256,
    device: str = "cpu",
) -> None:
    """Write Q(c | x) of images as a table: a row for each image.

    Images that cannot be read are left out, counted and named.

    Args:
        images: Image files; or a folder of images, an array file or a dataset's name; by default the run's own data.
        out: The table (.csv or .parquet); by default codes.csv in the run folder, or of other images codes-NAME.csv.
        split: Which part of a set that has several.
        batch_size: Images at a time.
        device: Where to compute: auto, cpu, cuda, cuda:N.

    Examples:
        gan-zoo encode runs/infogan-mnist-5k-001                              # the images it was trained on
        gan-zoo encode runs/infogan-mnist-5k-001 ~/scans --out codes.parquet
        gan-zoo encode runs/infogan-mnist-5k-001 three.png four.png
    """
    from gan_zoo import commands

    commands.encode(run, images, out=out, split=split, batch_size=batch_size, device=device)


def explore(
    runs: Positional[RunFolders],
    /,
    port: int = 7860,
    device: str = "cpu",
) -> None:
    """Open a page on this machine's loopback address: sliders for the codes, an image's codes, the run's curves.

    Several runs stand side by side. Nothing is loaded from afar and nothing sent there. Ctrl-C ends it. Needs the extra
    `explore`.

    Args:
        port: Where the page is: http://127.0.0.1:PORT. 0 takes any port that is free.
        device: Where to compute: auto, cpu, cuda, cuda:N.

    Examples:
        gan-zoo explore runs/infogan-mnist-5k-001
        gan-zoo explore runs/infogan-* --port 0    # side by side
    """
    from gan_zoo import commands

    commands.explore(runs, port=port, device=device)

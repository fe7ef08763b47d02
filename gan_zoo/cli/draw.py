"""Commands that show what the codes of a model do, and encode images with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.types import Checkpoint, Count, Device, LatentsFile, Port, RunFolder, RunFolders, Seed, at, integer
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.analysis.encode import Images
    from gan_zoo.models.gan.model import GAN
    from gan_zoo.models.gan.prior import Latents
    from gan_zoo.training.run import Run


def open_model(
    run: Path, device: str, out: Path | None, name: str, check_ending: Callable[[Path], object]
) -> tuple[Run, GAN, Path]:
    """Check the output path, by default `name` in the run folder, and load the run's model."""
    from gan_zoo.cli.console import check_output
    from gan_zoo.training.precision import pick_device
    from gan_zoo.training.run import find, load

    source, checkpoint = find(run)
    target = out or source.folder / name
    check_ending(target)
    check_output(target)
    return source, load(checkpoint, device=pick_device(device)), target


def opened_images(images: tuple[str, ...], source: Run, model: GAN, split: Literal["train", "test"]) -> Images:
    """Open the images of a command line, and say what is cut off them."""
    from gan_zoo.analysis.encode import open_images
    from gan_zoo.terminal import say

    opened = open_images(images, source, model.image, part=split)
    for note in opened.notes:
        say(note)
    return opened


def traverse(
    run: Positional[RunFolder],
    /,
    code: str | None = None,
    by: str | None = None,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    rows: Count | None = None,
    values: Annotated[int, integer("INT>=2", 2)] | None = None,
    from_: LatentsFile = None,
    seed: Seed = 0,
    overshoot: bool = False,
    device: Device = "cpu",
) -> None:
    """Vary one code, or two against each other, and fix all else: a grid with one sample per row, or an animation.

    Args:
        code: The code to vary, e.g. c1. By default a picture has a panel for each code; an animation varies the first.
        by: A second code to vary: down the rows of a picture, along the columns of an animation.
        out: Output picture (.png) or animation (.webp, .gif, .mp4); defaults to traversal.png in the run's samples
            folder, or traversal-c1.png with --code c1.
        rows: Samples: rows of a picture (10), or rows and columns of an animation (8). With --by: panels of a picture
            (1), or rows of an animation (8).
        values: Steps of a continuous code over its trained range: 10 in a picture, 24 in an animation. Of a discrete
            code with more than 32 values, the number to show (32).
        from_: Latents with the noise and the other codes, instead of those of --seed: a file that gan-zoo invert wrote.
        seed: Seed of the noise and of the other codes.
        overshoot: Draw continuous codes to twice their trained range, as figure 2 of the paper does.

    Examples:
        gan-zoo traverse runs/infogan-mnist-5k-001                            # a panel for each code
        gan-zoo traverse runs/infogan-mnist-5k-001 --code c1 --by c2
        gan-zoo traverse runs/infogan-mnist-5k-001 --code c2 --out turn.webp  # animated
        gan-zoo traverse runs/infogan-mnist-5k-001 --from inverted/latents.safetensors    # your images
    """
    from gan_zoo.analysis.latents import load_latents
    from gan_zoo.analysis.traverse import write_traversals
    from gan_zoo.animations import MOVING, check_drawn
    from gan_zoo.cli.console import console

    name = f"samples/{picture_name(code, by, rows=rows, values=values, seed=seed, overshoot=overshoot)}"
    _, model, target = open_model(at(run, checkpoint), device, out, name, check_drawn)
    source: int | Latents = seed
    if from_:
        if seed:
            raise InputError("--from takes noise and codes of a file, and --seed others; give one of them")
        source, square = load_latents(from_, model), by is None and target.suffix.lower() in MOVING
        rows = rows or min(8 if square else 10, math.isqrt(len(source)) if square else len(source))
    console.print(
        str(write_traversals(model, target, code, by=by, rows=rows, count=values, seed=source, overshoot=overshoot))
    )


def picture_name(code: str | None, by: str | None, **settings: int | None) -> str:
    """The default name of a picture: `traversal.png`, with the codes and settings that the user gave."""
    given = [name if value is True else f"{name}-{value}" for name, value in settings.items() if value]
    return "-".join(filter(None, ["traversal", code, by, *given])) + ".png"


def encode(
    run: Positional[RunFolder],
    images: Positional[Annotated[tuple[str, ...], arg(metavar="[IMAGES ...]")]] = (),
    /,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    split: Literal["train", "test"] = "train",
    batch_size: Count = 256,
    device: Device = "cpu",
) -> None:
    """Write Q(c | x) of images as a table, one row per image.

    Images that cannot be read are skipped and reported.

    Args:
        images: Image files, or a folder of images, an array file or a dataset's name; defaults to the run's data.
        out: Output table (.csv or .parquet); defaults to codes.csv in the run folder, or codes-NAME.csv for other
            images.
        split: The split to encode, if the dataset has several.
        batch_size: Images per batch.

    Examples:
        gan-zoo encode runs/infogan-mnist-5k-001                              # the images it was trained on
        gan-zoo encode runs/infogan-mnist-5k-001 ~/scans --out codes.parquet
        gan-zoo encode runs/infogan-mnist-5k-001 three.png four.png
    """
    from gan_zoo.analysis import encode as encoding
    from gan_zoo.analysis.code_table import check_ending, write_table
    from gan_zoo.cli.console import console
    from gan_zoo.terminal import say

    name = code_table_name(images, split)
    source, model, target = open_model(at(run, checkpoint), device, out, name, check_ending)
    encoder, workers = encoding.encoder(model), source.config.data.workers
    opened = opened_images(images, source, model, split)
    broken: list[str] = []
    table = encoding.encode(encoder, opened, batch_size=batch_size, workers=workers, broken=broken)
    rows = write_table(table, target)
    console.print(f"{rows:,} images ({opened.where}): {target}")
    if broken:
        say(encoding.left_out(broken))


def code_table_name(images: Sequence[str], split: str) -> str:
    """The default file name of a table: `codes.csv`, or with the names of other images and another split."""
    from gan_zoo.files import slug

    named = "files" if len(images) > 1 else slug(Path(*images).stem) or "images" if images else ""
    return "-".join(filter(None, ["codes", named, split if split != "train" else ""])) + ".csv"


def explore(
    runs: Positional[RunFolders],
    /,
    checkpoint: Checkpoint = None,
    port: Port = 7860,
    device: Device = "cpu",
) -> None:
    """Open a local page with sliders for the codes, the codes of an image, and the run's curves.

    Shows several runs side by side. The page is served on the loopback address and uses no network. Ctrl-C stops the
    server. Requires the extra `explore`.

    Args:
        port: Port of the page, http://127.0.0.1:PORT; 0 takes any free port.

    Examples:
        gan-zoo explore runs/infogan-mnist-5k-001
        gan-zoo explore runs/infogan-* --port 0    # side by side
    """
    from gan_zoo.cli.console import console
    from gan_zoo.explore.server import bind, send_nothing, serve
    from gan_zoo.explore.view import View
    from gan_zoo.extras import require
    from gan_zoo.training.precision import pick_device

    if not runs:
        raise InputError("gan-zoo explore requires one RUN or more")
    require("gradio", "explore", "gan-zoo explore")
    send_nothing()
    sources = [at(run, checkpoint) for run in runs]
    with bind(port) as bound:
        views = [View(run, pick_device(device)) for run in sources]
        serve(views, bound, console.print)

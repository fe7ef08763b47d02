"""Draw what a model makes, or read images with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gan_zoo.analysis import encode as encoding
from gan_zoo.analysis.traverse import check_ending, file_name, write_picture, write_traversals
from gan_zoo.errors import InputError
from gan_zoo.files import slug
from gan_zoo.images import mosaic, most_images
from gan_zoo.tasks.console import check_place, check_seed, console
from gan_zoo.terminal import say
from gan_zoo.training.precision import pick_device
from gan_zoo.training.run import find, load


def sample(source: Path, *, n: int, codes: str, out: Path | None, seed: int, device: str) -> None:
    """`gan-zoo sample`."""
    if n < 1:
        raise InputError(f"--n is 1 or more, not {n}")
    check_seed(seed)
    run, checkpoint = find(source)
    target = out or run.samples / "samples.png"
    check_ending(target)
    check_place(target)
    model = load(checkpoint, device=pick_device(device))
    side = model.image.resolution
    if n > (most := most_images(side)):
        raise InputError(f"--n {n}: a picture holds at most {most} images of {side}×{side} pixels")
    batches = model.draw(n, parse_values(codes), seed=seed)
    console.print(str(write_picture(mosaic(batches, n, max(1, round(n**0.5))), target)))


def traverse(
    source: Path,
    *,
    code: str | None,
    by: str | None,
    out: Path | None,
    rows: int | None,
    values: int | None,
    seed: int,
    device: str,
) -> None:
    """`gan-zoo traverse`."""
    if rows is not None and rows < 1:
        raise InputError(f"--rows is 1 or more, not {rows}")
    if values is not None and values < 2:
        raise InputError(f"--values is 2 or more, not {values}")
    check_seed(seed)
    run, checkpoint = find(source)
    target = out or run.samples / file_name(code, by, rows=rows, values=values, seed=seed)
    check_ending(target)
    check_place(target)
    model = load(checkpoint, device=pick_device(device))
    console.print(str(write_traversals(model, target, code, by=by, rows=rows, count=values, seed=seed)))


def parse_values(text: str) -> dict[str, float]:
    """Codes to hold, from `c1=3,c2=-1.5`.

    Raises:
        InputError: If a part is not NAME=NUMBER.
    """
    values = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, number = part.partition("=")
        if name.strip() in values:
            raise InputError(f"--codes holds {name.strip()} twice")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"--codes: {part!r} is not NAME=NUMBER, as in c1=3,c2=-1.5")
    return values


def encode(
    source: Path,
    images: Sequence[str],
    *,
    out: Path | None,
    split: Literal["train", "test"],
    batch_size: int,
    device: str,
) -> None:
    """`gan-zoo encode`."""
    if batch_size < 1:
        raise InputError(f"--batch-size is 1 or more, not {batch_size}")
    run, checkpoint = find(source)
    target = out or run.folder / table_name(images, split)
    encoding.check_ending(target)
    check_place(target)
    model = load(checkpoint, device=pick_device(device))
    encoder, data = encoding.encoder(model), run.config.data
    found = encoding.open_images(images, run, model.image, part=split)
    broken = encoding.Broken()
    table = encoding.encode(encoder, found, batch_size=batch_size, workers=data.workers, broken=broken)
    rows = encoding.write_table(table, target)
    console.print(f"{rows:,} images ({found.where}): {target}")
    if broken.count:
        say(f"left out: {broken}")


def table_name(images: Sequence[str], split: str) -> str:
    """The file for the table of a run's own training images, `codes.csv`, or of other images or another split."""
    named = "files" if len(images) > 1 else slug(Path(*images).stem) or "images" if images else ""
    return "-".join(filter(None, ["codes", named, split if split != "train" else ""])) + ".csv"


def explore(sources: Sequence[Path], *, port: int, device: str) -> None:
    """`gan-zoo explore`."""
    from gan_zoo.explore.server import bind, check_installed, send_nothing, serve
    from gan_zoo.explore.view import View

    if not sources:
        raise InputError("gan-zoo explore RUN [RUN ...]: name one run or more")
    check_installed()
    send_nothing()
    with bind(port) as bound:
        views = [View(source, pick_device(device)) for source in sources]
        serve(views, bound, console.print)

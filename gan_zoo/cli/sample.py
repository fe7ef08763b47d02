"""The command that draws samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from gan_zoo.cli.codes import parse_values
from gan_zoo.cli.draw import open_model
from gan_zoo.cli.types import Checkpoint, Count, Device, LatentsFile, RunFolder, Seed, at
from gan_zoo.errors import InputError, quoted, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from gan_zoo.models.gan.codes import Code
    from gan_zoo.models.gan.model import GAN
    from gan_zoo.models.gan.prior import Latents
    from gan_zoo.training.run import Run


def sample(
    run: Positional[RunFolder],
    /,
    n: Annotated[Count | None, arg(aliases=["-n"])] = None,
    codes: str = "",
    label: str | None = None,
    truncation: float = 1.0,
    separate: bool = False,
    from_: LatentsFile = None,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    seed: Seed = 0,
    seeds: str | None = None,
    device: Device = "cpu",
) -> None:
    """Draw a grid of samples, or a file for each.

    Args:
        n: Number of images, by default 64, or as many as --from has. A larger n continues the sequence of a smaller
            one.
        codes: Codes to fix, e.g. "c1=3,c2=-1.5"; the others are drawn at random, or those of --from.
        label: Class of all images, by the name that the run's data gives it, or by its number. Requires a model that
            is trained on labels.
        truncation: From 0 to 1: multiplies the noise, which moves it towards its mean. Images vary less and more of
            them are typical; codes stay as they are.
        separate: Write img00000.png and so on, any number of images, into a new folder.
        out: Output picture; defaults to samples.png in the run's samples folder. With --separate the folder; defaults
            to images there.
        from_: Latents to draw instead of those of --seed: a file that gan-zoo invert wrote.
        seed: Seed of the latents.
        seeds: Seeds to draw one image each, e.g. "1,5-9": those of --seed 1 -n 1, --seed 5 -n 1 and so on.

    Examples:
        gan-zoo sample runs/infogan-mnist-5k-001 --codes c1=3,c2=-1.5                              # threes, slanted
        gan-zoo sample runs/infogan-mnist-5k-001/checkpoints/step-00000500 -n 100 --out early.png
        gan-zoo sample hf://org/name --seed 7
        gan-zoo sample runs/infogan-mnist-5k-001 --from inverted/latents.safetensors --codes c2=1.5
        gan-zoo sample runs/projection-gan-pets-001 --label cat
        gan-zoo sample mnist-5k --seeds 1,5-9 --truncation 0.7
        gan-zoo sample mnist-5k -n 100000 --separate --out digits
    """
    from gan_zoo.analysis.latents import load_latents
    from gan_zoo.cli.console import console
    from gan_zoo.files import check_empty
    from gan_zoo.images import check_ending, mosaic, most_images, save_each, save_image

    listed = [] if seeds is None else parse_seeds(seeds)
    if listed and (n is not None or seed or from_):
        raise InputError("--seeds draws one image for each seed; leave out --seed, -n and --from")
    if from_ and seed:
        raise InputError("--from draws the latents of a file, and --seed others; give one of them")
    name, check = ("samples/images", check_empty) if separate else ("samples/samples.png", check_ending)
    source, model, target = open_model(at(run, checkpoint), device, out, name, check)
    values = parse_values(codes)
    if label is not None:
        values = with_label(values, label, model, source)
    note_far_codes(model.codes, values)
    latents = load_latents(from_, model) if from_ else None
    batches: Iterable[Tensor]
    if listed:
        n = sum(map(len, listed))
        each = (model.draw(1, values, seed=one, truncation=truncation) for one in chain(*listed))
        batches = chain.from_iterable(each)
    elif latents is None:
        n = n or 64
        batches = model.draw(n, values, seed=seed, truncation=truncation)
    else:
        n = n or len(latents)
        batches = drawn_from(model.prior.truncated(latents, truncation), model, n, values)
    batches = counted(batches, n)
    if separate:
        console.print(f"{n:,} images: {save_each(batches, n, target)}")
        return
    side = model.image.resolution
    if n > (most := most_images(side)):
        asked = f"--seeds {seeds}" if listed else f"--n {n}"
        raise InputError(
            f"{asked}: a picture holds at most {most} images of {side}×{side} pixels; --separate writes one each"
        )
    console.print(str(save_image(mosaic(batches, n, -(-n // math.isqrt(n))), target)))


def note_far_codes(codes: tuple[Code, ...], values: dict[str, float]) -> None:
    """A line for each continuous code that is set beyond twice the range that it was trained on."""
    from gan_zoo.terminal import say

    for code in codes:
        value = values.get(code.name, 0.0)
        if not code.discrete and code.traversal(2, overshoot=True)[1] < abs(value) < math.inf:
            low, high = code.traversal(2)
            say(f"{code.name} = {value:g} is far outside the range that it was trained on, {low:g} to {high:g}")


def counted(batches: Iterable[Tensor], n: int) -> Iterator[Tensor]:
    """Batches of n images, with progress as they are drawn."""
    from gan_zoo.terminal import progress

    done = 0
    with progress("images") as show:
        for batch in batches:
            done += len(batch)
            show(done, n)
            yield batch


def drawn_from(latents: Latents, model: GAN, n: int, values: dict[str, float]) -> Iterator[Tensor]:
    """Images of the first n latents, with the values of some codes, in batches.

    Raises:
        InputError: If there are fewer latents, or a code is unknown or a value invalid.
    """
    if n > len(latents):
        raise InputError(f"--n {n}: the file of --from has {len(latents)} latents")
    chosen = model.prior.with_codes(latents.first(n), values)
    return map(model.generate, chosen.chunk(-(-n // model.at_once)))


def with_label(values: dict[str, float], label: str, model: GAN, run: Run) -> dict[str, float]:
    """The codes to fix, with the label of all images: a class by its name in the run's data, else by its number.

    Raises:
        InputError: If the model has no label, the data no such class, or `values` sets the label too.
    """
    from gan_zoo.models.gan.codes import LABEL
    from gan_zoo.training.provenance import recorded

    code = next((code for code in model.codes if code.name == LABEL), None)
    if code is None:
        raise InputError(
            f"--label {quoted(label)} requires a model that is trained on labels, and {model.config.model} is not; "
            "acgan, projection-gan, and infogan with infogan.conditional are"
        )
    if LABEL in values:
        raise InputError("--label and --codes both set label")
    record = recorded(run)
    names = [*record.class_names] if record else []
    if label not in names and not (label.isascii() and label.isdecimal() and len(label) < 10):
        raise unknown("label", label, names or [f"0 to {code.classes - 1}"])
    return {**values, LABEL: code.check(names.index(label) if label in names else int(label))}


def parse_seeds(text: str) -> list[range]:
    """Parse seeds, e.g. `1,5-9`.

    Raises:
        InputError: If a part is neither a seed nor a range of seeds.
    """
    ranges = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"(\d{1,19})(?:-(\d{1,19}))?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < 2**63:
            raise InputError(f"--seeds: {quoted(part)!r} is not a seed or a range of seeds, as in 1,5-9")
        ranges.append(range(first, last + 1))
    if not ranges:
        raise InputError(f"--seeds {quoted(text)!r} names no seed; write seeds and ranges, as in 1,5-9")
    return ranges

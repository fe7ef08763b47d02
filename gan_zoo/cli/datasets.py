"""`gan-zoo datasets`, whose flags are the keys of `[data]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, Suppress, arg

from gan_zoo import registry
from gan_zoo.cli.lists import list_entries
from gan_zoo.cli.parse import call
from gan_zoo.cli.types import PLAIN, Seed
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.config import Data
    from gan_zoo.data.dataset import Dataset


def datasets(args: list[str]) -> None:
    """Run `gan-zoo datasets`, with the keys of `[data]` as flags."""
    call(datasets_command(data_keys()), args, "gan-zoo datasets", PLAIN)


def datasets_command(keys: Data | None) -> Callable[..., None]:
    """The command `datasets`, with `keys` as flags and their values as defaults."""

    def datasets(
        name: Positional[Annotated[str | None, arg(metavar="[NAME]")]] = None,
        /,
        *,
        keys: Any = keys,
        out: Path | None = None,
        seed: Seed = 0,
        json: bool = False,
    ) -> None:
        """List the named datasets; or describe one and report its unreadable images.

        Args:
            name: A dataset's name, a folder of images, or a .npz, .npy or .safetensors file.
            keys: Keys of the table [data].
            out: Output picture of samples, one row per class.
            seed: Seed of the samples, and of the images to measure in a streamed dataset.
            json: Print JSON.

        Examples:
            gan-zoo datasets
            gan-zoo datasets mnist-5k
            gan-zoo datasets ~/faces --resolution 64 --out faces.png
            gan-zoo datasets hub --path org/name --json
        """
        if name is not None:
            describe({**keys, "name": name}, out=out, seed=seed, as_json=json)
            return
        if out is not None or (keys and keys != data_keys().model_dump()):
            raise InputError("gan-zoo datasets requires a NAME with these flags")
        list_entries(registry.datasets.entries.values(), as_json=json)

    datasets.__annotations__["keys"] = Annotated[type(keys), arg(name="")]
    return datasets


def data_keys() -> Data:
    """The keys of `[data]` that decide what a dataset contains: all but its name and its use in training."""
    from gan_zoo.config import Data

    class Keys(Data):
        name: Annotated[str, Suppress] = ""
        augment: Annotated[str, Suppress] = ""
        augment_fakes: Annotated[bool, Suppress] = True
        augment_target: Annotated[float, Suppress] = 0.0
        warp: Annotated[str, Suppress] = ""

    return Keys()


def describe(keys: dict[str, Any], *, out: Path | None, seed: int, as_json: bool) -> None:
    """Print a dataset's statistics and its unreadable images.

    Raises:
        InputError: If images cannot be read and `skip_broken` is false.
    """
    from pydantic import ValidationError

    from gan_zoo.analysis.overview import overview, samples, tables
    from gan_zoo.cli.console import check_output, console, print_json, wide
    from gan_zoo.config import Data
    from gan_zoo.images import check_ending, save_image
    from gan_zoo.trees import invalid

    try:
        settings = Data.model_validate(keys)
    except ValidationError as error:
        raise invalid(error) from None
    if out is not None:
        check_ending(out)
        check_output(out)
    dataset = _without_broken(settings, as_json=as_json)
    statistics = overview(dataset, seed=seed, workers=settings.workers)
    picture = str(save_image(samples(dataset, seed=seed), out)) if out else None
    if as_json:
        print_json(asdict(statistics) | {"picture": picture})
        return
    first, *others = tables(statistics)
    wide.print(first)
    for table in others:
        console.print()
        wide.print(table)
    if lines := [*dataset.notes, *([f"samples: {picture}"] if picture else [])]:
        console.print("\n" + "\n".join(lines))


def _without_broken(settings: Data, *, as_json: bool) -> Dataset:
    """Open a dataset without its unreadable images; unless they are to be skipped, print all of them and raise."""
    from gan_zoo.cli.console import console, print_json
    from gan_zoo.data.dataset import open_dataset
    from gan_zoo.data.encoded import BrokenImagesError

    try:
        dataset = open_dataset(settings.model_copy(update={"skip_broken": True}))
        broken = dataset.broken
    except BrokenImagesError as error:
        if settings.skip_broken:
            raise
        broken = error.causes
    if settings.skip_broken or not broken:
        return dataset
    if as_json:
        print_json({"broken": broken})
    else:
        console.print("\n".join(broken))
    raise InputError(
        f"data {settings.name!r}: {len(broken):,} images cannot be read; repair or remove them, or set "
        "data.skip_broken = true to skip them"
    )

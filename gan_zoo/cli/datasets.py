"""`gan-zoo datasets`, whose flags are the keys of a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, Suppress, arg

from gan_zoo import registry
from gan_zoo.cli.lists import list_entries
from gan_zoo.cli.parse import call
from gan_zoo.cli.types import PLAIN
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.config import Data


def datasets(args: list[str]) -> None:
    """`gan-zoo datasets`, with the keys of a set as flags."""
    call(datasets_command(set_keys()), args, "gan-zoo datasets", PLAIN)


def datasets_command(keys: Data | None) -> Callable[..., None]:
    """The command `datasets`, whose flags are `keys`, with their values as defaults."""

    def datasets(
        name: Positional[Annotated[str | None, arg(metavar="[NAME]")]] = None,
        /,
        *,
        keys: Any = keys,
        out: Path | None = None,
        seed: int = 0,
        json: bool = False,
    ) -> None:
        """List the datasets that have a name; or tell of one what it holds, and which of its images cannot be read.

        Args:
            name: A dataset's name, a folder of images, or a .npz, .npy or .safetensors file.
            keys: Keys of the table [data].
            out: Where to write a picture of samples, a row for each class.
            seed: Decides which samples are drawn, and which images of a set that is not held in memory are measured.
            json: Print JSON.

        Examples:
            gan-zoo datasets
            gan-zoo datasets mnist-5k
            gan-zoo datasets ~/faces --resolution 64 --out faces.png
            gan-zoo datasets hub --path org/name --json
        """
        if name is None:
            if out is not None or (keys and keys != set_keys().model_dump()):
                raise InputError("gan-zoo datasets NAME: these flags are of one set, which is to be named")
            list_entries(registry.datasets.entries.values(), as_json=json)
            return
        from pydantic import ValidationError

        from gan_zoo import commands
        from gan_zoo.config import Data
        from gan_zoo.trees import refused

        try:
            settings = Data.model_validate(keys | {"name": name})
        except ValidationError as error:
            raise refused(error) from None
        commands.datasets(settings, out=out, seed=seed, as_json=json)

    datasets.__annotations__["keys"] = Annotated[type(keys), arg(name="")]
    return datasets


def set_keys() -> Data:
    """The keys of `[data]` that decide what a set is: all but its name and what becomes of it in training."""
    from gan_zoo.config import Data

    class Keys(Data):
        name: Annotated[str, Suppress] = ""
        augment: Annotated[str, Suppress] = ""
        augment_fakes: Annotated[bool, Suppress] = True
        warp: Annotated[str, Suppress] = ""

    return Keys()

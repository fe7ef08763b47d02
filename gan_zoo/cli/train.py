"""`gan-zoo train`, whose flags are the keys of the configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import arg

from gan_zoo import registry
from gan_zoo.cli.help import about
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.config import Config


def train(args: list[str]) -> None:
    """`gan-zoo train`, with the keys of the named model's tree as flags."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--config")
    peek.add_argument("--out", type=Path)
    peek.add_argument("--resume", action="store_true")
    try:
        known, _ = peek.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from None
    model = args[0] if args and not args[0].startswith("-") else None
    if model:
        registry.models.check(model)
    helping = not {"-h", "--help"}.isdisjoint(args)
    if not (model or known.config or known.resume or helping):
        raise InputError(f"gan-zoo train MODEL: one of {', '.join(registry.models.entries)}")

    from pydantic import ValidationError

    from gan_zoo.resolve import refused, resolve
    from gan_zoo.training.run import held_run

    held = held_run(known.out) if known.resume and not helping else None
    if known.resume and not helping and not (held or model or known.config):
        raise InputError(f"{known.out} holds no run to resume; name a model to begin one there")
    if held and known.config:
        print(f"gan-zoo: {known.out} keeps its own configuration; --config is not read", file=sys.stderr)
    tree = resolve(model, held.ground(model) if held else known.config)
    command = train_command(tree)
    rest = args[1:] if model else args
    try:
        tyro.cli(command, prog=f"gan-zoo train {tree.model}", description=about(command), args=rest)
    except ValidationError as error:
        raise refused(error) from None


def train_command(tree: Config | None) -> Callable[..., None]:
    """The command `train`, whose flags are the keys of `tree`, with its values as defaults."""

    def train(
        tree: Any = tree,
        config: str | None = None,
        out: Path | None = None,
        resume: bool = False,
        new_data: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Train a model; ends by naming the run folder and its pictures.

        Args:
            tree: Keys of the configuration.
            config: A preset (see `gan-zoo configs`) or a TOML file. Flags win over it, it wins over the model's
                defaults. A run that is resumed keeps its own.
            out: The run folder; by default the next free one in runs/.
            resume: Go on with the run in --out, from its newest whole checkpoint.
            new_data: Go on with data that is not what the run learned from.
            dry_run: Show the resolved tree and the networks' sizes, and make nothing.

        Examples:
            gan-zoo train infogan                                       # the bundled digits
            gan-zoo train infogan --config celeba-64 --data ~/faces     # a folder of images
            gan-zoo train r3gan --precision bf16 --batch-size 64
            gan-zoo train --resume --out runs/infogan-mnist-5k-001
        """
        from gan_zoo import commands

        commands.train(tree, out, resume=resume, new_data=new_data, dry_run=dry_run)

    train.__annotations__["tree"] = Annotated[type(tree), arg(name="")]
    return train


def example_tree() -> Config:
    """The tree that help and completion show: InfoGAN's, without importing torch."""
    from pydantic import create_model

    from gan_zoo.config import Config
    from gan_zoo.models.infogan.settings import InfoGANSettings

    own: Any = {"infogan": (InfoGANSettings, InfoGANSettings())}
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **own)(model="infogan")

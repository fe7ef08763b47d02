"""`gan-zoo train`, whose flags are the keys of the configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from gan_zoo import registry
from gan_zoo.cli.parse import call
from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.config import Config


def train(args: list[str]) -> None:
    """`gan-zoo train`, with the keys of the named model's tree as flags."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--config")
    peek.add_argument("--data", "--data.name")
    peek.add_argument("--out", type=Path)
    peek.add_argument("--resume", action="store_true")
    try:
        known, _ = peek.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise InputError(f"{error.argument_name} requires a value; see gan-zoo train --help") from None
    model = args[0] if args and not args[0].startswith("-") else None
    if model:
        registry.models.check(model)
    helping = not {"-h", "--help"}.isdisjoint(args)
    if not (model or known.config or known.resume or helping):
        raise InputError(f"gan-zoo train MODEL: one of {', '.join(registry.models.entries)}")

    from gan_zoo.resolve import trace
    from gan_zoo.training.run import existing_run
    from gan_zoo.trees import flat

    held = existing_run(known.out) if known.resume and not helping else None
    if known.resume and not helping and not (held or model or known.config):
        raise InputError(f"{known.out} holds no run to resume; name a model to begin one there")
    if held and known.config:
        print(f"gan-zoo: {known.out} keeps its own configuration; --config is not read", file=sys.stderr)
    source = held.ground(model) if held else known.config
    named = {} if known.data is None else {"data.name": known.data}
    ground = trace(model, source, named).config
    given, asked = call(train_command(ground), args[1:] if model else args, f"gan-zoo train {ground.model}")

    from gan_zoo import commands

    before = flat(ground.model_dump())
    changed = {key: value for key, value in flat(given).items() if value != before[key]}
    commands.train(trace(model, source, named | changed), **asked)


def train_command(tree: Config | None) -> Callable[..., tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The command `train`, whose flags are the keys of `tree`, with its values as defaults.

    Called, it returns what it was given: the keys of the configuration, and what is asked for besides.
    """

    def train(
        tree: Any = tree,
        config: str | None = None,
        out: Path | None = None,
        resume: bool = False,
        new_data: bool = False,
        dry_run: bool = False,
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Train a model; ends by naming the run folder and its pictures.

        Args:
            tree: Keys of the configuration.
            config: A preset (see `gan-zoo configs`), a TOML file, or another model's name for its networks, loss and
                optimizer. Flags win over it, it wins over the model's defaults. By default the preset that fits the
                data. A run that is resumed keeps its own.
            out: The run folder; by default the next free one in runs/.
            resume: Go on with the run in --out, from its newest whole checkpoint.
            new_data: Go on with data that is not what the run learned from.
            dry_run: Show the resolved tree, where each value comes from and the networks' sizes, and make nothing.

        Examples:
            gan-zoo train infogan                                       # the bundled digits
            gan-zoo train infogan --config celeba-64 --data ~/faces     # a folder of images
            gan-zoo train r3gan --precision bf16 --batch-size 64
            gan-zoo train --resume --out runs/infogan-mnist-5k-001
        """
        return tree, {"out": out, "resume": resume, "new_data": new_data, "dry_run": dry_run}

    train.__annotations__["tree"] = Annotated[type(tree), arg(name="")]
    return train


def example_tree() -> Config:
    """The tree that help and completion show: InfoGAN's, without importing torch."""
    from pydantic import create_model

    from gan_zoo.config import Config
    from gan_zoo.models.infogan.settings import InfoGANSettings

    own: Any = {"infogan": (InfoGANSettings, InfoGANSettings())}
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **own)(model="infogan")

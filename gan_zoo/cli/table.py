"""The commands, grouped as `gan-zoo --help` shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from tyro.conf import Positional

from gan_zoo.cli import bench, draw, edit, lists, measure, motion, runs, sample, tools
from gan_zoo.cli.datasets import data_keys, datasets_command
from gan_zoo.cli.train import train_command


def completion(shell: Positional[Literal["bash", "zsh", "fish"]], /) -> None:
    """Print a completion script.

    Args:
        shell: bash, zsh or fish.

    Examples:
        eval "$(gan-zoo completion bash)"                                       # in ~/.bashrc
        gan-zoo completion zsh > ~/.zfunc/_gan-zoo                              # a folder in zsh's fpath
        gan-zoo completion fish > ~/.config/fish/completions/gan-zoo.fish
    """
    from gan_zoo.cli.completion import script
    from gan_zoo.resolve import resolve

    with_keys = {"train": train_command(resolve()), "datasets": datasets_command(data_keys())}
    print(script(shell, COMMANDS | with_keys), end="")


GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "train and look": (
        train_command(None),
        sample.sample,
        draw.traverse,
        motion.walk,
        draw.encode,
        edit.invert,
        edit.edit,
        draw.explore,
    ),
    "measure": (measure.evaluate, measure.cluster, measure.centrality, bench.bench),
    "runs": (runs.runs, runs.report, runs.export),
    "lists": (lists.models, lists.trunks, datasets_command(None), lists.loggers, lists.configs, lists.weights),
    "tools": (tools.new, tools.doctor, completion),
}

COMMANDS = {command.__name__: command for commands in GROUPS.values() for command in commands}

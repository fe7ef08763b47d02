"""Commands on the library itself."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def new(what: Positional[Literal["model"]], name: Positional[str], /, out: Path = Path()) -> None:
    """Write the skeleton of a plug-in: a distribution with a model, its entry point and its test.

    Args:
        what: model.
        name: The model's name, e.g. my-gan.
        out: Where the folder gan_zoo_NAME goes.

    Examples:
        gan-zoo new model my-gan
    """
    from gan_zoo.skeleton import new_model

    folder = new_model(name, out)
    print(
        f"{folder}: try it by\n  pip install --editable {folder} && gan-zoo train {name} --steps 20 && pytest {folder}"
    )


def doctor(*, json: bool = False) -> None:
    """Tell versions, devices, number formats, and which kernel path a call takes and why.

    Args:
        json: Print JSON.
    """
    from gan_zoo import commands

    commands.doctor(as_json=json)


def completion(shell: Positional[Literal["bash", "zsh", "fish"]], /) -> None:
    """Print a completion script.

    Args:
        shell: Whose.

    Examples:
        eval "$(gan-zoo completion bash)"                                       # in ~/.bashrc
        gan-zoo completion zsh > ~/.zfunc/_gan-zoo                              # a folder in zsh's fpath
        gan-zoo completion fish > ~/.config/fish/completions/gan-zoo.fish
    """
    from gan_zoo.cli.completion import script
    from gan_zoo.cli.datasets import datasets_command, set_keys
    from gan_zoo.cli.main import COMMANDS
    from gan_zoo.cli.train import example_tree, train_command

    full = {"train": train_command(example_tree()), "datasets": datasets_command(set_keys())}
    print(script(shell, COMMANDS | full), end="")

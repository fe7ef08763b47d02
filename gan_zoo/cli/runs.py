"""Commands on runs as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from gan_zoo.cli.types import RunFolder


def runs(
    folders: Positional[Annotated[tuple[Path, ...], arg(metavar="[FOLDER ...]")]] = (), /, *, json: bool = False
) -> None:
    """List runs: their state (running, done, interrupted, failed, damaged), how far they are, and their best figures.

    Args:
        folders: Folders of runs, or runs; by default runs/.
        json: Print JSON, with every figure.

    Examples:
        gan-zoo runs
        gan-zoo runs ~/experiments --json
    """
    from gan_zoo import commands

    commands.runs(folders or (Path("runs"),), as_json=json)


def report(run: Positional[Annotated[Path, arg(metavar="RUN")]], /, out: Path | None = None) -> None:
    """Write one HTML page on a run, with its curves, pictures, figures and configuration; it needs no network.

    Args:
        run: A run folder.
        out: The page (.html); by default report.html in the run folder.

    Examples:
        gan-zoo report runs/infogan-mnist-5k-001
    """
    from gan_zoo import commands

    commands.report(run, out=out)


def export(
    run: Positional[RunFolder],
    /,
    out: Path | None = None,
    onnx: bool = False,
    push: str | None = None,
    private: bool = False,
    seed: int = 0,
) -> None:
    """Write a model as a folder in the Hugging Face Hub's layout, which `gan_zoo.load` and the other commands read.

    Args:
        out: The folder to make: configuration, weights and a card with pictures and the figures of `gan-zoo evaluate`.
            The configuration names the data with the folder in which they lie; what --push uploads does not. Without
            it RUN is what an earlier call exported, to be uploaded now.
        onnx: Write the generator and Q as ONNX, too, and check that they agree with torch.
        push: Upload the folder to the Hub under this name, org/name.
        private: Whether a repository that --push makes is private.
        seed: Decides the card's pictures.

    Examples:
        gan-zoo export runs/infogan-mnist-5k-001 --out digits --onnx
        gan-zoo export runs/infogan-mnist-5k-001 --out digits --push org/digits --private
        gan-zoo export digits --push org/digits                              # if the first try did not reach the Hub
    """
    from gan_zoo import commands

    commands.export(run, out=out, onnx=onnx, push=push, private=private, seed=seed)

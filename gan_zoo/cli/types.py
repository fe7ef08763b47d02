"""Types of arguments that several commands share, with their help and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg
from tyro.constructors import PrimitiveConstructorSpec

from gan_zoo.errors import InputError, quoted

PLAIN = (FlagCreatePairsOff,)
"""Options of the parser: no `--no-json` beside `--json`."""

ACCEPTED = {"INT": "a whole number", "FLOAT": "a number"}
"""What each metavar accepts, in the words of an error message."""


def integer(metavar: str, least: int, most: int | None = None) -> PrimitiveConstructorSpec[int]:
    """The parser's rule for a whole number within bounds."""
    bounds = f", at least {least}" if most is None else f" from {least} to {most}"
    ACCEPTED[metavar] = f"a whole number{bounds}"

    def parse(words: list[str]) -> int:
        number = int(words[0])
        if number < least or (most is not None and number > most):
            raise ValueError(number)
        return number

    return PrimitiveConstructorSpec(1, metavar, parse, lambda value: isinstance(value, int), lambda value: [str(value)])


Count = Annotated[int, integer("INT>=1", 1)]
Seed = Annotated[int, integer("SEED", 0, 2**63 - 1)]
Port = Annotated[int, integer("PORT", 0, 2**16 - 1)]
Device = Annotated[str, arg(help="Where to compute: auto, cpu, cuda, cuda:N.")]
Json = Annotated[bool, arg(help="Print JSON instead of a table.")]
LatentsFile = Annotated[Path | None, arg(name="from", metavar="LATENTS")]

RunFolder = Annotated[
    Path,
    arg(
        metavar="RUN",
        help="A run folder, one of its checkpoints, an exported model, a name that gan-zoo weights lists, or a model "
        "on the Hugging Face Hub: hf://org/name, hf://org/name@revision.",
    ),
]
Checkpoint = Annotated[
    str | None,
    arg(metavar="best|STEP", help="A checkpoint of RUN: best, or its step, e.g. 500; defaults to the newest."),
]
RunFolders = Annotated[
    tuple[Path, ...], arg(metavar="RUN [RUN ...]", help="Run folders, checkpoints, exported models, or hf://org/name.")
]


def at(run: Path, checkpoint: str | None) -> Path:
    """The path of a run's checkpoint, `best` or the number of its step; the run itself if it is None.

    Raises:
        InputError: If the checkpoint is neither, or `run` is not a run folder.
    """
    if checkpoint is None:
        return run

    from gan_zoo.training.checkpoint import BEST, name_of
    from gan_zoo.training.hub_download import hub_model, written
    from gan_zoo.training.run import is_checkpoint, is_export, open_run

    if checkpoint != BEST and not (checkpoint.isascii() and checkpoint.isdecimal()):
        raise InputError(f"--checkpoint must be best, or the number of a step, not {quoted(checkpoint)!r}")
    name = BEST if checkpoint == BEST else name_of(int(checkpoint))
    if hub_model(run) or is_checkpoint(run) or is_export(run):
        raise InputError(f"--checkpoint {checkpoint} requires a run folder, not {quoted(written(run))}")
    return open_run(run).checkpoints / name

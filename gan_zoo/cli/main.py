"""Run a command line; print errors as one line and exit with a code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TextIO

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

import tyro

from gan_zoo import __version__
from gan_zoo.cli.datasets import datasets
from gan_zoo.cli.parse import call
from gan_zoo.cli.table import COMMANDS, GROUPS
from gan_zoo.cli.train import train
from gan_zoo.cli.types import PLAIN
from gan_zoo.errors import DamagedCheckpointWarning, InputError, TrainingError, unknown

DESCRIPTION = "Generative adversarial networks with shared trunks, losses and one training loop, and InfoGAN."

EXAMPLES = """\
examples:
  gan-zoo train infogan                              the bundled digits; minutes on a laptop
  gan-zoo train infogan --config celeba-64 --data ~/faces
  gan-zoo traverse runs/infogan-mnist-5k-001         vary one code, fix all else
"""

WITH_KEYS = {"train": train, "datasets": datasets}
"""Commands whose flags are keys of the configuration."""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit: 0 success, 1 failed run, 2 invalid input, 130 interrupted."""
    given = list(sys.argv[1:] if args is None else args)
    name = given[0] if given else ""
    warnings.showwarning = _show_warning
    _replace_unencodable()
    if os.environ.get("NO_COLOR"):  # https://no-color.org; rich reads it, tyro does not
        tyro._experimental_options["ansi_codes"] = False
    try:
        if given == ["--version"]:
            print(f"gan-zoo {__version__}")
        elif name in WITH_KEYS:
            WITH_KEYS[name](given[1:])
        elif name in COMMANDS:
            call(COMMANDS[name], given[1:], f"gan-zoo {name}", PLAIN)
        elif name in ("-h", "--help"):
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="gan-zoo", description=overview(), args=given)
        elif name.startswith("-"):
            raise unknown("option", name, ["--help", "--version"])
        elif given:
            raise unknown("command", name, COMMANDS)
        else:
            raise InputError(f"a command is required: {', '.join(COMMANDS)}; see gan-zoo --help")
        sys.stdout.flush()  # within the block, so that a closed pipe is caught
    except InputError as error:
        _end(2, error)
    except TrainingError as error:
        _end(1, error)
    except KeyboardInterrupt as error:
        _end(130, error if error.args else "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _end(2, f"{error.filename}: {error.strerror}" if error.filename else error)


def _replace_unencodable() -> None:
    """Replace characters that the output's encoding lacks, e.g. in a pipe on Windows."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def overview() -> str:
    """The text of `gan-zoo --help` above the list of commands."""
    width = max(map(len, GROUPS))
    rows = (f"  {title:{width}}  {', '.join(c.__name__ for c in commands)}" for title, commands in GROUPS.items())
    return f"{DESCRIPTION}\n\n{chr(10).join(rows)}\n\n{EXAMPLES}"


def _end(code: int, error: object) -> None:
    line = " ".join(str(error).split()).removeprefix("gan-zoo ")  # of a message that begins with the whole command
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)  # no control characters on a terminal
    if os.environ.get("LOCAL_RANK", "0") == "0" or line.startswith("rank "):  # an error of all ranks is printed once
        print(f"gan-zoo: {line}", file=sys.stderr)
    sys.exit(code)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print one of our warnings as a line, and any other as Python does."""
    ours = issubclass(category, DamagedCheckpointWarning)
    text = f"gan-zoo: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno, line)
    print(text, end="", file=file or sys.stderr)

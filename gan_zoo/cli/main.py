"""From a line of words to a command, and from an error to a line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, TextIO

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

import tyro

from gan_zoo import __version__
from gan_zoo.cli import lists, look, measure, runs, tools
from gan_zoo.cli.datasets import datasets, datasets_command
from gan_zoo.cli.parse import call
from gan_zoo.cli.train import train, train_command
from gan_zoo.cli.types import PLAIN
from gan_zoo.errors import InputError, PassedOver, TrainingError, unknown

DESCRIPTION = "Generative adversarial networks with shared trunks, losses and one training loop; InfoGAN on top."

EXAMPLES = """\
examples:
  gan-zoo train infogan                              digits, bundled; minutes on a laptop
  gan-zoo train infogan --config celeba-64 --data ~/faces
  gan-zoo traverse runs/infogan-mnist-5k-001         one code turns, all else held
"""

GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "train and look": (train_command(None), look.sample, look.traverse, look.encode, look.explore),
    "measure": (measure.evaluate, measure.cluster, measure.centrality, measure.bench),
    "runs": (runs.runs, runs.report, runs.export),
    "lists": (lists.models, lists.trunks, datasets_command(None), lists.loggers, lists.configs),
    "tools": (tools.new, tools.doctor, tools.completion),
}
"""The commands as help shows them, by what they are for."""

COMMANDS = {command.__name__: command for commands in GROUPS.values() for command in commands}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit: 0 done, 1 a run that failed, 2 bad input, 130 interrupted and saved."""
    given = list(sys.argv[1:] if args is None else args)
    warnings.showwarning = _warn
    _hold_any_character()
    if os.environ.get("NO_COLOR"):  # https://no-color.org; rich heeds it by itself, tyro by its switch alone
        tyro._experimental_options["ansi_codes"] = False
    try:
        if given == ["--version"]:
            print(f"gan-zoo {__version__}")
        elif given[:1] == ["train"]:
            train(given[1:])
        elif given[:1] == ["datasets"]:
            datasets(given[1:])
        elif given[:1] and given[0] in COMMANDS:
            call(COMMANDS[given[0]], given[1:], f"gan-zoo {given[0]}", PLAIN)
        elif given[:1] in (["-h"], ["--help"]):
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="gan-zoo", description=overview(), args=given)
        elif given and given[0].startswith("-"):
            raise unknown("option", given[0], ["--help", "--version"])
        elif given:
            raise unknown("command", given[0], COMMANDS)
        else:
            raise InputError(f"gan-zoo COMMAND: one of {', '.join(COMMANDS)}; gan-zoo --help says what they do")
        sys.stdout.flush()  # here, where a reader that is gone is no error
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


def _hold_any_character() -> None:
    """Have the outputs replace what their encoding does not know, as where Windows pipes them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def overview() -> str:
    """What `gan-zoo --help` says above the list of commands."""
    width = max(map(len, GROUPS))
    rows = (f"  {what:{width}}  {', '.join(c.__name__ for c in commands)}" for what, commands in GROUPS.items())
    return f"{DESCRIPTION}\n\n{chr(10).join(rows)}\n\n{EXAMPLES}"


def _end(code: int, error: object) -> None:
    line = " ".join(str(error).split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)  # a terminal obeys control characters
    if os.environ.get("LOCAL_RANK", "0") == "0" or line.startswith("rank "):  # what all ranks meet is told once
        print(f"gan-zoo: {line}", file=sys.stderr)
    sys.exit(code)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of ours as a line, and any other as ever."""
    ours = issubclass(category, PassedOver)
    told = f"gan-zoo: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno, line)
    print(told, end="", file=file or sys.stderr)

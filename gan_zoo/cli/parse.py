"""Parse a command line into a call by tyro, with one-line errors."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any, NoReturn, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from gan_zoo.cli.types import ACCEPTED
from gan_zoo.errors import InputError, quoted

try:
    from tyro._errors import on_parse_error
except ImportError:  # see tests/test_private_apis.py

    def on_parse_error(hook: Any) -> Any:
        """Leave errors to tyro."""
        return nullcontext(hook)


tables = ConstructorRegistry()


@tables.struct_rule
def _table(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Parse a table of the configuration as a dict; pydantic validates the whole tree later."""
    config = sys.modules.get("gan_zoo.config")  # light commands do without
    if not (config and isinstance(info.type, type) and issubclass(info.type, config.Settings)):
        return None

    def values(**given: Any) -> dict[str, Any]:
        return given

    values.__doc__ = info.type.__doc__
    hints = get_type_hints(info.type, include_extras=True)
    fields = info.type.model_fields.items()
    return StructConstructorSpec(
        values, tuple(StructFieldSpec(n, hints[n], getattr(info.default, n), f.description) for n, f in fields)
    )


def call(command: Callable[..., Any], words: Sequence[str], prog: str, config: Sequence[Any] = ()) -> Any:
    """Call `command` with the arguments in `words`, and return its result.

    Raises:
        InputError: If the words do not parse.
    """

    def refuse(event: Any) -> NoReturn:
        message = _message(event, command, words)
        raise InputError(f"{message}{' See' if message.endswith('?') else '; see'} {prog} --help")

    words = [_with_home(word.removesuffix("=[]")) for word in words if word != "[]"]  # a list's, as in a file
    _report_repeated(command, words)
    with on_parse_error(refuse):
        return tyro.cli(
            command, prog=prog, description=_description(command), args=words, config=config, registry=tables
        )


def _with_home(word: str) -> str:
    """A word with `~` at the start of its value as the home folder, which shells leave as it is in `--out=~/run`."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{equals}{os.path.expanduser(value)}" if value.startswith("~") else word


def _description(command: Callable[..., Any]) -> str:
    """The docstring of a command without its arguments."""
    sections = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(
        section.replace("Examples:\n", "examples:\n").replace("\n    ", "\n  ")
        for section in sections
        if not section.startswith("Args:")
    )


def flags(command: Callable[..., Any]) -> Iterator[str]:
    """The flags of a command, including the keys of its tables."""
    for spellings in _arguments(command):
        yield from spellings


def _arguments(command: Callable[..., Any]) -> Iterator[list[str]]:
    """The spellings of each flag of a command."""
    config = sys.modules.get("gan_zoo.config")
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = type(parameter.default)
        if config and issubclass(kind, config.Settings):
            yield from _arguments_of(kind)
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            yield _spellings(name, getattr(hints[name], "__metadata__", ()))


def _arguments_of(kind: Any, prefix: str = "") -> Iterator[list[str]]:
    from gan_zoo.trees import tables

    inner = tables(kind)
    for name, field in kind.model_fields.items():
        if name in inner:
            yield from _arguments_of(inner[name], f"{prefix}{name}.")
        elif tyro.conf.Suppress not in field.metadata:
            yield _spellings(prefix + name, field.metadata)


def _spellings(name: str, metadata: Sequence[object]) -> list[str]:
    aliases = [alias for one in metadata for alias in getattr(one, "aliases", None) or ()]
    name = next(filter(None, (getattr(one, "name", None) for one in metadata)), name)
    return [f"--{name.replace('_', '-')}", *aliases]


def _report_repeated(command: Callable[..., Any], words: Sequence[str]) -> None:
    """Report a flag that is given twice, possibly in two spellings; the last one wins."""
    first = {spelling: spellings[0] for spellings in _arguments(command) for spelling in spellings}
    seen: dict[str, str] = {}
    for word in words:
        given = word.partition("=")[0]
        flag = first.get(given.replace("_", "-") if given.startswith("--") else given)
        if flag in seen:
            what = f"{given} is given twice" if given == seen[flag] else f"{seen[flag]} and {given} set one value"
            print(f"gan-zoo: {what}; using the last", file=sys.stderr)
        if flag:
            seen[flag] = given


def _message(event: Any, command: Callable[..., Any], words: Sequence[str]) -> str:
    """The error message for a failure of tyro's parser."""
    kind = type(event).__name__
    if unrecognized := getattr(event, "tokens", None) or getattr(event, "unrecognized_tokens", None):
        return _unknown(unrecognized, command)
    if kind == "MissingArgs":
        missing = [one.arg for one in event.missing_arguments]
        of = [f" ({', '.join(arg.lowered.choices)})" if arg.lowered.choices else "" for arg in missing]
        return f"{event.prog} requires {' and '.join(map(''.join, zip(map(_name, missing), of, strict=True)))}"
    argument = getattr(event, "argument", None)
    if argument is None:
        return f"{event.prog}: invalid combination of arguments"
    if kind == "InvalidChoice":
        return _not_among(_name(argument), event.value, event.choices)
    if kind == "InstantiationFailure":
        kinds = [kind.strip("{}") for kind in str(argument.lowered.metavar).split("|")]
        several = " [" in argument.lowered.metavar
        kinds = [kind.strip("[]").split(" ")[0] for kind in kinds] if several else kinds
        accepted = " or ".join(ACCEPTED.get(kind, kind) for kind in kinds if kind != "None")
        accepted = f"{accepted.removeprefix('a ')}s" if several else accepted
        flag, value = _given(argument.lowered.name_or_flags, words) or (_name(argument), "")
        return f"{flag} must be {accepted}{f', not {quoted(value)!r}' if value else ''}"
    known = {"-h", "--help", *flags(command)}
    unrecognized = [word for word in words if word[:1] == "-" and word.lstrip("-")[:1].isalpha()]
    if wrong := [word for word in unrecognized if word.partition("=")[0].replace("_", "-") not in known]:
        return _unknown(wrong, command)
    return f"{_name(argument)} requires a value"


def _unknown(tokens: Sequence[str], command: Callable[..., Any]) -> str:
    given = next((token.partition("=")[0] for token in tokens if token.startswith("-")), None)
    if given is None:
        return f"unexpected argument {quoted(tokens[0])!r}"
    nearest = " or ".join(_nearest(given.replace("_", "-"), list(flags(command))))
    return f"unknown option {quoted(given)!r}" + (f"; did you mean {nearest}?" if nearest else "")


def _nearest(flag: str, known: Sequence[str]) -> list[str]:
    """The flags that an unknown one may stand for: those of its table (--loss), of its last word (--lr) or spelling."""
    if keys := [one for one in known if one.startswith(f"{flag}.")]:
        return keys
    table, dot, key = flag.lstrip("-").rpartition(".")
    keys = [one for one in known if one.startswith(f"--{table}{dot}")]
    ends = [one for one in keys if one.rpartition(".")[2] == key]  # --width is --trunk.width
    words = [one for one in keys if key in one.rpartition(".")[2].split("-")]
    return ends[:1] or words or get_close_matches(flag, known, n=1, cutoff=0.75) or (keys if dot else [])


def _not_among(name: str, value: str, choices: Sequence[str]) -> str:
    nearest = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"{name} {quoted(value)!r} is not accepted{hint} Accepted: {', '.join(choices)}"


def _name(argument: Any) -> str:
    """The name of an argument: its flag, or its word in the usage line."""
    if not argument.is_positional():
        return str(argument.lowered.name_or_flags[0])
    metavar = str(argument.lowered.metavar).strip("[]")
    return str(argument.display_name()).upper() if metavar == "STR" or "{" in metavar else metavar


def _given(names: Sequence[str], words: Sequence[str]) -> tuple[str, str] | None:
    """The last flag among `words` with one of these names, and its value."""
    for word, after in reversed(list(zip(words, [*words[1:], ""], strict=True))):
        flag, equals, value = word.partition("=")
        if flag in names:
            return flag, value if equals else after
    return None

"""From words to a call, by the flag parser; what it refuses is told in a line of ours."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any, NoReturn, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from gan_zoo.cli.help import about
from gan_zoo.errors import InputError, shown

try:
    from tyro._errors import on_parse_error
except ImportError:  # it is tyro's own, and may go: then its boxes are seen again

    def on_parse_error(hook: Any) -> Any:
        """Nothing, in place of tyro's."""
        return nullcontext(hook)


KINDS = {"INT": "a whole number", "FLOAT": "a number"}
"""What help's short words for values mean."""

tables = ConstructorRegistry()


@tables.struct_rule
def _table(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A table of the configuration is read as the values that it was given; the whole tree is checked later."""
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
    """What `command` returns for these words.

    Raises:
        InputError: If they are no call of it.
    """

    def refuse(event: Any) -> NoReturn:
        told = _told(event, command, words)
        raise InputError(f"{told}{' See' if told.endswith('?') else '; see'} {prog} --help")

    with on_parse_error(refuse):
        return tyro.cli(command, prog=prog, description=about(command), args=words, config=config, registry=tables)


def flags(command: Callable[..., Any]) -> Iterator[str]:
    """The flags of a command, the keys of its tables too."""
    from gan_zoo.config import Settings

    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = type(parameter.default)
        if issubclass(kind, Settings):
            yield from _flags_of(kind)
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            yield from _spelt(name, getattr(hints[name], "__metadata__", ()))


def _flags_of(kind: Any, prefix: str = "") -> Iterator[str]:
    from gan_zoo.trees import tables

    inner = tables(kind)
    for name, field in kind.model_fields.items():
        if name in inner:
            yield from _flags_of(inner[name], f"{prefix}{name}.")
        elif tyro.conf.Suppress not in field.metadata:
            yield from _spelt(prefix + name, field.metadata)


def _spelt(name: str, metadata: Sequence[object]) -> Iterator[str]:
    yield f"--{name.replace('_', '-')}"
    for one in metadata:
        yield from getattr(one, "aliases", None) or ()


def _told(event: Any, command: Callable[..., Any], words: Sequence[str]) -> str:
    """What was refused, by the kind of the event."""
    kind = type(event).__name__
    if strangers := getattr(event, "tokens", None) or getattr(event, "unrecognized_tokens", None):
        return _unknown(strangers, command)
    if kind == "MissingArgs":
        missing = [one.arg for one in event.missing_arguments]
        of = [f" ({', '.join(arg.lowered.choices)})" if arg.lowered.choices else "" for arg in missing]
        return f"{event.prog} requires {' and '.join(map(''.join, zip(map(_name, missing), of, strict=True)))}"
    argument = getattr(event, "argument", None)
    if argument is None:
        return f"{event.prog}: these words do not go together"
    if kind == "InvalidChoice":
        return _not_among(_name(argument), event.value, event.choices)
    if kind == "InstantiationFailure":
        accepted = " or ".join(KINDS.get(w, w.strip("{}")) for w in str(argument.lowered.metavar).split("|"))
        flag, value = _given(argument.lowered.name_or_flags, words) or (_name(argument), "")
        return f"{flag} must be {accepted}{f', not {shown(value)!r}' if value else ''}"
    known = {"-h", "--help", *flags(command)}
    strangers = [word for word in words if word[:1] == "-" and word.lstrip("-")[:1].isalpha()]
    if wrong := [word for word in strangers if word.partition("=")[0].replace("_", "-") not in known]:
        return _unknown(wrong, command)
    return f"{_name(argument)} requires a value"


def _unknown(tokens: Sequence[str], command: Callable[..., Any]) -> str:
    given = next((token.partition("=")[0] for token in tokens if token.startswith("-")), None)
    if given is None:
        return f"unexpected argument {shown(tokens[0])!r}"
    known = list(flags(command))
    ends = {flag.rpartition(".")[2]: flag for flag in known if "." in flag}  # --width is --trunk.width
    spelt = given.replace("_", "-")
    nearest = ends.get(spelt.lstrip("-")) or next(iter(get_close_matches(spelt, known, n=1)), None)
    return f"unknown option {shown(given)!r}" + (f"; did you mean {nearest}?" if nearest else "")


def _not_among(name: str, value: str, choices: Sequence[str]) -> str:
    nearest = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"{name} {shown(value)!r} is not accepted{hint} Accepted: {', '.join(choices)}"


def _name(argument: Any) -> str:
    """An argument as its user writes it, or as help calls it."""
    if not argument.is_positional():
        return str(argument.lowered.name_or_flags[0])
    metavar = str(argument.lowered.metavar).strip("[]")
    return str(argument.display_name()).upper() if metavar == "STR" or "{" in metavar else metavar


def _given(names: Sequence[str], words: Sequence[str]) -> tuple[str, str] | None:
    """The last option of these names among the words, and its value."""
    for word, after in reversed(list(zip(words, [*words[1:], ""], strict=True))):
        flag, equals, value = word.partition("=")
        if flag in names:
            return flag, value if equals else after
    return None

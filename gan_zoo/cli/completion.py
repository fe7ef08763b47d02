"""Completion scripts: tyro's, which complete commands, flags and choices, extended by names, runs and files."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from inspect import signature
from typing import Any, Literal, get_args, get_type_hints

import tyro

from gan_zoo import registry
from gan_zoo.errors import InputError

Shell = Literal["bash", "zsh", "fish"]

OFFER = '''
def _offer(spec, words, again=False):
    """Offer words after a command, as tyro's code does for subcommands."""
    after = {**spec, "subcommands": {}}
    spec["subcommands"] = {word: {**after, "description": what or word} for word, what in words.items()}
    if again:
        after["subcommands"] = spec["subcommands"]
        spec["subcommands"] = {word: {**after, "description": what or word} for word, what in words.items()}


def _runs():
    import glob
    import os
    import sys

    typed = "".join(sys.argv[1:-1][int(sys.argv[-1]) :][:1])
    patterns = [folder + "/config.toml" for folder in ("*", "runs/*", typed + "*", typed + "/*")]
    files = [file for pattern in patterns for file in glob.glob(pattern)]
    runs = dict.fromkeys(sorted({os.path.dirname(file) for file in files}), "a run")
    return {**runs, **dict.fromkeys(WEIGHTS, "weights")}


for _name, _words in WORDS.items():
    _offer(COMPLETION_SPEC["subcommands"][_name], _words)
for _name in OF_RUNS:
    _offer(COMPLETION_SPEC["subcommands"][_name], _runs(), again=True)
for _spec in COMPLETION_SPEC["subcommands"].values():
    for _option in _spec["options"]:
        _option["description"] = " ".join(_option["description"].split())
        for _choices in [CHOICES[_flag] for _flag in _option["flags"] if _flag in CHOICES]:
            _option.update(type="choice", choices=_choices)
'''
"""Python that the scripts run once tyro's table of commands, COMPLETION_SPEC, is defined."""

PATCHES: dict[str, tuple[str, str]] = {
    "bash": (
        "",
        """
# Complete files if nothing else matches.
_gan_zoo() { _tyro_gan_zoo; [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=(); }
complete -o default -F _gan_zoo gan-zoo
""",
    ),
    "zsh": ("  # Parse completions", '  [[ -n "$completions" ]] || { _files; return }\n\n'),
    "fish": (
        "",
        """
# Complete files if nothing else matches.
complete --erase --command gan-zoo
function _gan_zoo
    set -l word (commandline -ct)
    set -l matches (_tyro_gan_zoo | string match -- "$word*")
    if set -q matches[1]
        printf "%s\\n" $matches
    else
        __fish_complete_path $word
    end
end
complete --no-files --command gan-zoo --arguments "(_gan_zoo)"
""",
    ),
}
"""For each shell, a text to insert, and the text before which it goes; the end of the script if that is empty."""


def script(shell: Shell, commands: dict[str, Callable[..., Any]]) -> str:
    """The completion script of a shell.

    Args:
        shell: The shell.
        commands: All commands by name, with all their flags.

    Raises:
        InputError: If tyro writes its scripts in a new way.
    """
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(commands, prog="gan-zoo", args=["--tyro-print-completion", shell])
    text, begin = out.getvalue(), "\nimport sys\n"
    added = "".join(f"{name} = {value!r}\n" for name, value in names(commands).items()) + OFFER
    if shell == "fish":  # the code is in double quotes there
        added = added.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    before, patch = PATCHES[shell]
    if begin not in text or before not in text:
        raise InputError(f"tyro {tyro.__version__} writes completion scripts in a new way; install tyro 1.0.17")
    text = text.replace(begin, f"\n{added}\n{begin}", 1)
    return text.replace(before, patch + before, 1) if before else text + patch


def names(commands: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    """The constants of the added code: words after a command, commands on runs, and choices of flags."""
    words = {
        "train": {name: entry.summary for name, entry in registry.models.entries.items()},
        "datasets": {name: entry.summary for name, entry in registry.datasets.entries.items()},
        "configs": dict.fromkeys(registry.presets(), ""),
    }
    runs = []
    for name, command in commands.items():
        first = get_type_hints(command, include_extras=True).get(next(iter(signature(command).parameters)))
        metadata = getattr(first, "__metadata__", ())
        if any(str(getattr(one, "metavar", "")).startswith("RUN") for one in metadata):
            runs.append(name)
        elif choices := [choice for choice in get_args(getattr(first, "__origin__", first)) if isinstance(choice, str)]:
            words[name] = dict.fromkeys(choices, "")
    choices_of = {
        "--config": [*registry.presets(), *registry.models.entries],
        "--data": [*registry.datasets.entries],
        "--data.name": [*registry.datasets.entries],
        "--trunk": [*registry.trunks.entries],
        "--trunk.name": [*registry.trunks.entries],
        "--loss.adversarial": [*registry.losses.entries],
        "--logging.trackers": [*registry.loggers.entries],
    }
    return {"WORDS": words, "OF_RUNS": runs, "WEIGHTS": [*registry.weights.entries], "CHOICES": choices_of}

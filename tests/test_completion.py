"""Completion in real shells: commands, flags, models, presets, runs and files."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import zoo

LINES = {
    "gan-zoo tra": {"train", "traverse"},
    "gan-zoo train i": {"infogan", "infogan-cr", "infovae"},
    "gan-zoo train --batch": {"--batch-size"},
    "gan-zoo train infogan --infogan.cod": {"--infogan.codes"},
    "gan-zoo train infogan --config chairs": {"chairs-64"},
    "gan-zoo train infogan --config wg": {"wgan-gp"},
    "gan-zoo train infogan --config min": {"mine.toml"},
    "gan-zoo train infogan --trunk.name re": {"resnet"},
    "gan-zoo train infogan --data spr": {"sprites"},
    "gan-zoo traverse ru": {"runs/one-001", "runs/two-001"},
    "gan-zoo evaluate runs/one-001 runs/t": {"runs/two-001"},
    "gan-zoo sample els": {"elsewhere"},
    "gan-zoo traverse mni": {"mnist-5k"},
    "gan-zoo evaluate mnist-5k runs/t": {"runs/two-001"},
    "gan-zoo sample elsewhere/": {"elsewhere/three"},
    "gan-zoo encode runs/one-001 dig": {"digit.png"},
    "gan-zoo configs chairs": {"chairs-64"},
    "gan-zoo datasets fash": {"fashion-mnist"},
    "gan-zoo completion z": {"zsh"},
    "gan-zoo new m": {"model"},
}
"""What is typed before TAB, and what is offered."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, one of them elsewhere, a configuration and an image."""
    place = tmp_path_factory.mktemp("place")
    for run in ("runs/one-001", "runs/two-001", "elsewhere/three"):
        (place / run).mkdir(parents=True)
        (place / run / "config.toml").touch()
    (place / "runs" / "no-run").mkdir()
    (place / "mine.toml").touch()
    (place / "digit.png").touch()
    return place


def found(shell: str) -> str:
    return shutil.which(shell) or pytest.skip(f"there is no {shell}")


def offered(shell: str, script: str, asking: str, place: Path) -> dict[str, set[str]]:
    """What a script of `shell` prints of each line: `LINE => WORD WORD`."""
    run = [found(shell), *(["--no-config"] if shell == "fish" else [])]
    told = subprocess.run(run, input=script + asking, text=True, capture_output=True, cwd=place, check=False)
    assert not told.stderr
    pairs = (line.partition(" => ") for line in told.stdout.splitlines())
    return {line: {word.rstrip("/") for word in words.split()} for line, _, words in pairs}


def test_bash_completes(place: Path) -> None:
    asking = """
    asked() {
      COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$1; COMP_POINT=${#1}; COMPREPLY=()
      how=$(complete -p gan-zoo); $(sed 's/.*-F \\([^ ]*\\).*/\\1/' <<< "$how")
      if [[ ${#COMPREPLY[@]} = 0 && $how == *"-o default"* ]]; then COMPREPLY=($(compgen -f -- "${COMP_WORDS[-1]}")); fi
      echo "$1 => ${COMPREPLY[@]}"
    }
    """
    asking += "".join(f"asked '{line}'\n" for line in LINES)
    assert offered("bash", zoo("completion", "bash").out, asking, place) == LINES


def test_fish_completes(place: Path) -> None:
    asking = "".join(f"echo '{line} =>' (complete -C '{line}' | string split -f1 \\t)\n" for line in LINES)
    assert offered("fish", zoo("completion", "fish").out, asking, place) == LINES


@contextmanager
def typing(command: list[str], place: Path) -> Iterator[Callable[[str, str], bool]]:
    """Type into a shell on a new terminal, and wait for the expected output."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command,
        cwd=place,
        env=os.environ | {"TERM": "dumb", "HOME": str(place), "PS1": "$ "},
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        start_new_session=True,
    ) as shell:

        def answers(typed: str, word: str) -> bool:
            os.write(ours, typed.encode())
            read = b""
            until = time.monotonic() + 30
            while word.encode() not in read and time.monotonic() < until:
                if select.select([ours], [], [], 0.2)[0]:
                    read += os.read(ours, 2**16)
            return word.encode() in read

        try:
            yield answers
        finally:
            shell.kill()
            os.close(ours)
            os.close(theirs)


ONE = {typed: next(iter(words)) for typed, words in LINES.items() if len(words) == 1}
"""Lines that a shell completes at once."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_zsh_completes_as_one_types(place: Path, tmp_path: Path) -> None:
    (tmp_path / "_gan-zoo").write_text(zoo("completion", "zsh").out)
    with typing([found("zsh"), "-f", "-i"], place) as answers:
        begin = f"fpath=({tmp_path} $fpath); autoload -U compinit && compinit -u -D; echo REA''DY\n"
        assert answers(begin, "READY\r")
        assert answers("gan-zoo trav\t", "gan-zoo traverse")
        for line, word in ONE.items():
            before, _, typed = line.rpartition(" ")
            assert answers(f"\x15{before} {typed}\t", word), line
        assert answers("\x15gan-zoo traverse ru\t", "runs/")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_bash_completes_as_one_types(place: Path, tmp_path: Path) -> None:
    (tmp_path / "gan-zoo.bash").write_text(zoo("completion", "bash").out)
    with typing([found("bash"), "--norc", "--noprofile", "-i"], place) as answers:
        assert answers(f"source {tmp_path}/gan-zoo.bash; echo REA''DY\n", "READY\r")
        for line in ("gan-zoo train infogan --config chairs", "gan-zoo train infogan --config min"):
            assert answers(f"\x15{line}\t", ONE[line]), line
        assert answers("\x15gan-zoo encode runs/one-001 dig\t", "digit.png")
        assert answers("\x15gan-zoo evaluate runs/one-001 runs/t\t", "runs/two-001")


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "__fish_complete_path")]
)
def test_completion_is_written_for_every_shell(shell: str, word: str) -> None:
    ended = zoo("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert word in ended.out
    assert "traverse" in ended.out
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=ended.out, text=True, check=False).returncode == 0

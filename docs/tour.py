"""Write docs/tour.md: an example of every command, and what it printed. Minutes of CPU: python docs/tour.py"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

import torch

from gan_zoo import cli
from gan_zoo.files import cache_folder

HERE = Path(__file__).parent
STEPS = 1200
RUN = "runs/infogan-mnist-5k-001"
SMALL = "--config mnist-5k-paper --trunk.name dcgan --trunk.width 16 --batch-size 32 --training.ema 0.99"
MOST_LINES = 45
INTRODUCTION = """# A tour

Every command once, and what it printed, with small networks and {steps} steps: the figures are not those of a whole
training, which are in [The recipe](recipe.md). `python docs/tour.py` typed it all and wrote this page,
with torch {torch} on {threads} thread(s) of a CPU. Output and errors stand as on a terminal; what is longer than {most}
lines is cut at "…". [Commands](reference/commands.md) has the flags.
"""


@dataclass(frozen=True)
class Stop:
    """A command: what it is good for, lines that are typed, and a picture that one of them draws.

    In lines, {steps}, {more} and {every} are the steps of a run, of one that goes on, and between lines of metrics.
    """

    command: str
    words: str
    lines: tuple[str, ...]
    picture: str = ""


STOPS = (
    Stop("doctor", "What is installed, and what this machine can do.", ("gan-zoo doctor",)),
    Stop(
        "train",
        "The bundled digits. A run that is there goes on by `--resume`; further seeds are for the comparisons below.",
        (
            f"gan-zoo train infogan --steps {{steps}} --log-every {{every}} {SMALL}",
            f"gan-zoo train --resume --out {RUN} --steps {{more}}",
            f"gan-zoo train infogan --seed 1 --steps {{every}} --log-every {{every}} {SMALL}",
            f"gan-zoo train infogan --seed 2 --steps {{every}} --log-every {{every}} {SMALL}",
        ),
    ),
    Stop("sample", "A grid of samples, here all of one value of `c1`.", (f"gan-zoo sample {RUN} -n 16 --codes c1=3",)),
    Stop(
        "traverse",
        "One code turns, all else is held.",
        (
            f"gan-zoo traverse {RUN} --code c1 --rows 4 --out turn.png",
            f"gan-zoo traverse {RUN} --code c2 --out turn.webp",
        ),
        "turn.png",
    ),
    Stop(
        "encode",
        "Q(c | x) of images, a row each.",
        (f"gan-zoo encode {RUN} --split test", f"head -n 3 {RUN}/codes-test.csv"),
    ),
    Stop("explore", "A page with a slider for each code. Ctrl-C ends it.", (f"gan-zoo explore {RUN} --port 7860",)),
    Stop("evaluate", "The measures; labels are used for nothing else.", (f"gan-zoo evaluate {RUN}",)),
    Stop("cluster", "k-means++ on the trunk's features, beside Q's own clusters.", (f"gan-zoo cluster {RUN}",)),
    Stop("centrality", "Which of several runs to trust, without labels.", ("gan-zoo centrality runs/* --samples 50",)),
    Stop("runs", "What there is.", ("gan-zoo runs",)),
    Stop("report", "One HTML page on a run.", (f"gan-zoo report {RUN}",)),
    Stop("export", "A folder for the Hugging Face Hub.", (f"gan-zoo export {RUN} --out digits", "ls digits")),
    Stop(
        "bench",
        "Steps of InfoGAN beside the plain GAN's, here in one cell of the grid. The kernels' own are `bench kernels`. "
        "The speeds on this page are of a busy machine: not to be compared with [benchmarks](../benchmarks/README.md).",
        ("gan-zoo bench step --quick --device cpu --batch-size 32 --precision fp32 --mode eager --out step.json",),
    ),
    Stop("models", "The lists tell plug-ins, too; `--json` is for programs.", ("gan-zoo models",)),
    Stop("trunks", "", ("gan-zoo trunks",)),
    Stop("datasets", "What there is, and one of them looked at.", ("gan-zoo datasets", "gan-zoo datasets mnist-5k")),
    Stop("loggers", "", ("gan-zoo loggers",)),
    Stop("configs", "The presets, or one of them.", ("gan-zoo configs", "gan-zoo configs mnist-5k-paper")),
    Stop("new", "A plug-in of your own.", ("gan-zoo new model my-gan", "find gan_zoo_my_gan -type f | sort")),
    Stop("completion", "For bash, zsh and fish.", ("gan-zoo completion bash | head -n 4",)),
)


def lengths(steps: int = STEPS) -> dict[str, int]:
    """What the words in braces stand for."""
    return {"steps": steps, "more": steps + steps // 3, "every": max(1, steps // 3)}


def tour(steps: int = STEPS, *, without: Collection[str] = ()) -> Iterator[tuple[Stop, list[tuple[str, str]]]]:
    """Type every stop's lines in this folder: for each stop, the lines and what they printed."""
    for stop in STOPS:
        if stop.command not in without:
            lines = [line.format(**lengths(steps)) for line in stop.lines]
            yield stop, [(line, tidy(typed(line))) for line in lines]


def typed(line: str) -> str:
    """What a line prints. Those of gan-zoo are run in this process, which has torch already."""
    words = shlex.split(line)
    if words[:2] == ["gan-zoo", "explore"]:
        return until_it_listens(words[1:])
    if words[0] != "gan-zoo":
        return subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    if "|" in words:
        return "\n".join(said(words[1 : words.index("|")]).splitlines()[: int(words[-1])])
    return said(
        [path for word in words[1:] for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    )


def said(args: list[str]) -> str:
    """What a command prints, to either stream.

    Raises:
        RuntimeError: If it ends with another exit code than 0.
    """
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            cli.main(args)
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"gan-zoo {' '.join(args)}: {out.getvalue()}") from None
    return out.getvalue()


def until_it_listens(args: list[str]) -> str:
    """What `explore` prints until its page is there, and after Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gan_zoo", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "http://" in line:
            process.send_signal(signal.SIGINT)
    process.wait(60)
    return "".join(lines)


def tidy(text: str) -> str:
    """A text without trailing blanks, without places of this machine, and of no more lines than a page bears."""
    text = text.replace(str(cache_folder()), "~/.cache/gan-zoo")
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = ["…"]
    return "\n".join(lines)


def shape(text: str) -> list[str]:
    """The lines of an output without its numbers and blanks, to compare one run's with another's."""
    numbers = re.sub(r"-?\d[\d.,:e+-]*", "0", text)
    lines = (" ".join(line.split()) for line in numbers.splitlines())
    return [re.sub(r"0( 0)+", "0", line) for line in lines if line.strip("0 ")]


def page(stops: Iterator[tuple[Stop, list[tuple[str, str]]]], pictures: Path) -> str:
    """The page, with the pictures copied where it finds them."""
    lines = [
        INTRODUCTION.format(
            steps=STEPS, most=MOST_LINES, torch=torch.__version__.partition("+")[0], threads=torch.get_num_threads()
        )
    ]
    for stop, outputs in stops:
        lines += [f"## {stop.command}", "", *([stop.words, ""] if stop.words else []), "```console"]
        for line, output in outputs:
            lines += [f"$ {line}", *([output] if output else [])]
        lines += ["```", ""]
        if stop.picture:
            target = pictures / f"tour-{stop.command}{Path(stop.picture).suffix}"
            copyfile(stop.picture, target)
            lines += [f"![What it draws](images/{target.name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Take the tour in an empty folder, and write the page."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["GAN_ZOO_CACHE"] = str(Path(folder, ".cache"))  # as where nothing was measured before
        text = page(tour(), HERE / "images")
    (HERE / "tour.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

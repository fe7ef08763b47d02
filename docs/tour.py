"""Write docs/tour.md, an example of every command with its output: `python docs/tour.py`. Takes minutes of CPU."""

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

Every command once with its output, on small networks and {steps} steps: these figures are not results, which are in
[The recipe](recipe.md). `python docs/tour.py` ran the commands and wrote this page, with torch {torch} on {threads}
thread(s) of a CPU. Output and errors appear as on a terminal; anything longer than {most} lines is cut at "…".
[Commands](reference/commands.md) lists the flags.
"""


@dataclass(frozen=True)
class Stop:
    """A command: a sentence about it, the lines to run, and a picture that one of them writes.

    `lengths` fills in {steps}, {more} and {every} in the lines.
    """

    command: str
    words: str
    lines: tuple[str, ...]
    picture: str = ""


STOPS = (
    Stop("doctor", "Installed versions, and what this machine supports.", ("gan-zoo doctor",)),
    Stop(
        "train",
        "Train on the bundled digits. `--resume` continues a run; the other seeds are for the comparisons below.",
        (
            f"gan-zoo train infogan --steps {{steps}} --log-every {{every}} {SMALL}",
            f"gan-zoo train --resume --out {RUN} --steps {{more}}",
            f"gan-zoo train infogan --seed 1 --steps {{every}} --log-every {{every}} {SMALL}",
            f"gan-zoo train infogan --seed 2 --steps {{every}} --log-every {{every}} {SMALL}",
        ),
    ),
    Stop("sample", "A grid of samples, here with `c1` fixed.", (f"gan-zoo sample {RUN} -n 16 --codes c1=3",)),
    Stop(
        "traverse",
        "Vary one code, hold everything else.",
        (
            f"gan-zoo traverse {RUN} --code c1 --rows 4 --out turn.png",
            f"gan-zoo traverse {RUN} --code c2 --out turn.webp",
        ),
        "turn.png",
    ),
    Stop(
        "walk",
        "An animation of a smooth walk through the noise, a code, or both: [Pictures and animations](pictures.md).",
        (f"gan-zoo walk {RUN} --code c2 --noise --rows 3 --out walk.webp",),
    ),
    Stop(
        "encode",
        "Q(c | x) of images, one row each.",
        (f"gan-zoo encode {RUN} --split test", f"head -n 3 {RUN}/codes-test.csv"),
    ),
    Stop(
        "invert",
        "Noise and codes of given images, by the weights in the package. RMSE is in grey levels from 0 to 255.",
        (
            "gan-zoo invert mnist-5k mnist-5k --split test -n 5 --out held-back",
            "gan-zoo sample mnist-5k --from held-back/latents.safetensors --codes c2=1 --out wide.png",
        ),
    ),
    Stop(
        "edit",
        "Your own images with other codes: [Edit an image](edit.md).",
        ("gan-zoo edit mnist-5k mnist-5k --split test -n 3 --codes c3=-1,-0.5,0,0.5,1 --out edit.png",),
        "edit.png",
    ),
    Stop("explore", "A page with a slider for each code. Ctrl-C stops it.", (f"gan-zoo explore {RUN} --port 7860",)),
    Stop("evaluate", "The metrics; labels are used for nothing else.", (f"gan-zoo evaluate {RUN}",)),
    Stop("cluster", "k-means++ on the trunk's features, compared with Q's clusters.", (f"gan-zoo cluster {RUN}",)),
    Stop("centrality", "Pick the best of several runs without labels.", ("gan-zoo centrality runs/* --samples 50",)),
    Stop("runs", "The runs in `runs/`.", ("gan-zoo runs",)),
    Stop("report", "A run as one HTML page.", (f"gan-zoo report {RUN}",)),
    Stop("export", "A folder in the Hugging Face Hub's layout.", (f"gan-zoo export {RUN} --out digits", "ls digits")),
    Stop(
        "bench",
        "Time steps of InfoGAN and the plain GAN, here in one cell of the grid; `bench kernels` times the kernels. "
        "This page was made on a busy machine: do not compare its speeds with [benchmarks](../benchmarks/README.md).",
        ("gan-zoo bench step --quick --device cpu --batch-size 32 --precision fp32 --mode eager --out step.json",),
    ),
    Stop("models", "The lists include plug-ins; `--json` prints them for programs.", ("gan-zoo models",)),
    Stop("trunks", "", ("gan-zoo trunks",)),
    Stop("datasets", "The list, and statistics of one set.", ("gan-zoo datasets", "gan-zoo datasets mnist-5k")),
    Stop("loggers", "", ("gan-zoo loggers",)),
    Stop(
        "configs", "The list of presets, or the content of one.", ("gan-zoo configs", "gan-zoo configs mnist-5k-paper")
    ),
    Stop(
        "weights",
        "Trained models in the package, which commands take as RUN.",
        ("gan-zoo weights",),
    ),
    Stop("new", "The skeleton of a plug-in.", ("gan-zoo new model my-gan", "find gan_zoo_my_gan -type f | sort")),
    Stop("completion", "Completion for bash, zsh and fish.", ("gan-zoo completion bash | head -n 4",)),
)


def lengths(steps: int = STEPS) -> dict[str, int]:
    """Steps of a run, of a resumed run, and between two lines of metrics."""
    return {"steps": steps, "more": steps + steps // 3, "every": max(1, steps // 3)}


def tour(steps: int = STEPS, *, without: Collection[str] = ()) -> Iterator[tuple[Stop, list[tuple[str, str]]]]:
    """Run every stop's lines in the current folder; yield each stop with its lines and their output."""
    for stop in STOPS:
        if stop.command not in without:
            lines = [line.format(**lengths(steps)) for line in stop.lines]
            yield stop, [(line, tidy(run_line(line))) for line in lines]


def run_line(line: str) -> str:
    """The output of a line. gan-zoo runs in this process, which has imported torch already."""
    words = shlex.split(line)
    if words[:2] == ["gan-zoo", "explore"]:
        return output_of_explore(words[1:])
    if words[0] != "gan-zoo":
        return subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    if "|" in words:
        return "\n".join(output_of(words[1 : words.index("|")]).splitlines()[: int(words[-1])])
    return output_of(
        [path for word in words[1:] for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    )


def output_of(args: list[str]) -> str:
    """The output of a command, both streams.

    Raises:
        RuntimeError: If its exit code is not 0.
    """
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            cli.main(args)
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"gan-zoo {' '.join(args)}: {out.getvalue()}") from None
    return out.getvalue()


def output_of_explore(args: list[str]) -> str:
    """The output of `explore` until it listens, and after Ctrl-C."""
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
    """`text` without trailing blanks and paths of this machine, cut to `MOST_LINES`."""
    text = text.replace(str(cache_folder()), "~/.cache/gan-zoo")
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = ["…"]
    return "\n".join(lines)


def shape(text: str) -> list[str]:
    """The lines of an output without its numbers and blanks, to compare two runs."""
    numbers = re.sub(r"-?\d[\d.,:e+-]*", "0", text)
    lines = (" ".join(line.split()) for line in numbers.splitlines())
    return [re.sub(r"0( 0)+", "0", line) for line in lines if line.strip("0 ")]


def page(stops: Iterator[tuple[Stop, list[tuple[str, str]]]], pictures: Path) -> str:
    """The page; copies its pictures to `pictures`."""
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
            lines += [f"![Its output](images/{target.name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Run the tour in an empty folder and write the page."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["GAN_ZOO_CACHE"] = str(Path(folder, ".cache"))  # as where nothing was measured before
        text = page(tour(), HERE / "images")
    (HERE / "tour.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

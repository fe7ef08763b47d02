"""The commands. Thin: torch and what stands on it are imported only inside a command that needs them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

import tyro
from tyro.conf import Positional, arg

from gan_zoo import __version__, registry
from gan_zoo.errors import InputError, PassedOver, TrainingError

if TYPE_CHECKING:
    from gan_zoo.config import Config

DESCRIPTION = "Generative adversarial networks with shared trunks, losses and one training loop; InfoGAN on top."
RunFolder = Annotated[Path, arg(metavar="RUN")]

GROUPS = {
    "train and look": ("train", "sample", "traverse", "encode", "explore"),
    "measure": ("evaluate", "cluster", "centrality", "bench"),
    "runs": ("runs", "report", "export"),
    "lists": ("models", "trunks", "datasets", "loggers", "configs"),
    "and": ("new", "doctor", "completion"),
}
"""The commands as help shows them, by what they are for."""

EXAMPLES = """\
examples:
  gan-zoo train infogan                              digits, bundled; minutes on a laptop
  gan-zoo train infogan --config celeba-64 --data ~/faces
  gan-zoo traverse runs/infogan-mnist-5k-001         one code turns, all else held
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit: 0 done, 1 a run that failed, 2 bad input, 130 interrupted and saved."""
    given = list(sys.argv[1:] if args is None else args)
    warnings.showwarning = _warn
    if os.environ.get("NO_COLOR"):  # https://no-color.org; rich heeds it by itself, tyro by its switch alone
        tyro._experimental_options["ansi_codes"] = False
    try:
        if given == ["--version"]:
            print(f"gan-zoo {__version__}")
        elif given[:1] == ["train"]:
            _train(given[1:])
        elif given[:1] and given[0] in COMMANDS:
            tyro.cli(COMMANDS[given[0]], prog=f"gan-zoo {given[0]}", args=given[1:])
        else:
            completing = any(word.startswith("--tyro-") for word in given)
            train = train_command(_example_tree() if completing else None)
            every = {**COMMANDS, "train": train}
            commands = {name: every[name] for names in GROUPS.values() for name in names}
            groups = "\n".join(f"  {what:15} {', '.join(names)}" for what, names in GROUPS.items())
            about = f"{DESCRIPTION}\n\n{groups}\n\n{EXAMPLES}"
            tyro.extras.subcommand_cli_from_dict(commands, prog="gan-zoo", description=about, args=given)
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
        _end(2, error)


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


def _train(args: list[str]) -> None:
    """`gan-zoo train`, with the keys of the named model's tree as flags."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--config")
    peek.add_argument("--out", type=Path)
    peek.add_argument("--resume", action="store_true")
    try:
        known, _ = peek.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from None
    model = args[0] if args and not args[0].startswith("-") else None
    if model:
        registry.models.check(model)
    helping = not {"-h", "--help"}.isdisjoint(args)
    if not (model or known.config or known.resume or helping):
        raise InputError(f"gan-zoo train MODEL: one of {', '.join(registry.models.entries)}")

    from pydantic import ValidationError

    from gan_zoo.resolve import refused, resolve
    from gan_zoo.training.run import held_run

    held = held_run(known.out) if known.resume and not helping else None
    if known.resume and not helping and not (held or model or known.config):
        raise InputError(f"{known.out} holds no run to resume; name a model to begin one there")
    if held and known.config:
        print(f"gan-zoo: {known.out} keeps its own configuration; --config is not read", file=sys.stderr)
    tree = resolve(model, held.ground(model) if held else known.config)
    try:
        tyro.cli(train_command(tree), prog=f"gan-zoo train {tree.model}", args=args[1:] if model else args)
    except ValidationError as error:
        raise refused(error) from None


def train_command(tree: Config | None) -> Callable[..., None]:
    """The command `train`, whose flags are the keys of `tree`, with its values as defaults."""

    def train(
        tree: Any = tree,
        config: str | None = None,
        out: Path | None = None,
        resume: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Train a model; ends by naming the run folder and its pictures.

        Args:
            tree: Keys of the configuration.
            config: A preset (see `gan-zoo configs`) or a TOML file. Flags win over it, it wins over the model's
                defaults. A run that is resumed keeps its own.
            out: The run folder; by default the next free one in runs/.
            resume: Go on with the run in --out, from its newest whole checkpoint.
            dry_run: Show the resolved tree and the networks' sizes, and make nothing.
        """
        from gan_zoo import commands

        commands.train(tree, out, resume=resume, dry_run=dry_run)

    train.__annotations__["tree"] = Annotated[type(tree), arg(name="")]
    return train


def _example_tree() -> Config:
    """The tree that help and completion show: InfoGAN's, without importing torch."""
    from pydantic import create_model

    from gan_zoo.config import Config
    from gan_zoo.models.infogan.settings import InfoGANSettings

    own: Any = {"infogan": (InfoGANSettings, InfoGANSettings())}
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **own)(model="infogan")


def sample(
    run: Positional[RunFolder],
    /,
    n: Annotated[int, arg(aliases=["-n"])] = 64,
    codes: str = "",
    out: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Draw a grid of samples.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        n: How many images.
        codes: Codes to hold, e.g. "c1=3,c2=-1.5"; the others are drawn.
        out: The picture; by default samples.png among the run's samples.
        seed: Decides what is drawn.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.sample(run, n=n, codes=codes, out=out, seed=seed, device=device)


def traverse(
    run: Positional[RunFolder],
    /,
    code: str | None = None,
    by: str | None = None,
    out: Path | None = None,
    rows: int | None = None,
    values: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Vary a code, or one by another, and hold everything else: a grid with a sample a row, or an animation.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        code: The code to vary, e.g. c1; by default a panel for each, in an animation the first.
        by: A second code: a picture shows one sample with this code down the rows, an animation has it along the
            columns.
        out: The picture (.png) or animation (.webp, .gif); by default traversal.png among the run's samples.
        rows: Samples, 10 in a picture; an animation shows a square of this side, 8. With --by, samples, too: a panel
            each in a picture, 1; a row each in an animation, 8.
        values: Steps of a continuous code from -2 to 2; 10 in a picture, 24 in an animation. Of a discrete code with
            more than 32 values, how many are shown, 32.
        seed: Decides noise and the other codes.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.traverse(run, code=code, by=by, out=out, rows=rows, values=values, seed=seed, device=device)


def encode(
    run: Positional[RunFolder],
    images: Positional[Annotated[tuple[str, ...], arg(metavar="[IMAGES ...]")]] = (),
    /,
    out: Path | None = None,
    split: Literal["train", "test"] = "train",
    batch_size: int = 256,
    device: str = "cpu",
) -> None:
    """Write Q(c | x) of images as a table: a row for each image.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        images: Image files; or a folder of images, an array file or a dataset's name; by default the run's own data.
        out: The table (.csv or .parquet); by default codes.csv in the run folder.
        split: Which part of a set that has several.
        batch_size: Images at a time.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.encode(run, images, out=out, split=split, batch_size=batch_size, device=device)


def explore(
    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN [RUN ...]")]],
    /,
    port: int = 7860,
    device: str = "cpu",
) -> None:
    """Open a page on this machine's loopback address: sliders for the codes, an image's codes, the run's curves.

    Needs the extra `explore`. Nothing is loaded from afar and nothing sent there. Ctrl-C ends it.

    Args:
        runs: Run folders, checkpoints or exported models, shown side by side.
        port: Where the page is: http://127.0.0.1:PORT. 0 takes any port that is free.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.explore(runs, port=port, device=device)


def cluster(
    run: Positional[RunFolder],
    /,
    k: int | None = None,
    split: Literal["train", "test"] | None = None,
    pool: Literal["mean", "max"] = "mean",
    out: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Find clusters by k-means++ on the trunk's features, beside Q's own clustering.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        k: How many clusters; by default the data's classes, or the values of Q's first categorical code.
        split: The split to show; by default each. Clusters are fitted on the training split.
        pool: How the trunk's last feature map is pooled over space.
        out: A JSON file to write, too.
        seed: Decides the starts of k-means.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.cluster(run, k=k, split=split, pool=pool, out=out, seed=seed, device=device)


def evaluate(
    run: Positional[RunFolder],
    more: Positional[Annotated[tuple[Path, ...], arg(metavar="[RUN ...]")]] = (),
    /,
    metrics: str = "all",
    out: Path | None = None,
    n: Annotated[int, arg(aliases=["-n"])] = 5000,
    features: str = "auto",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Measure a run, or several runs and sum them up: a table, and JSON in each run.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        more: Further ones, e.g. of other seeds: mean, deviation and worst are told then.
        metrics: clustering, information, fidelity, coverage, disentanglement, separated by commas; all is every one
            that can be had.
        out: A JSON file instead of evaluation.json in the run; of several runs one more, with the summary.
        n: How many samples are drawn.
        features: What images are compared by: auto, classifier (of the data's own labels), inception, or a
            safetensors file with Inception's weights.
        seed: Decides what is drawn.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.evaluate((run, *more), metrics=metrics, out=out, n=n, features=features, seed=seed, device=device)


def centrality(
    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN [RUN ...]")]],
    /,
    out: Path | None = None,
    samples: int = 500,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Choose among runs of the same codes the one that agrees most with the others; no labels are used.

    Args:
        runs: Run folders or checkpoints, 3 or more to choose one.
        out: A JSON file for the scores.
        samples: Votes for each ordered pair of runs; a vote takes 100 images.
        seed: Decides the images.
        device: Where to compute: auto, cpu, cuda, cuda:N.
    """
    from gan_zoo import commands

    commands.centrality(runs, out=out, samples=samples, seed=seed, device=device)


def export(
    run: Positional[RunFolder],
    /,
    out: Path,
    onnx: bool = False,
    push: str | None = None,
    private: bool = False,
    seed: int = 0,
) -> None:
    """Write a model as a folder in the Hugging Face Hub's layout, which `gan_zoo.load` and every command read.

    Args:
        run: A run folder, one of its checkpoints, or an exported model.
        out: The folder to make: configuration, weights and a card with pictures and the figures of `gan-zoo evaluate`.
            The configuration names the data as the run does, with the folder in which they lie.
        onnx: Write the generator and Q as ONNX, too, and check that they agree with torch.
        push: Upload the folder to the Hub under this name, org/name.
        private: Whether a repository that --push makes is private.
        seed: Decides the card's pictures.
    """
    from gan_zoo import commands

    commands.export(run, out=out, onnx=onnx, push=push, private=private, seed=seed)


def runs(
    folders: Positional[Annotated[tuple[Path, ...], arg(metavar="[FOLDER ...]")]] = (), /, *, json: bool = False
) -> None:
    """List runs: their state (running, done, interrupted, failed, damaged), how far they are, and their best figures.

    Args:
        folders: Folders of runs, or runs; by default runs/.
        json: Print JSON, with every figure.
    """
    from gan_zoo import commands

    commands.runs(folders or (Path("runs"),), as_json=json)


def report(run: Positional[RunFolder], /, out: Path | None = None) -> None:
    """Write one HTML page on a run, with its curves, pictures, figures and configuration; it needs no network.

    Args:
        run: A run folder.
        out: The page (.html); by default report.html in the run folder.
    """
    from gan_zoo import commands

    commands.report(run, out=out)


def bench(
    suite: Positional[Literal["step", "kernels", "compare"]] = "step",
    reports: Positional[Annotated[tuple[Path, ...], arg(metavar="[A.json B.json ...]")]] = (),
    /,
    *,
    quick: bool = False,
    out: Path | None = None,
    device: str = "auto",
    trunk: tuple[str, ...] = (),
    batch_size: tuple[int, ...] = (),
    precision: tuple[Literal["fp32", "bf16", "fp16"], ...] = (),
    mode: tuple[Literal["eager", "compiled", "graph"], ...] = (),
    seconds: float | None = None,
    minutes: float = 18.0,
) -> None:
    """Measure steps of InfoGAN beside the plain GAN's (20 minutes, or --quick), or the kernels; or compare reports.

    compare ends with exit code 1 if a later report is slower than the first beyond the intervals.

    Args:
        suite: step, kernels, or compare.
        reports: For compare: two or more files that --out wrote, of one suite.
        quick: Measure less: steps of the paper's network for digits within a minute.
        out: The JSON file to write, by default named after the suite and the device; the page (.md) and the plot (.png,
            with the extra `plot`) go beside it. It is written anew after every cell.
        device: Where to measure: auto, cpu, cuda, cuda:N.
        trunk: Measure steps of these trunks alone.
        batch_size: Measure steps at these batch sizes, instead of those that the device gains by.
        precision: Measure steps in these number formats alone.
        mode: Measure steps in these modes alone.
        seconds: Time for each cell of steps, beyond its first rounds.
        minutes: After so long no further cell of steps is begun.
    """
    from gan_zoo import commands

    of_steps = {
        "--trunk": trunk,
        "--batch-size": batch_size,
        "--precision": precision,
        "--mode": mode,
        "--seconds": seconds is not None,
        "--minutes": minutes != 18,
    }
    of_measuring = {"--quick": quick, "--out": out, "--device": device != "auto"}
    foreign = {"step": {}, "kernels": of_steps, "compare": of_steps | of_measuring}[suite]
    for flag, given in foreign.items():
        if given:
            raise InputError(f"gan-zoo bench {suite} has no {flag}")
    if suite == "compare":
        commands.compare_reports(reports)
        return
    if reports:
        raise InputError(f"gan-zoo bench {suite} reads no report; {reports[0]} is for gan-zoo bench compare")
    commands.bench(
        suite,
        quick=quick,
        out=out,
        device=device,
        chosen={"trunk": trunk, "precision": precision, "mode": mode},
        batch_sizes=batch_size,
        seconds=seconds,
        minutes=minutes,
    )


def models(*, json: bool = False) -> None:
    """List the models, plug-ins too.

    Args:
        json: Print JSON.
    """
    _list(registry.models.entries.values(), as_json=json)


def trunks(*, json: bool = False) -> None:
    """List the trunks: generators and discriminators that belong together.

    Args:
        json: Print JSON.
    """
    _list(registry.trunks.entries.values(), as_json=json)


def datasets(*, json: bool = False) -> None:
    """List the datasets that have a name.

    Args:
        json: Print JSON.
    """
    _list(registry.datasets.entries.values(), as_json=json)


def loggers(*, json: bool = False) -> None:
    """List the trackers that take a run's metrics and pictures, for --logging.trackers.

    Args:
        json: Print JSON.
    """
    _list(registry.loggers.entries.values(), as_json=json)


def configs(name: Positional[str | None] = None, /, *, json: bool = False) -> None:
    """List the presets, or print one.

    Args:
        name: A preset to print.
        json: Print JSON.
    """
    from gan_zoo.errors import unknown

    known = registry.presets()
    if name is not None:
        if name not in known:
            raise unknown("preset", name, known)
        print(known[name].read_text(encoding="utf-8"), end="")
        return
    summaries = {stem: path.read_text(encoding="utf-8").partition("\n")[0][2:] for stem, path in known.items()}
    _list([registry.Entry(n, summary, "gan-zoo", "") for n, summary in summaries.items()], as_json=json)


def new(what: Positional[Literal["model"]], name: Positional[str], /, out: Path = Path()) -> None:
    """Write the skeleton of a plug-in: a distribution with a model, its entry point and its test.

    Args:
        what: model.
        name: The model's name, e.g. my-gan.
        out: Where the folder gan_zoo_NAME goes.
    """
    from gan_zoo.skeleton import new_model

    folder = new_model(name, out)
    print(f"{folder}: try it by\n  pip install --editable {folder} && gan-zoo train {name} && pytest {folder}")


def doctor(*, json: bool = False) -> None:
    """Tell versions, devices, number formats, and which kernel path a call takes and why.

    Args:
        json: Print JSON.
    """
    from gan_zoo import commands

    commands.doctor(as_json=json)


def completion(shell: Positional[Literal["bash", "zsh", "fish"]], /) -> None:
    """Print a completion script, e.g. eval "$(gan-zoo completion bash)".

    Args:
        shell: Whose.
    """
    main(["--tyro-print-completion", shell])


COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "traverse": traverse,
    "encode": encode,
    "explore": explore,
    "evaluate": evaluate,
    "cluster": cluster,
    "centrality": centrality,
    "export": export,
    "runs": runs,
    "report": report,
    "bench": bench,
    "models": models,
    "trunks": trunks,
    "datasets": datasets,
    "loggers": loggers,
    "configs": configs,
    "new": new,
    "doctor": doctor,
    "completion": completion,
}


def _list(entries: Iterable[registry.Entry], *, as_json: bool) -> None:
    """Print entries: a line each, or JSON."""
    rows = [{"name": e.name, "summary": e.summary, "from": e.origin} for e in entries]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        plugged = "" if row["from"] == "gan-zoo" else f"  (from {row['from']})"
        print(f"{row['name']:{width}}  {row['summary']}{plugged}".rstrip())

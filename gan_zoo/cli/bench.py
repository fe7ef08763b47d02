"""`gan-zoo bench`: the speed of training steps and kernels on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from gan_zoo.errors import InputError, TrainingError

if TYPE_CHECKING:
    from gan_zoo.bench.record import Report


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
    mode: tuple[Literal["eager", "compiled", "graph", "graph, compiled"], ...] = (),
    seconds: float | None = None,
    minutes: float | None = None,
) -> None:
    """Time training steps of InfoGAN and the plain GAN (20 minutes, or --quick), or the kernels; or compare reports.

    compare exits with 1 if a later report is slower than the first beyond the confidence intervals.

    Args:
        suite: step, kernels, or compare.
        reports: For compare: two or more JSON reports of one suite.
        quick: Measure less, in a minute or two: fewer networks, or fewer references compiled by torch.
        out: Output JSON file, rewritten after every measurement; defaults to a new file named after suite and device.
            A page (.md) and a plot (.png, with the extra `plot`) are written beside it.
        device: Where to measure: auto, cpu, cuda, cuda:N.
        trunk: For step: measure only these trunks.
        batch_size: For step: measure these batch sizes instead of the device's default ones.
        precision: For step: measure only these number formats.
        mode: For step: measure only these modes.
        seconds: For step: time per measurement, after its warm-up.
        minutes: For step: start no measurement after this time; defaults to 18, or 1.5 for --quick on a GPU.

    Examples:
        gan-zoo bench step --quick
        gan-zoo bench step --trunk dcgan --precision bf16 --mode graph
        gan-zoo bench kernels --device cuda
        gan-zoo bench compare old.json new.json
    """
    cells = {"trunk": trunk, "precision": precision, "mode": mode}
    of_step = {**cells, "batch-size": batch_size, "seconds": seconds is not None, "minutes": minutes is not None}
    of_measuring = {"quick": quick, "out": out, "device": device != "auto"}
    foreign = {"step": {}, "kernels": of_step, "compare": of_step | of_measuring}[suite]
    for flag, given in foreign.items():
        if given:
            raise InputError(f"gan-zoo bench {suite} has no --{flag}")
    if suite == "compare":
        _compare(reports)
        return
    if reports:
        raise InputError(f"gan-zoo bench {suite} takes no reports ({reports[0]}); use gan-zoo bench compare")

    from gan_zoo.bench.kernels import kernels
    from gan_zoo.bench.step import step
    from gan_zoo.cli.console import check_json, check_output
    from gan_zoo.files import slug
    from gan_zoo.training.environment import environment
    from gan_zoo.training.precision import pick_device

    check_json(out)
    target_device = pick_device(device)
    target = out or _unused(Path(f"{suite}-{slug(str(environment(target_device)['device']))}.json"))
    check_output(target)
    keep = partial(_write_so_far, target)
    if suite == "kernels":
        report = kernels(target_device, quick=quick, keep=keep)
    else:
        limits = {"seconds": seconds, "minutes": minutes}
        report = step(target_device, quick=quick, chosen=cells, batches=batch_size, keep=keep, **limits)
    _print(report, target)


def _write_so_far(path: Path, report: Report) -> None:
    """Write the measurements so far; if that fails, continue."""
    from gan_zoo.terminal import say

    try:
        report.write(path)
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}; continuing")


def _print(report: Report, path: Path) -> None:
    """Print a report, and write it with its page and plot."""
    from gan_zoo.bench import pages
    from gan_zoo.cli.console import console, printed_first, wide
    from gan_zoo.terminal import say

    with printed_first() as attempt:
        wide.print(pages.report_table(report))
        written = [attempt(lambda: report.write(path)), *(attempt(lambda: pages.write(report, path)) or [])]
        for line in (*report.notes, *filter(None, written)):
            console.print(str(line))
    if report.suite == "step" and find_spec("matplotlib") is None:
        say("no plot: it requires the extra `plot`: pip install 'gan-zoo[plot]'")


def _unused(path: Path) -> Path:
    """`path`, numbered if it exists."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _compare(paths: Sequence[Path]) -> None:
    """Compare reports.

    Raises:
        TrainingError: If a later report is slower than the first beyond the confidence intervals.
    """
    from gan_zoo.bench import pages
    from gan_zoo.bench.compare import compare, slowdowns
    from gan_zoo.bench.record import read
    from gan_zoo.cli.console import wide

    rows = compare([(str(path), read(path)) for path in paths])
    wide.print(pages.comparison(rows))
    if slower := slowdowns(rows):
        names = "; ".join(row.name for row in slower)
        raise TrainingError(f"slower than {paths[0]} beyond the confidence intervals, or failed: {names}")

"""Measure models, and steps on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal

from gan_zoo.analysis.centrality import centrality as find_centrality
from gan_zoo.analysis.centrality import open_models
from gan_zoo.analysis.cluster import cluster as find_clusters
from gan_zoo.analysis.evaluate import evaluate as measure
from gan_zoo.analysis.evaluate import summary
from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.results import keep
from gan_zoo.analysis.tables import centrality_table, cluster_table, evaluation_table, remarks
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.files import check_writable, slug, write_json
from gan_zoo.tasks.console import check_json, check_place, check_seed, console, print_json, printed_first, wide
from gan_zoo.terminal import say, watched
from gan_zoo.training.environment import environment
from gan_zoo.training.precision import pick_device
from gan_zoo.training.provenance import open_training_data
from gan_zoo.training.run import find, is_checkpoint, load


def evaluate(
    sources: Sequence[Path],
    *,
    metrics: str,
    out: Path | None,
    n: int,
    features: str,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """`gan-zoo evaluate`."""
    check_seed(seed)
    check_json(out)
    if n < LEAST:
        raise InputError(f"--n is {LEAST} or more, not {n}")
    names = None if metrics == "all" else [name.strip() for name in metrics.split(",")]
    places = [_evaluation_of(source) for source in sources] if len(sources) > 1 or not out else []
    written: list[Path | None] = []
    with printed_first() as attempt:

        def finished(index: int, result: dict[str, Any]) -> None:
            """Keep a run's figures before the next run is measured."""
            if places and result["measurements"]:
                written.append(attempt(lambda: keep(result, places[index], say=say)))

        results = measure(
            sources, names, n=n, features=features, seed=seed, device=pick_device(device), say=say, finished=finished
        )
        told = {"summary": summary(results), "runs": results} if len(results) > 1 else results[0]
        if out:
            written.append(attempt(lambda: write_json(told, out)))
        if as_json:
            print_json(told)
            return
        wide.print(evaluation_table(results))
        for line in (*remarks(results), *filter(None, written)):
            console.print(str(line))


def _evaluation_of(source: Path) -> Path:
    """The file for the figures of a run or a checkpoint; where it cannot be written, a line says so before the work."""
    run, checkpoint = find(source)
    path = run.folder / (f"evaluation-{checkpoint.name}.json" if is_checkpoint(source) else "evaluation.json")
    try:
        check_writable(path)
    except OSError as error:
        say(f"{path} cannot be written ({error.strerror}): figures will only be printed; --out FILE.json keeps them")
    return path


def cluster(
    source: Path,
    *,
    k: int | None,
    split: Literal["train", "test"] | None,
    pool: Literal["mean", "max"],
    out: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """`gan-zoo cluster`."""
    check_seed(seed)
    check_json(out)
    run, checkpoint = find(source)
    model, data = load(checkpoint, device=pick_device(device)), open_training_data(run)
    parts = [part for part in ("train", "test") if part == "train" or data.test is not None]
    if split is not None and split not in parts:
        raise InputError(f"data {data.name!r} has no test split; accepted: --split train")
    found = find_clusters(model, data, k=k, seed=seed, pool=pool)
    facts = {"run": str(run.folder), "checkpoint": checkpoint.name, "seed": seed, "pool": pool}
    record = {**facts, "clusterings": found}
    with printed_first() as attempt:
        written = attempt(lambda: write_json(record, out)) if out else None
        if as_json:
            print_json(record)
            return
        console.print(cluster_table(found, [split] if split else parts))
        if written:
            console.print(str(written))


def centrality(runs: Sequence[Path], *, out: Path | None, samples: int, seed: int, device: str, as_json: bool) -> None:
    """`gan-zoo centrality`."""
    if samples < 1:
        raise InputError(f"--samples is 1 or more, not {samples}")
    check_seed(seed)
    check_json(out)
    models = open_models(runs, pick_device(device))
    found = find_centrality(
        models, samples=samples, seed=seed, watch=lambda worlds: watched(worlds, len(models), "runs")
    )
    record = found.record(runs) | {"samples": samples, "seed": seed}
    with printed_first() as attempt:
        written = attempt(lambda: write_json(record, out)) if out else None
        if as_json:
            print_json(record)
            return
        console.print(centrality_table(record, runs))
        if written:
            console.print(f"scores: {written}")
        if len(runs) == 2:
            console.print("two runs are as central as each other: name 3 or more for a choice")
        console.print(f"most central: {record['chosen']}")


def bench(
    suite: Literal["step", "kernels"],
    *,
    quick: bool,
    out: Path | None,
    device: str,
    chosen: Mapping[str, Sequence[str]],
    batch_sizes: Sequence[int],
    seconds: float | None,
    minutes: float | None,
) -> None:
    """`gan-zoo bench step` and `gan-zoo bench kernels`."""
    # Here and not above: with Triton and scipy.stats they take more than a second of every other command's start.
    from gan_zoo.bench import pages
    from gan_zoo.bench.kernels import kernels
    from gan_zoo.bench.record import Report
    from gan_zoo.bench.step import step

    check_json(out)
    place = pick_device(device)
    target = out or _unused(Path(f"{suite}-{slug(str(environment(place)['device']))}.json"))
    check_place(target)

    def keep_so_far(report: Report) -> None:
        """Write what is measured so far; where that fails, measuring goes on."""
        try:
            report.write(target)
        except OSError as error:
            say(f"{target} cannot be written: {error.strerror}; measuring goes on")

    if suite == "kernels":
        report = kernels(place, quick=quick, say=say, keep=keep_so_far)
    else:
        report = step(
            place,
            quick=quick,
            chosen=chosen,
            batches=batch_sizes,
            seconds=seconds,
            minutes=minutes,
            say=say,
            keep=keep_so_far,
        )
    with printed_first() as attempt:
        wide.print(pages.table(report))
        written = [attempt(lambda: report.write(target)), *(attempt(lambda: pages.write(report, target)) or [])]
        for line in (*report.notes, *filter(None, written)):
            console.print(str(line))
    if suite == "step" and find_spec("matplotlib") is None:
        say("no plot: it needs the extra: pip install 'gan-zoo[plot]'")


def _unused(path: Path) -> Path:
    """`path`, or with the first number after its name that no file has."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def compare_reports(paths: Sequence[Path]) -> None:
    """`gan-zoo bench compare`.

    Raises:
        TrainingError: If a later report is slower than the first beyond the intervals.
    """
    from gan_zoo.bench import pages
    from gan_zoo.bench.compare import compare, slowdowns
    from gan_zoo.bench.record import read

    rows = compare([(str(path), read(path)) for path in paths])
    wide.print(pages.comparison(rows))
    if slower := slowdowns(rows):
        raise TrainingError(
            f"slower than {paths[0]} beyond the intervals, or failed: {'; '.join(row.name for row in slower)}"
        )

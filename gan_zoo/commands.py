"""What the commands that need torch do."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from gan_zoo.analysis import encode as encoding
from gan_zoo.analysis.centrality import centrality as find_centrality
from gan_zoo.analysis.centrality import open_models
from gan_zoo.analysis.cluster import cluster as find_clusters
from gan_zoo.analysis.evaluate import evaluate as measure
from gan_zoo.analysis.evaluate import summary
from gan_zoo.analysis.fidelity import LEAST
from gan_zoo.analysis.overview import overview, samples, tables
from gan_zoo.analysis.page import run_page
from gan_zoo.analysis.survey import survey
from gan_zoo.analysis.tables import centrality_table, cluster_table, evaluation_table, remarks, standing_table
from gan_zoo.analysis.traverse import check_ending, write_picture, write_traversals
from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, TrainingError, shown
from gan_zoo.files import slug, write_json, write_text
from gan_zoo.images import grid
from gan_zoo.resolve import Resolved, changes, to_toml
from gan_zoo.terminal import say, watched
from gan_zoo.training import loop
from gan_zoo.training.environment import PACKAGES, version_of
from gan_zoo.training.penalties import check_norm
from gan_zoo.training.precision import kernel_path, pick_device
from gan_zoo.training.ranks import global_rank
from gan_zoo.training.run import find, held_run, is_checkpoint, load, open_run

console = Console(highlight=False, soft_wrap=True, markup=False)
wide = Console(highlight=False, soft_wrap=True, markup=False, width=240)
"""For tables, whose numbers are not to be cut where a terminal is narrow."""


def train(resolved: Resolved, *, out: Path | None, resume: bool, dry_run: bool) -> None:
    """`gan-zoo train`."""
    config, notes = resolved.config, resolved.notes
    if dry_run:
        check_norm(config)
        filled, _, state = loop.prepare(config)
        found = {change.partition(":")[0] for change in changes(config, filled)}
        origins = {key: "data" if key.startswith("data.") else "device" for key in found}
        for note in notes:
            console.print(f"# {shown(note, 2000)}")
        console.print(to_toml(filled, {**resolved.origins, **origins}), end="")
        for part, module in state.model.named_children():
            console.print(f"# {part}: {sum(p.numel() for p in module.parameters()):,} parameters")
        return
    run = loop.train(config, out=out, resume=resume and held_run(out) is not None, notes=notes)
    if global_rank():
        return
    console.print(f"run: {run.folder}")
    pictures = sorted(run.samples.glob("step-*.png"))[-1:]
    model = run.load()
    if model.codes:
        pictures.append(write_traversals(model, run.samples / "traversal.png"))
    for name, probabilities in model.prior.probabilities().items():
        console.print(f"prior of {name}: {' '.join(f'{p:.3f}' for p in probabilities.tolist())}")
    for picture in pictures:
        console.print(f"{'traversal' if picture.stem == 'traversal' else 'samples'}: {picture}")


def sample(source: Path, *, n: int, codes: str, out: Path | None, seed: int, device: str) -> None:
    """`gan-zoo sample`."""
    if n < 1:
        raise InputError(f"--n is 1 or more, not {n}")
    _check_seed(seed)
    run, checkpoint = find(source)
    model = load(checkpoint, device=pick_device(device))
    images = model.sample(n, parse_values(codes), seed=seed)
    columns = min(n, max(1, round(n**0.5)))
    console.print(str(write_picture(grid(images, columns), out or run.samples / "samples.png")))


def traverse(
    source: Path,
    *,
    code: str | None,
    by: str | None,
    out: Path | None,
    rows: int | None,
    values: int | None,
    seed: int,
    device: str,
) -> None:
    """`gan-zoo traverse`."""
    if rows is not None and rows < 1:
        raise InputError(f"--rows is 1 or more, not {rows}")
    if values is not None and values < 2:
        raise InputError(f"--values is 2 or more, not {values}")
    _check_seed(seed)
    run, checkpoint = find(source)
    target = out or run.samples / "traversal.png"
    model = load(checkpoint, device=pick_device(device))
    console.print(str(write_traversals(model, target, code, by=by, rows=rows, count=values, seed=seed)))


def centrality(runs: Sequence[Path], *, out: Path | None, samples: int, seed: int, device: str, as_json: bool) -> None:
    """`gan-zoo centrality`."""
    if samples < 1:
        raise InputError(f"--samples is 1 or more, not {samples}")
    _check_seed(seed)
    _check_json(out)
    models = open_models(runs, pick_device(device))
    found = find_centrality(
        models, samples=samples, seed=seed, watch=lambda worlds: watched(worlds, len(models), "runs")
    )
    record = found.record(runs) | {"samples": samples, "seed": seed}
    written = write_json(record, out) if out else None
    if as_json:
        print_json(record)
        return
    console.print(centrality_table(record, runs))
    if written:
        console.print(f"scores: {written}")
    if len(runs) == 2:
        console.print("two runs are as central as each other: name 3 or more for a choice")
    console.print(f"most central: {record['chosen']}")


def parse_values(text: str) -> dict[str, float]:
    """Codes to hold, from `c1=3,c2=-1.5`.

    Raises:
        InputError: If a part is not NAME=NUMBER.
    """
    values = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, number = part.partition("=")
        if name.strip() in values:
            raise InputError(f"--codes holds {name.strip()} twice")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"--codes: {part!r} is not NAME=NUMBER, as in c1=3,c2=-1.5")
    return values


def encode(
    source: Path,
    images: Sequence[str],
    *,
    out: Path | None,
    split: Literal["train", "test"],
    batch_size: int,
    device: str,
) -> None:
    """`gan-zoo encode`."""
    if batch_size < 1:
        raise InputError(f"--batch-size is 1 or more, not {batch_size}")
    run, checkpoint = find(source)
    target = out or run.folder / "codes.csv"
    encoding.check_ending(target)
    model = load(checkpoint, device=pick_device(device))
    encoder, data = encoding.encoder(model), run.config.data
    found = encoding.open_images(images, data, model.image, part=split)
    table = encoding.encode(encoder, found, batch_size=batch_size, workers=data.workers)
    rows = encoding.write_table(table, target)
    console.print(f"{rows:,} images ({found.where}): {target}")


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
    _check_seed(seed)
    _check_json(out)
    run, checkpoint = find(source)
    model, data = load(checkpoint, device=pick_device(device)), open_dataset(run.config.data)
    parts = [part for part in ("train", "test") if part == "train" or data.test is not None]
    if split is not None and split not in parts:
        raise InputError(f"data {data.name!r} has no test split; accepted: --split train")
    found = find_clusters(model, data, k=k, seed=seed, pool=pool)
    facts = {"run": str(run.folder), "checkpoint": checkpoint.name, "seed": seed, "pool": pool}
    record = {**facts, "clusterings": found}
    written = write_json(record, out) if out else None
    if as_json:
        print_json(record)
        return
    console.print(cluster_table(found, [split] if split else parts))
    if written:
        console.print(str(written))


def explore(sources: Sequence[Path], *, port: int, device: str) -> None:
    """`gan-zoo explore`."""
    from gan_zoo.explore.server import bind, check_installed, send_nothing, serve
    from gan_zoo.explore.view import View

    if not sources:
        raise InputError("gan-zoo explore RUN [RUN ...]: name one run or more")
    check_installed()
    send_nothing()
    with bind(port) as bound:
        views = [View(source, pick_device(device)) for source in sources]
        serve(views, bound, console.print)


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
    _check_seed(seed)
    _check_json(out)
    if n < LEAST:
        raise InputError(f"--n is {LEAST} or more, not {n}")
    names = None if metrics == "all" else [name.strip() for name in metrics.split(",")]
    results = measure(sources, names, n=n, features=features, seed=seed, device=pick_device(device), say=say)
    several = len(results) > 1
    written: list[Path] = []
    if several or not out:
        for source, result in zip(sources, results, strict=True):
            name = f"evaluation-{result['checkpoint']}.json" if is_checkpoint(source) else "evaluation.json"
            written.append(write_json(result, Path(result["run"]) / name))
    told = {"summary": summary(results), "runs": results} if several else results[0]
    if out:
        written.append(write_json(told, out))
    if as_json:
        print_json(told)
        return
    wide.print(evaluation_table(results))
    for line in remarks(results):
        console.print(line)
    for path in written:
        console.print(str(path))


def datasets(settings: Data, *, out: Path | None, seed: int, as_json: bool) -> None:
    """`gan-zoo datasets NAME`."""
    _check_seed(seed)
    target = out or Path(f"dataset-{slug(Path(settings.path or settings.name).name)}.png")
    check_ending(target)
    dataset = open_dataset(settings)
    found = overview(dataset, seed=seed, workers=settings.workers)
    picture = write_picture(samples(dataset, seed=seed), target)
    if as_json:
        print_json(found.record | {"picture": str(picture)})
        return
    for table in tables(found):
        wide.print(table)
        console.print()
    console.print(f"samples: {picture}")


def export(source: Path, *, out: Path | None, onnx: bool, push: str | None, private: bool, seed: int) -> None:
    """`gan-zoo export`."""
    from gan_zoo.export import hub
    from gan_zoo.export.write import check_exported
    from gan_zoo.export.write import export as write_export

    _check_seed(seed)
    if push is not None:
        hub.check_pushable(push)
    elif private:
        raise InputError("--private is of the repository that --push org/name makes")
    if out is not None:
        console.print(str(write_export(source, out, onnx=onnx, name=push, seed=seed, say=say)))
    elif push is None:
        raise InputError("gan-zoo export RUN --out FOLDER; without --out it is an export that --push uploads")
    elif onnx:
        raise InputError("--onnx is of an export that is made: --out FOLDER")
    else:
        check_exported(source, push)
    if push is not None:
        console.print(hub.push(out or source, push, private=private))


def runs(folders: Sequence[Path], *, as_json: bool) -> None:
    """`gan-zoo runs`."""
    found = survey(folders)
    if as_json:
        print_json([one.record for one in found])
        return
    if not found:
        console.print(f"no runs in {', '.join(map(str, folders))}")
        return
    wide.print(standing_table(found))
    for one in found:
        if one.why:
            console.print(f"{one.run}: {one.why}")


def report(source: Path, *, out: Path | None) -> None:
    """`gan-zoo report`."""
    run = open_run(source)
    target = out or run.folder / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{target}: a report is written as .html")
    console.print(str(write_text(run_page(run), target)))


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

    def keep(report: Report) -> Path:
        return report.write(out or Path(f"{suite}-{slug(report.device)}.json"))

    _check_json(out)
    place = pick_device(device)
    if suite == "kernels":
        report = kernels(place, quick=quick, say=say, keep=keep)
    else:
        report = step(
            place,
            quick=quick,
            chosen=chosen,
            batches=batch_sizes,
            seconds=seconds,
            minutes=minutes,
            say=say,
            keep=keep,
        )
    file = keep(report)
    wide.print(pages.table(report))
    for line in (*report.notes, file, *pages.write(report, file)):
        console.print(str(line))
    if suite == "step" and find_spec("matplotlib") is None:
        say("no plot: it needs the extra: pip install 'gan-zoo[plot]'")


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


def doctor(*, as_json: bool) -> None:
    """`gan-zoo doctor`."""
    devices = {"cpu": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    devices |= {f"cuda:{k}": torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())}
    told: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version_of(name) or "not installed" for name in PACKAGES},
        "devices": devices,
        "precisions": {device: _precisions(torch.device(device)) for device in devices},
        "kernels": {device: _kernel_path(torch.device(device)) for device in devices},
    }
    if as_json:
        print_json(told)
        return
    console.print(f"python {told['python']}")
    for title in ("packages", "devices", "precisions", "kernels"):
        console.print(f"{title}:")
        for name, value in told[title].items():
            console.print(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")


def _precisions(device: torch.device) -> list[str]:
    """The precisions in which a small product can be computed and differentiated on a device."""
    found = ["fp32"]
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        try:
            a = torch.ones(8, 8, device=device, requires_grad=True)
            with torch.autocast(device.type, dtype=dtype):
                (a @ a).sum().backward()
        except RuntimeError:
            continue
        found.append(name)
    return found


def _kernel_path(device: torch.device) -> str:
    choice = kernel_path(device)
    return f"{choice.path}: {choice.reason}"


def print_json(told: object) -> None:
    """Print a result as JSON, for scripts."""
    print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed lies in 0 to 2^63 - 1, not at {seed}")


def _check_json(out: Path | None) -> None:
    if out is not None and out.suffix.lower() != ".json":
        raise InputError(f"{out}: results are written as .json")

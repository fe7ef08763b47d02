"""What the commands that need torch do."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gan_zoo.analysis.overview import overview, samples, tables
from gan_zoo.analysis.page import run_page
from gan_zoo.analysis.survey import survey
from gan_zoo.analysis.tables import standing_remarks, standing_table
from gan_zoo.analysis.traverse import check_ending, write_picture, write_traversals
from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset
from gan_zoo.data.encoded import BrokenImagesError
from gan_zoo.errors import InputError, shown
from gan_zoo.files import write_text
from gan_zoo.resolve import Resolved, changes, to_toml
from gan_zoo.tasks.console import check_place, console, print_json, printed_first, wide
from gan_zoo.tasks.console import check_seed as _check_seed
from gan_zoo.tasks.look import encode, explore, sample, traverse
from gan_zoo.tasks.measure import bench, centrality, cluster, compare_reports, evaluate
from gan_zoo.terminal import say
from gan_zoo.training import loop
from gan_zoo.training.environment import PACKAGES, version_of
from gan_zoo.training.penalties import check_norm
from gan_zoo.training.precision import kernel_path
from gan_zoo.training.ranks import global_rank
from gan_zoo.training.run import held_run, open_run

__all__ = [
    "bench",
    "centrality",
    "cluster",
    "compare_reports",
    "datasets",
    "doctor",
    "encode",
    "evaluate",
    "explore",
    "export",
    "report",
    "runs",
    "sample",
    "train",
    "traverse",
]


def train(resolved: Resolved, *, out: Path | None, resume: bool, new_data: bool, dry_run: bool) -> None:
    """`gan-zoo train`."""
    config, notes = resolved.config, resolved.notes
    if dry_run:
        held = held_run(out) if resume else None
        if not held:
            check_norm(config)
        filled, _, state = loop.prepare(config, held=held, new_data=new_data)
        found = {change.partition(":")[0] for change in changes(config, filled)}
        origins = {key: "data" if key.startswith("data.") else "device" for key in found}
        for note in notes:
            console.print(f"# {shown(note, 2000)}")
        console.print(to_toml(filled, {**resolved.origins, **origins}), end="")
        for part, module in state.model.named_children():
            console.print(f"# {part}: {sum(p.numel() for p in module.parameters()):,} parameters")
        return
    resume = resume and held_run(out) is not None
    run = loop.train(config, out=out, resume=resume, new_data=new_data, notes=notes)
    if global_rank():
        return
    console.print(f"run: {run.folder}")
    model = run.load()
    with printed_first() as attempt:
        traversal = run.samples / "traversal.png"
        drawn = attempt(lambda: write_traversals(model, traversal)) if model.codes else None
        for name, probabilities in model.prior.probabilities().items():
            console.print(f"prior of {name}: {' '.join(f'{p:.3f}' for p in probabilities.tolist())}")
        for picture in sorted(run.samples.glob("step-*.png"))[-1:]:
            console.print(f"samples: {picture}")
        if drawn:
            console.print(f"traversal: {drawn}")


def datasets(settings: Data, *, out: Path | None, seed: int, as_json: bool) -> None:
    """`gan-zoo datasets NAME`."""
    _check_seed(seed)
    if out is not None:
        check_ending(out)
        check_place(out)
    try:
        dataset = open_dataset(settings.model_copy(update={"skip_broken": True}))  # which finds all of them
        broken = dataset.broken
    except BrokenImagesError as error:
        broken = error.reasons
    if broken and not settings.skip_broken:
        if as_json:
            print_json({"broken": broken})
        else:
            console.print("\n".join(broken))
        raise InputError(
            f"data {settings.name!r}: {len(broken):,} images cannot be read; repair or remove them, or set "
            "data.skip_broken = true to leave them out"
        )
    found = overview(dataset, seed=seed, workers=settings.workers)
    picture = write_picture(samples(dataset, seed=seed), out) if out else None
    if as_json:
        print_json(found.record | {"picture": str(picture) if picture else None})
        return
    first, *others = tables(found)
    wide.print(first)
    for table in others:
        console.print()
        wide.print(table)
    if lines := [*dataset.told, *([f"samples: {picture}"] if picture else [])]:
        console.print("\n" + "\n".join(lines))


def export(source: Path, *, out: Path | None, onnx: bool, push: str | None, private: bool, seed: int) -> None:
    """`gan-zoo export`."""
    from gan_zoo.export import hub
    from gan_zoo.export.write import check_empty, check_exported
    from gan_zoo.export.write import export as write_export

    _check_seed(seed)
    if push is not None:
        hub.check_pushable(push)
    elif private:
        raise InputError("--private is of the repository that --push org/name makes")
    if out is not None:
        check_empty(out)
        check_place(out, folder=True)
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
    for line in standing_remarks(found):
        console.print(line)
    for one in found:
        if one.why:
            console.print(f"{one.run}: {one.why}")


def report(source: Path, *, out: Path | None) -> None:
    """`gan-zoo report`."""
    run = open_run(source)
    target = out or run.folder / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{target}: a report is written as .html")
    check_place(target)
    console.print(str(write_text(run_page(run), target)))


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

"""Commands on runs as a whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.types import Checkpoint, Json, RunFolder, Seed, at
from gan_zoo.errors import InputError


def runs(
    folders: Positional[Annotated[tuple[Path, ...], arg(metavar="[FOLDER ...]")]] = (), /, *, json: Json = False
) -> None:
    """List runs with their state (running, done, interrupted, failed, damaged), progress and best results.

    Args:
        folders: Folders of runs, or runs; defaults to runs/.

    Examples:
        gan-zoo runs
        gan-zoo runs ~/experiments --json
    """
    from gan_zoo.analysis.result_tables import standing_remarks, standing_table
    from gan_zoo.analysis.survey import survey
    from gan_zoo.cli.console import console, print_json, wide

    folders = folders or (Path("runs"),)
    standings = survey(folders)
    if json:
        print_json([asdict(standing) for standing in standings])
        return
    if not standings:
        console.print(f"no runs in {', '.join(map(str, folders))}")
        return
    wide.print(standing_table(standings))
    for line in standing_remarks(standings):
        console.print(line)
    for standing in standings:
        if standing.origin:
            console.print(f"{standing.run}: started at {standing.origin}")
        if standing.why:
            console.print(f"{standing.run}: {standing.why}")


def report(run: Positional[Annotated[Path, arg(metavar="RUN")]], /, out: Path | None = None) -> None:
    """Write a self-contained HTML page on a run: curves, pictures, results and configuration.

    Args:
        run: A run folder.
        out: Output page (.html); defaults to report.html in the run folder.

    Examples:
        gan-zoo report runs/infogan-mnist-5k-001
    """
    from gan_zoo.analysis.report_page import run_page
    from gan_zoo.cli.console import check_output, console
    from gan_zoo.files import write_text
    from gan_zoo.training.run import open_run

    source = open_run(run)
    target = out or source.folder / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {target}: a report is an HTML page; the file name must end in .html")
    check_output(target)
    console.print(str(write_text(run_page(source), target)))


def export(
    run: Positional[RunFolder],
    /,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    onnx: bool = False,
    push: str | None = None,
    private: bool = False,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    data_license: str = "",
    seed: Seed = 0,
) -> None:
    """Export a model in the Hugging Face Hub's layout, which `gan_zoo.load` and the other commands read.

    Args:
        out: The folder to create, with configuration, weights and a model card with pictures and results. The local
            configuration records the path of the data; the one that --push uploads does not. Without --out, RUN is an
            earlier export to upload.
        onnx: Also write the generator and Q as ONNX, and check that they agree with torch.
        push: Upload the folder to the Hub as org/name.
        private: Make a new Hub repository private.
        precision: How weights are stored; all are read as fp32. fp16 takes half the space; int8, which rounds each
            row of a matrix to 255 levels, a quarter.
        data_license: Origin and licence of the data, for the card.
        seed: Seed of the card's pictures.

    Examples:
        gan-zoo export runs/infogan-mnist-5k-001 --out digits --onnx
        gan-zoo export runs/infogan-mnist-5k-001 --out digits --push org/digits --private
        gan-zoo export digits --push org/digits                              # if the first upload failed
    """
    from gan_zoo.cli.console import check_output, console
    from gan_zoo.export import hub_upload
    from gan_zoo.export.write import check_exported
    from gan_zoo.export.write import export as write_export
    from gan_zoo.files import check_empty

    if push is not None:
        hub_upload.check_pushable(push)
    elif private:
        raise InputError("--private requires --push")
    if out is not None:
        check_empty(out)
        check_output(out, folder=True)
        settings: dict[str, Any] = {"onnx": onnx, "seed": seed, "precision": precision, "data_license": data_license}
        console.print(str(write_export(at(run, checkpoint), out, name=push, **settings)))
    elif push is None:
        raise InputError("gan-zoo export requires --out FOLDER to export a run, or --push org/name to upload an export")
    elif onnx or precision != "fp32" or data_license or checkpoint:
        raise InputError("--onnx, --precision, --data-license and --checkpoint require --out")
    else:
        check_exported(run, push)
    if push is not None:
        console.print(hub_upload.push(out or run, push, private=private))

"""Commands that measure: models, and steps on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.types import RunFolder, RunFolders
from gan_zoo.errors import InputError


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
    json: bool = False,
) -> None:
    """Measure a run, or several runs and sum them up: a table, and JSON in each run.

    The JSON keeps what was measured before: of the same measure and checkpoint the figures of most samples stay.

    Args:
        more: Further ones, e.g. of other seeds: mean, deviation and worst are told then.
        metrics: clustering, information, fidelity, coverage, disentanglement, separated by commas; those that a run
            does not have are skipped.
        out: A JSON file instead of evaluation.json in the run; of several runs one more, with the summary.
        n: How many samples are drawn.
        features: What images are compared by: auto, classifier (of the data's own labels), inception, or a
            safetensors file with Inception's weights.
        seed: Decides what is drawn.
        device: Where to compute: auto, cpu, cuda, cuda:N.
        json: Print JSON in place of a table.

    Examples:
        gan-zoo evaluate runs/infogan-mnist-5k-001
        gan-zoo evaluate runs/infogan-mnist-5k-00?      # mean, deviation and worst, too
        gan-zoo evaluate runs/infogan-mnist-5k-001 --metrics clustering,information --json
    """
    from gan_zoo import commands

    commands.evaluate(
        (run, *more), metrics=metrics, out=out, n=n, features=features, seed=seed, device=device, as_json=json
    )


def cluster(
    run: Positional[RunFolder],
    /,
    k: int | None = None,
    split: Literal["train", "test"] | None = None,
    pool: Literal["mean", "max"] = "mean",
    out: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Find clusters by k-means++ on the trunk's features, beside Q's own clustering.

    Args:
        k: How many clusters; by default the data's classes, or the values of Q's first categorical code.
        split: The split to show; by default each. Clusters are fitted on the training split.
        pool: How the trunk's last feature map is pooled over space.
        out: A JSON file to write, too.
        seed: Decides the starts of k-means.
        device: Where to compute: auto, cpu, cuda, cuda:N.
        json: Print JSON in place of a table.

    Examples:
        gan-zoo cluster runs/infogan-mnist-5k-001
        gan-zoo cluster runs/infogan-mnist-5k-001 --k 20 --split test
    """
    from gan_zoo import commands

    commands.cluster(run, k=k, split=split, pool=pool, out=out, seed=seed, device=device, as_json=json)


def centrality(
    runs: Positional[RunFolders],
    /,
    out: Path | None = None,
    samples: int = 500,
    seed: int = 0,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Choose among runs of the same codes the one that agrees most with the others; no labels are used.

    Of two runs the agreement is told; to choose one takes 3 or more.

    Args:
        out: A JSON file for the scores.
        samples: Votes for each ordered pair of runs; a vote takes 100 images.
        seed: Decides the images.
        device: Where to compute: auto, cpu, cuda, cuda:N.
        json: Print JSON in place of a table.

    Examples:
        gan-zoo centrality runs/infogan-cr-sprites-00?
        gan-zoo centrality runs/* --samples 100 --json
    """
    from gan_zoo import commands

    commands.centrality(runs, out=out, samples=samples, seed=seed, device=device, as_json=json)


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
    """Measure steps of InfoGAN beside the plain GAN's (20 minutes, or --quick), or the kernels; or compare reports.

    compare ends with exit code 1 if a later report is slower than the first beyond the intervals.

    Args:
        suite: step, kernels, or compare.
        reports: For compare: two or more files that --out wrote, of one suite.
        quick: Measure less, for a minute or two: steps of few networks; kernels with few references compiled by torch.
        out: The JSON file to write, by default named after the suite and the device, with a number where there is one
            of that name; the page (.md) and the plot (.png, with the extra `plot`) go beside it. It is written anew
            after every cell.
        device: Where to measure: auto, cpu, cuda, cuda:N.
        trunk: Measure steps of these trunks alone.
        batch_size: Measure steps at these batch sizes, instead of those that the device gains by.
        precision: Measure steps in these number formats alone.
        mode: Measure steps in these modes alone.
        seconds: Time for each cell of steps, beyond its first rounds.
        minutes: After so long no further cell of steps is begun; by default 18, and 1.5 of a quick run on a GPU.

    Examples:
        gan-zoo bench step --quick
        gan-zoo bench step --trunk dcgan --precision bf16 --mode graph
        gan-zoo bench kernels --device cuda
        gan-zoo bench compare old.json new.json
    """
    from gan_zoo import commands

    of_steps = {
        "--trunk": trunk,
        "--batch-size": batch_size,
        "--precision": precision,
        "--mode": mode,
        "--seconds": seconds is not None,
        "--minutes": minutes is not None,
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

"""Commands that measure models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from gan_zoo.cli.types import Checkpoint, Count, Device, Json, RunFolder, RunFolders, Seed, at
from gan_zoo.errors import InputError


def evaluate(
    run: Positional[RunFolder],
    more: Positional[Annotated[tuple[Path, ...], arg(metavar="[RUN ...]")]] = (),
    /,
    metrics: str = "all",
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    n: Annotated[int, arg(aliases=["-n"])] = 5000,
    features: str = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure one run, or several with a summary; print a table and write JSON into each run folder.

    The JSON keeps earlier results: for each metric and checkpoint, the result with the most samples.

    Args:
        more: More runs, e.g. with other seeds; adds mean, deviation and worst.
        metrics: Comma-separated: clustering, information, fidelity, coverage, disentanglement. all runs every metric
            that applies to the run.
        out: Output JSON file, instead of evaluation.json in the run folder; for several runs, an additional file with
            the summary.
        n: Number of samples.
        features: Features to compare images by: auto, classifier (trained on the data's labels), inception, random (a
            fixed random network), or a safetensors file with Inception's weights.
        seed: Seed of the samples.

    Examples:
        gan-zoo evaluate runs/infogan-mnist-5k-001
        gan-zoo evaluate runs/infogan-mnist-5k-00?      # also mean, deviation and worst
        gan-zoo evaluate runs/infogan-mnist-5k-001 --metrics clustering,information --json
    """
    from gan_zoo.analysis.evaluate import evaluate as measure
    from gan_zoo.analysis.evaluate import summary
    from gan_zoo.analysis.fidelity import LEAST
    from gan_zoo.analysis.result_tables import evaluation_table, remarks
    from gan_zoo.analysis.results import save
    from gan_zoo.cli.console import check_json, console, print_json, printed_first, wide
    from gan_zoo.files import write_json
    from gan_zoo.training.precision import pick_device

    if n < LEAST:
        raise InputError(f"--n must be at least {LEAST}, not {n}")
    names = None if metrics == "all" else [name.strip() for name in metrics.split(",")]
    sources = [at(one, checkpoint) for one in (run, *more)]
    files = [_evaluation_file(source) for source in sources]
    if out and not more:
        if out.absolute() == files[0].absolute():
            out = None  # the default path, where results are merged
        else:
            files = []
    check_json(out)
    _report_unwritable(files)
    written: list[Path | None] = []
    with printed_first() as attempt:

        def finished(index: int, result: dict[str, Any]) -> None:
            """Write a run's results before the next run is measured."""
            if files and result["measurements"]:
                written.append(attempt(lambda: save(result, files[index])))

        place = pick_device(device)
        results = measure(sources, names, n=n, features=features, seed=seed, device=place, finished=finished)
        record = {"summary": summary(results), "runs": results} if more else results[0]
        if out:
            written.append(attempt(lambda: write_json(record, out)))
        if json:
            print_json(record)
            return
        wide.print(evaluation_table(results))
        for line in (*remarks(results), *filter(None, written)):
            console.print(str(line))


def _evaluation_file(source: Path) -> Path:
    """The file for the results of a run or a checkpoint."""
    from gan_zoo.training.hub_download import hub_model
    from gan_zoo.training.run import is_checkpoint

    if is_checkpoint(source):
        return source.absolute().parent.parent / f"evaluation-{source.name}.json"
    model = hub_model(source)
    return Path(model.title if model else source) / "evaluation.json"


def _report_unwritable(files: Sequence[Path]) -> None:
    """Report, before the work, files that cannot be written."""
    from gan_zoo.files import check_writable
    from gan_zoo.terminal import say

    for path in files:
        try:
            check_writable(path)
        except OSError as error:
            say(
                f"{path} cannot be written ({error.strerror}): results will only be printed; --out FILE.json saves them"
            )


def cluster(
    run: Positional[RunFolder],
    /,
    k: int | None = None,
    checkpoint: Checkpoint = None,
    split: Literal["train", "test"] | None = None,
    pool: Literal["mean", "max"] = "mean",
    out: Path | None = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Cluster images by k-means++ on the trunk's features, and compare with Q's clustering.

    Args:
        k: Number of clusters; defaults to the number of classes, or of values of Q's first categorical code.
        split: The split to report; defaults to all. Clusters are always fitted on the training split.
        pool: How to pool the trunk's last feature map over space.
        out: Output JSON file.
        seed: Seed of k-means.

    Examples:
        gan-zoo cluster runs/infogan-mnist-5k-001
        gan-zoo cluster runs/infogan-mnist-5k-001 --k 20 --split test
    """
    from gan_zoo.analysis.cluster import cluster as find_clusters
    from gan_zoo.analysis.result_tables import cluster_table
    from gan_zoo.cli.console import check_json, print_result
    from gan_zoo.training.precision import pick_device
    from gan_zoo.training.provenance import open_training_data
    from gan_zoo.training.run import find, load

    check_json(out)
    source, chosen = find(at(run, checkpoint))
    model, data = load(chosen, device=pick_device(device)), open_training_data(source)
    if split is not None and split not in data.splits:
        raise InputError(f"--split {split}: data {data.name!r} has no test split; use --split train")
    clusterings = find_clusters(model, data, k=k, seed=seed, pool=pool)
    record = {"run": str(source.folder), "checkpoint": chosen.name, "seed": seed, "pool": pool}
    record |= {"clusterings": clusterings}
    print_result(record, out, cluster_table(clusterings, [split] if split else [*data.splits]), as_json=json)


def centrality(
    runs: Positional[RunFolders],
    /,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    samples: Count = 500,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Pick the best of several runs with the same codes without labels: the one that agrees most with the others.

    Choosing takes 3 runs or more; for two, only their agreement is reported.

    Args:
        out: Output JSON file with the scores.
        samples: Votes for each ordered pair of runs; each vote compares 100 images.
        seed: Seed of the images.

    Examples:
        gan-zoo centrality runs/infogan-cr-sprites-00?
        gan-zoo centrality runs/* --samples 100 --json
    """
    from gan_zoo.analysis.centrality import centrality as find_centrality
    from gan_zoo.analysis.centrality import open_models
    from gan_zoo.analysis.result_tables import centrality_table
    from gan_zoo.cli.console import check_json, print_result
    from gan_zoo.training.precision import pick_device

    check_json(out)
    models = open_models([at(run, checkpoint) for run in runs], pick_device(device))
    scores = find_centrality(models, samples=samples, seed=seed)
    record = scores.record(runs) | {"samples": samples, "seed": seed}
    lines = ["two runs are equally central; choosing takes 3 or more"] if len(runs) == 2 else []
    lines.append(f"most central: {record['chosen']}")
    print_result(record, out, centrality_table(record, runs), as_json=json, about="scores: ", lines=lines)

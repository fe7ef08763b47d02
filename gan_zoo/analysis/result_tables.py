"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gan_zoo.analysis.evaluate import NOT_ASKED, features_differ, summary
from gan_zoo.analysis.survey import Standing
from gan_zoo.errors import quoted
from gan_zoo.terminal import table
from gan_zoo.training.best import Best

MOST_COLUMNS = 5
"""Maximum number of runs with a column each."""


def evaluation_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """The numbers of one run; for several runs mean, deviation and worst and, for a few, each run's."""
    several, each = len(results) > 1, len(results) <= MOST_COLUMNS
    title = f"{len(results)} runs" if several else f"{results[0]['run']}, step {results[0]['step']}"
    names = [Path(result["run"]).name for result in results] if each else []
    columns = ["metric", "", *(["mean ± deviation", "worst", *names] if several else ["value"])]
    rows = []
    for name, row in summary(results).items():
        metric, _, key = name.partition("/")
        cells = [number(value) for value in row["values"]] if each else []
        if several:
            cells = [f"{number(row['mean'])} ± {row['deviation']:.2g}", number(row["worst"]), *cells]
        rows.append((metric, key, *cells))
    return table(title, columns, rows, left=2, once=True)


def remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes on numbers and reasons for missing ones, a line each; it names its runs unless it applies to all."""
    runs_by_line: dict[str, list[str]] = {}
    for result in results:
        skipped = {name: reason for name, reason in result["skipped"].items() if reason != NOT_ASKED}
        lines = [f"{name}: {note}" for name, note in result["notes"].items()]
        lines += [f"{name} (skipped): {reason}" for name, reason in skipped.items()]
        for line in lines:
            runs_by_line.setdefault(line, []).append(Path(result["run"]).name)
    lines = [line if len(runs) == len(results) else f"{', '.join(runs)}: {line}" for line, runs in runs_by_line.items()]
    apart = features_differ(results).items()
    return lines + [
        f"{metric} (not averaged): the runs use different features: {', '.join(features)}" for metric, features in apart
    ]


def cluster_table(clusterings: Mapping[str, Mapping[str, Any]], parts: Sequence[str]) -> Table:
    """Clusterings, one per block: scores by split or, without labels, the clusters' sizes."""
    scored = [clustering[part].get("scores", {}) for clustering in clusterings.values() for part in parts]
    keys = list(dict.fromkeys(key for scores in scored for key in scores))
    rows = []
    for name, clustering in clusterings.items():
        for part in parts:
            scores = clustering[part].get("scores", {})
            cells = [number(scores[key]) if key in scores else "" for key in keys]
            sizes = sorted(clustering[part]["sizes"], reverse=True)
            shown = " ".join(map(str, sizes[:12])) + (" …" if len(sizes) > 12 else "")
            rows.append((name, str(clustering["k"]) if part == parts[0] else "", part, *cells, shown))
    return table("", ["clustering", "k", "split", *keys, "sizes"], rows, left=3, once=True)


def centrality_table(record: Mapping[str, Any], runs: Sequence[Path]) -> Table:
    """The score of each encoder on each run's images, and the runs' centralities."""
    rows = []
    for i, (run, row) in enumerate(zip(runs, record["scores"], strict=True)):
        scores = ("" if score is None else f"{score:.3f}" for score in row)
        rows.append((str(i + 1), *scores, f"{record['centrality'][i]:.3f}", str(run)))
    columns = ["", *(str(j + 1) for j in range(len(runs))), "centrality", "run"]
    made = table("row i, column j: the encoder of run j in the world of run i", columns, rows, left=0)
    made.columns[-1].justify = "left"
    return made


HEADLINES = {
    "accuracy": "clustering/accuracy",
    "NMI": "clustering/nmi",
    "L_I": "log/mi",
    "Fréchet": "fidelity/frechet",
    "FactorVAE": "disentanglement/factor_vae",
}
"""The figures in a list of runs; those that no run has are omitted."""


def standing_table(runs: Sequence[Standing]) -> Table:
    """Runs, one per row: state, steps, and the best of a few figures."""
    titles = [title for title, name in HEADLINES.items() if any(name in run.best for run in runs)]
    kept = any(run.kept for run in runs)
    rows = []
    for run in runs:
        best = [run.best.get(HEADLINES[title]) for title in titles]
        figures = [number(one["value"]) if one else "" for one in best]
        steps = (f"{run.step:,}", "" if run.steps is None else f"{run.steps:,}")
        figures += [f"step {run.kept.step:,}, {kept_for(run.kept)}" if run.kept else ""] if kept else []
        rows.append((Text(quoted(run.run)), run.state, run.model, Text(quoted(run.data)), *steps, *figures))
    return table("", ["run", "state", "model", "data", "step", "of", *titles, *["best"] * kept], rows, left=4)


def kept_for(best: Best) -> str:
    """The evaluation that a checkpoint was kept for: `frechet/random 2.94`."""
    return f"{quoted(best.measure)} {number(best.value)}"


def standing_remarks(runs: Sequence[Standing]) -> list[str]:
    """For each listed figure that runs measured differently, how each measured it."""
    lines = []
    for title, name in HEADLINES.items():
        metric = name.partition("/")[0]
        of = {run.run: run.measured[metric] for run in runs if name in run.best and metric in run.measured}
        if len(set(of.values())) > 1:
            each = "; ".join(f"{quoted(Path(run).name)}: {basis}" for run, basis in of.items())
            lines.append(f"{title} cannot be compared: {each}")
    return lines


def number(value: float) -> str:
    """A number with four significant digits; a count in full."""
    if value == int(value) and abs(value) >= 2:
        return f"{value:,.0f}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 10 or not value else f"{value:.4g}"

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

MOST_COLUMNS = 5
"""Maximum number of runs with a column each."""


def evaluation_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """The numbers of one run; for several runs mean, deviation and worst and, for a few, each run's."""
    several, each = len(results) > 1, len(results) <= MOST_COLUMNS
    table = _table(f"{len(results)} runs" if several else f"{results[0]['run']}, step {results[0]['step']}")
    table.add_column("metric", no_wrap=True)
    table.add_column("", no_wrap=True)
    names = [Path(result["run"]).name for result in results] if each else []
    for title in ["mean ± deviation", "worst", *names] if several else ["value"]:
        table.add_column(title, justify="right", no_wrap=True)
    rows, before = summary(results), ""
    for name, row in rows.items():
        metric, _, key = name.partition("/")
        cells = [number(value) for value in row["values"]] if each else []
        if several:
            cells = [f"{number(row['mean'])} ± {row['deviation']:.2g}", number(row["worst"]), *cells]
        if before and metric != before:
            table.add_section()
        table.add_row("" if metric == before else metric, key, *cells)
        before = metric
    return table


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
    table = _table("")
    for title in ("clustering", "k", "split"):
        table.add_column(title)
    scored = [clustering[part].get("scores", {}) for clustering in clusterings.values() for part in parts]
    keys = list(dict.fromkeys(key for scores in scored for key in scores))
    for title in [*keys, "sizes"]:
        table.add_column(title, justify="right", overflow="fold")
    for name, clustering in clusterings.items():
        for part in parts:
            scores = clustering[part].get("scores", {})
            cells = [number(scores[key]) if key in scores else "" for key in keys]
            sizes = sorted(clustering[part]["sizes"], reverse=True)
            shown = " ".join(map(str, sizes[:12])) + (" …" if len(sizes) > 12 else "")
            first = part == parts[0]
            table.add_row(name if first else "", str(clustering["k"]) if first else "", part, *cells, shown)
    return table


def centrality_table(record: Mapping[str, Any], runs: Sequence[Path]) -> Table:
    """The score of each encoder on each run's images, and the runs' centralities."""
    table = _table("row i, column j: the encoder of run j in the world of run i")
    for heading in ("", *(str(j + 1) for j in range(len(runs))), "centrality"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("run", overflow="fold")
    for i, (run, row) in enumerate(zip(runs, record["scores"], strict=True)):
        scores = ("" if score is None else f"{score:.3f}" for score in row)
        table.add_row(str(i + 1), *scores, f"{record['centrality'][i]:.3f}", str(run))
    return table


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
    table = _table("")
    titles = [title for title, name in HEADLINES.items() if any(name in run.best for run in runs)]
    for title in ("run", "state", "model", "data"):
        table.add_column(title, no_wrap=True)
    for title in ("step", "of", *titles):
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs:
        best = [run.best.get(HEADLINES[title]) for title in titles]
        figures = [number(one["value"]) if one else "" for one in best]
        steps = (f"{run.step:,}", "" if run.steps is None else f"{run.steps:,}")
        table.add_row(Text(quoted(run.run)), run.state, run.model, Text(quoted(run.data)), *steps, *figures)
    return table


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


def _table(title: str) -> Table:
    return Table(title=title or None, title_justify="left", title_style="", header_style="", box=None, pad_edge=False)

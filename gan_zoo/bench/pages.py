"""Reports as tables for a terminal, Markdown pages and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from gan_zoo.bench.compare import Entry
from gan_zoo.bench.compare import Row as CompareRow
from gan_zoo.bench.record import Cell, Interval, Report, Samples
from gan_zoo.files import atomic_file
from gan_zoo.images import MAKER
from gan_zoo.terminal import table

Row = tuple[str, ...]

STEP = ("cell", "case", "ms a step", "images/s", "÷ GAN", "GFLOP", "of matmul", "waiting", "peak MiB")
KERNELS = ("cell", "case", "µs", "launches", "GB/s", "of copy")
ON_A_GPU: dict[str, tuple[str, Callable[[float], str]]] = {
    "kernels": ("kernels", lambda count: f"{count:,.0f}"),
    "busy": ("GPU busy", lambda share: f"{share:.0%}"),
    "host_seconds": ("host µs", lambda seconds: _three(1e6 * seconds)),
}
"""Optional columns by fact: title and format."""


def rows(report: Report) -> Iterator[Row]:
    """Rows of a report in the columns of `titles`, one for each case or reason for a missing one."""
    describe = _of_step if report.suite == "step" else _of_kernel
    width, further = len(titles(report)), _further(report)
    for cell in report.cells:
        for name, samples in cell.cases.items():
            shown = (ON_A_GPU[fact][1](samples.facts[fact]) if fact in samples.facts else "" for fact in further)
            yield (cell.name, name, *describe(report, cell, name, samples), *shown)
        for name, reason in cell.missing.items():
            yield (cell.name, name or "all", reason, *[""] * (width - 3))


def titles(report: Report) -> Row:
    """The columns of `rows`."""
    return (STEP if report.suite == "step" else KERNELS) + tuple(ON_A_GPU[fact][0] for fact in _further(report))


def _further(report: Report) -> list[str]:
    """The facts of `ON_A_GPU` that a report has."""
    recorded = {fact for cell in report.cells for samples in cell.cases.values() for fact in samples.facts}
    return [fact for fact in ON_A_GPU if fact in recorded]


def report_table(report: Report) -> Table:
    """The table of a report for a terminal."""
    return table(report.device, titles(report), rows(report), left=2, once=True)


def markdown(report: Report) -> str:
    """A section of a page: device and versions, the table, and notes."""
    environment = report.environment
    packages = environment.get("packages", {})
    reached = [
        f"{name.partition('/')[2]} {rate / 1e9:,.0f} GFLOP/s" for name, rate in report.rates.items() if "/" in name
    ]
    copied = f"{report.rates['copy'] / 1e9:,.1f} GB/s" if "copy" in report.rates else "not measured"
    lines = [
        f"### {report.device}",
        "",
        f"torch {packages.get('torch')}, triton {packages.get('triton')}, {environment.get('threads')} threads, "
        f"CUDA {environment.get('cuda') or 'none'}, revision {environment.get('git') or 'unknown'}. "
        f"Matrix products: {', '.join(reached) or 'not measured'}; copy: {copied}.",
        "",
        *as_markdown(titles(report), rows(report)),
        "",
        *(f"- {note}" for note in report.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def comparison(lines: Sequence[CompareRow]) -> Table:
    """A table that compares reports: the first's medians, and the others' as multiples of them."""
    names = [entry.report for entry in lines[0].entries]
    cells = [("", row.name, *(_entry(row, entry) for entry in row.entries)) for row in lines]
    return table("", ("", "case", *names), cells, left=2, once=True)


def write(report: Report, json_file: Path) -> list[Path]:
    """Write the page of a report and, if matplotlib is installed, the plot of a step report, next to its JSON file."""
    page = json_file.with_suffix(".md")
    with atomic_file(page) as partial:
        partial.write_text(markdown(report), encoding="utf-8")
    if not _both(report) or not find_spec("matplotlib"):
        return [page]
    return [page, plot([report], json_file.with_suffix(".png"))]


def as_markdown(columns: Row, lines: Iterable[Row]) -> list[str]:
    """The lines of a Markdown table."""
    return [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---' if index < 2 else '---:' for index in range(len(columns)))} |",
        *(f"| {' | '.join(cells)} |" for cells in lines),
    ]


def plot(reports: Sequence[Report], path: Path) -> Path:
    """Plot InfoGAN's images per second as a multiple of the plain GAN's, for every cell of step reports that has both.

    Requires the extra `plot`.
    """
    from matplotlib.figure import Figure

    ratios = [(report.device, c.name, c.ratio("gan", "infogan")) for report in reports for c in _both(report)]
    names = list(dict.fromkeys(name for _, name, _ in ratios))[::-1]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    for device in dict.fromkeys(device for device, _, _ in ratios):
        points = [(names.index(name), ratio) for owner, name, ratio in ratios if owner == device]
        middle = [ratio.median for _, ratio in points]
        reach = [[r.median - r.low for _, r in points], [r.high - r.median for _, r in points]]
        axes.errorbar(middle, [at for at, _ in points], xerr=reach, fmt="o", capsize=3, label=device)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("images a second, InfoGAN ÷ GAN (median and its 95 % interval)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=120, format=path.suffix[1:] or "png", metadata={"Title": MAKER})
    return path


def spread(value: Interval, scale: float = 1.0) -> str:
    """A median with its interval, with three significant digits or as whole numbers."""
    middle, low, high = (_three(scale * part) for part in value)
    return f"{middle} [{low}, {high}]"


def _three(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:#.3g}".rstrip(".")


def _both(report: Report) -> list[Cell]:
    """The cells that have both InfoGAN and the plain GAN."""
    return [cell for cell in report.cells if {"gan", "infogan"} <= cell.cases.keys()]


def _entry(row: CompareRow, entry: Entry) -> str:
    """The median; for a later report also the ratio to the first and the verdict."""
    if entry.value is None:
        return entry.why or "not there"
    median = f"{entry.value.median:.3g}" if row.unit == "×" else spread(entry.value, 1000).partition(" ")[0] + " ms"
    return median if entry.ratio is None else f"{median}  ×{entry.ratio:.3f} {entry.verdict}"


def _of_step(report: Report, cell: Cell, name: str, samples: Samples) -> Row:
    facts, seconds = samples.facts, samples.time.median
    rate = report.rates.get(f"matmul/{cell.key['precision']}")
    peak = facts.get("peak_bytes")
    return (
        spread(samples.time, 1000),
        f"{facts['images'] / seconds:,.0f}",
        spread(cell.ratio("gan", name)) if name != "gan" and "gan" in cell.cases else "",
        f"{facts['flops'] / 1e9:,.2f}",
        f"{facts['flops'] / seconds / rate:.0%}" if rate else "",
        f"{facts['waiting']:.2%}",
        f"{peak / 2**20:,.0f}" if peak is not None else "",
    )


def _of_kernel(report: Report, cell: Cell, name: str, samples: Samples) -> Row:
    facts, seconds = samples.facts, samples.time.median
    launches, moved, rate = facts.get("launches"), facts.get("bytes"), report.rates.get("copy")
    return (
        spread(samples.time, 1e6),
        f"{launches:.0f}" if launches is not None else "",
        f"{moved / seconds / 1e9:,.1f}" if moved else "",
        f"{moved / seconds / rate:.0%}" if moved and rate else "",
    )

"""Write benchmarks/README.md from the reports in benchmarks/results/.

python benchmarks/render.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import targets

from gan_zoo.bench import pages
from gan_zoo.bench.record import Report, read
from gan_zoo.files import atomic_file

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COMPILED = "kernels-compiled.json"
"""Figures of the compiled kernels, which have a separate table."""


def reports(kind: str) -> list[Report]:
    """The reports named `<kind>-<device>.json`."""
    return [read(path) for path in sorted(RESULTS.glob(f"{kind}-*.json")) if path.name != COMPILED]


def section(kind: str) -> str:
    """The page of every report of a kind."""
    if kind in TABLES:
        files = sorted(RESULTS.glob(f"{kind}-*.json"))
        return "\n".join(TABLES[kind](json.loads(path.read_text(encoding="utf-8"))) for path in files)
    return "\n".join(pages.markdown(report) for report in reports(kind))


def profile(report: dict[str, Any]) -> str:
    """A table of shares for each number format."""
    names = list(dict.fromkeys(name for shares in report["shares"].values() for name in shares if name != "all others"))
    columns = ("operator", *report["shares"])
    lines = [
        (
            f"`{name}`" if name in names else name,
            *(f"{s[name]:.1%}" if name in s else "" for s in report["shares"].values()),
        )
        for name in [*names, "all others"]
    ]
    return "\n".join([f"### {report['environment']['device']}", "", *pages.as_markdown(columns, lines)]) + "\n"


def run(report: dict[str, Any]) -> str:
    """The time of a run, the share outside its steps, and Q's accuracy."""
    parts = [
        f"The default preset, {report['steps']} steps: {report['seconds to the first step']:.1f} s from the command to "
        "the first step; "
        f"logging, pictures and checkpoints took {report['share outside steps']:.2%} of the time from the first step on"
    ]
    if "share of steps waiting for data" in report:
        parts.append(f", waiting for data {report['share of steps waiting for data']:.2%} of the steps")
    if "accuracy" in report:
        parts.append(
            f". {report['seconds from command to end']:.1f} s in all, {report['seconds of steps']:.1f} s of them in "
            f"steps, {report['images/s, second half']:,.0f} images/s in the second half of the run. With seed "
            f"{report['seed']}, Q names {report['accuracy']:.1%} of the held-back digits correctly"
        )
    return f"### {report['environment']['device']}\n\n{''.join(parts)}.\n"


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {"profile": profile, "run": run}
KINDS = ("step", "baselines", "kernels", *TABLES)


def on_the_cpu() -> str:
    """The targets and the CPU's reports; empty if these are missing."""
    files = [RESULTS / f"{kind}-cpu.json" for kind in ("step", "baselines", "run")]
    if not all(path.exists() for path in files):
        return ""
    lines = targets.rows(read(files[0]), read(files[1]), json.loads(files[2].read_text(encoding="utf-8")))
    return "\n".join(pages.as_markdown(targets.TITLES, lines)) + "\n"


def page() -> str:
    """The template with all sections filled in."""
    text = (HERE / "README.template.md").read_text(encoding="utf-8")
    text = text.replace("<!-- targets -->\n", on_the_cpu())
    for kind in KINDS:
        text = text.replace(f"<!-- {kind} -->\n", section(kind))
    return text


def schema() -> str:
    """The JSON schema of a report."""
    return json.dumps(Report.model_json_schema(), indent=2) + "\n"


def main() -> None:
    """Write the page and its plot."""
    with atomic_file(HERE / "README.md") as partial:
        partial.write_text(page(), encoding="utf-8")
    (HERE / "report.schema.json").write_text(schema(), encoding="utf-8")
    pages.plot(reports("step"), HERE / "results" / "step.png")


if __name__ == "__main__":
    main()

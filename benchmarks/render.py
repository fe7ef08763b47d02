"""Write benchmarks/README.md from the reports in benchmarks/results/.

python benchmarks/render.py
"""

from __future__ import annotations

from pathlib import Path

from gan_zoo.bench import pages
from gan_zoo.bench.record import Report, read
from gan_zoo.errors import InputError
from gan_zoo.files import whole

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def reports(kind: str) -> dict[str, Report]:
    """The reports named `<kind>-<device>.json`, by device."""
    found = {}
    for path in sorted(RESULTS.glob(f"{kind}-*.json")):
        try:
            found[path.stem.removeprefix(f"{kind}-")] = read(path)
        except InputError:
            continue  # of another kind: kernels-compiled.json is a table of the compiler's
    return found


def section(kind: str) -> str:
    """The page of every report of a kind."""
    return "\n".join(pages.markdown(report) for report in reports(kind).values())


def main() -> None:
    """Fill the template."""
    text = (HERE / "README.template.md").read_text(encoding="utf-8")
    for kind in ("step", "baselines", "kernels"):
        text = text.replace(f"<!-- {kind} -->\n", section(kind))
    with whole(HERE / "README.md") as beside:
        beside.write_text(text, encoding="utf-8")
    pages.plot(list(reports("step").values()), HERE / "results" / "step.png")


if __name__ == "__main__":
    main()

"""Commands that list what has a name."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tyro.conf import Positional

from gan_zoo import registry


def models(*, json: bool = False) -> None:
    """List the models, plug-ins too.

    Args:
        json: Print JSON.
    """
    list_entries(registry.models.entries.values(), as_json=json)


def trunks(*, json: bool = False) -> None:
    """List the trunks: generators and discriminators that belong together.

    Args:
        json: Print JSON.
    """
    list_entries(registry.trunks.entries.values(), as_json=json)


def loggers(*, json: bool = False) -> None:
    """List the trackers that take a run's metrics and pictures, for --logging.trackers.

    Args:
        json: Print JSON.
    """
    list_entries(registry.loggers.entries.values(), as_json=json)


def configs(name: Positional[str | None] = None, /, *, json: bool = False) -> None:
    """List the presets, or print one.

    Args:
        name: A preset to print.
        json: Print JSON.

    Examples:
        gan-zoo configs
        gan-zoo configs celeba-64 > mine.toml  # to begin a file of one's own
    """
    from gan_zoo.errors import unknown

    known = registry.presets()
    if name is not None:
        if name not in known:
            raise unknown("preset", name, known)
        print(known[name].read_text(encoding="utf-8"), end="")
        return
    summaries = {stem: path.read_text(encoding="utf-8").partition("\n")[0][2:] for stem, path in known.items()}
    list_entries([registry.Entry(n, summary, "gan-zoo", "") for n, summary in summaries.items()], as_json=json)


def list_entries(entries: Iterable[registry.Entry], *, as_json: bool) -> None:
    """Print entries: a line each, or JSON."""
    rows = [{"name": e.name, "summary": e.summary, "from": e.origin} for e in entries]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        plugged = "" if row["from"] == "gan-zoo" else f"  (from {row['from']})"
        print(f"{row['name']:{width}}  {row['summary']}{plugged}".rstrip())

"""Commands that list registered names and presets."""

from __future__ import annotations

from collections.abc import Iterable

from tyro.conf import Positional

from gan_zoo import registry
from gan_zoo.cli.types import Json


def models(*, json: Json = False) -> None:
    """List the models, including plug-ins."""
    list_entries(registry.models.entries.values(), as_json=json)


def trunks(*, json: Json = False) -> None:
    """List the trunks: pairs of a generator and a discriminator network."""
    list_entries(registry.trunks.entries.values(), as_json=json)


def loggers(*, json: Json = False) -> None:
    """List the trackers that --logging.trackers accepts."""
    list_entries(registry.loggers.entries.values(), as_json=json)


def weights(*, json: Json = False) -> None:
    """List the trained models that every command takes as RUN, with figures, and origin and licence of their data.

    Examples:
        gan-zoo weights
        gan-zoo sample mnist-5k   # one of them
    """
    from gan_zoo.analysis.weights import registered, sources_of, weights_table
    from gan_zoo.cli.console import console, print_json, wide

    models = registered()
    if json:
        print_json([model.record for model in models])
    else:
        wide.print(weights_table(models))
        for line in sources_of(models):
            console.print(line)


def configs(name: Positional[str | None] = None, /, *, json: Json = False) -> None:
    """List the presets, or print one.

    Args:
        name: A preset to print.

    Examples:
        gan-zoo configs
        gan-zoo configs celeba-64 > mine.toml  # a file to edit
    """
    from gan_zoo.errors import unknown

    presets = registry.presets()
    if name is not None:
        if name not in presets:
            raise unknown("preset", name, presets)
        print(presets[name].read_text(encoding="utf-8"), end="")
        return
    summaries = {stem: path.read_text(encoding="utf-8").partition("\n")[0][2:] for stem, path in presets.items()}
    list_entries([registry.Entry(n, summary, "gan-zoo", "") for n, summary in summaries.items()], as_json=json)


def list_entries(entries: Iterable[registry.Entry], *, as_json: bool) -> None:
    """Print entries: one line each, or JSON."""
    import json

    rows = [{"name": e.name, "summary": e.summary, "from": e.origin} for e in entries]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        origin = "" if row["from"] == "gan-zoo" else f"  (from {row['from']})"
        print(f"{row['name']:{width}}  {row['summary']}{origin}".rstrip())

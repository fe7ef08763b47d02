"""The curves of a run, from its metrics.jsonl, as tables that a plot reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gan_zoo.training.loggers.jsonlines import read_records

MOST_POINTS = 400
"""Points of one curve; of a longer one every n-th is shown, the last always."""
COLUMNS = ("step", "nats", "curve")


def stamp(file: Path) -> str:
    """What changes when the file does; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def information(records: list[dict[str, Any]]) -> pd.DataFrame:
    """The bound L_I of each code and of all, beside H(c)."""
    names = {"mi": "L_I, all codes", "entropy": "H(c), all codes"}
    names |= {key: f"L_I, {key.removeprefix('mi/')}" for key in _keys(records) if key.startswith("mi/")}
    return _table(records, names)


def losses(records: list[dict[str, Any]]) -> pd.DataFrame:
    """The summands of both players' losses."""
    players = {"discriminator/": "D: ", "generator/": "G: "}
    names = {
        key: short + key.removeprefix(player)
        for key in _keys(records)
        for player, short in players.items()
        if key.startswith(player)
    }
    return _table(records, names)


def read(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of `information` and of `losses`."""
    records = read_records(file)
    return information(records), losses(records)


def _keys(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record))


def _table(records: list[dict[str, Any]], names: Mapping[str, str]) -> pd.DataFrame:
    """Rows (step, nats, curve) of the values called by the keys of `names`; what is no finite number is left out."""
    rows: list[tuple[int, float, str]] = []
    for key, name in names.items():
        points = [(record["step"], record[key]) for record in records if _finite(record.get(key))]
        every = -(-len(points) // MOST_POINTS) or 1
        kept = points[::-1][::every][::-1]  # from the end, so that the newest is there
        rows += [(step, float(value), name) for step, value in kept]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

"""The weights calm-stripes: a folder that `gan-zoo export` wrote."""

from __future__ import annotations

from pathlib import Path

CALM_STRIPES = Path(__file__).parent / "calm-stripes"

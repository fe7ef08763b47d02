"""For the site: links to files of the repository that are no pages become their names."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn `[text](../path)` into text, since what lies outside docs/ is not part of the site."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"`\1`", markdown)

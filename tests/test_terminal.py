"""Lines on outputs that do not know every character; the Python face leaves the caller's outputs as they are."""

from __future__ import annotations

import io
import sys

import pytest

from gan_zoo.terminal import say
from gan_zoo.training.progress import Reporter


@pytest.mark.parametrize(("encoding", "told"), [("ascii", "a ? b?"), ("cp1252", "a ? b?"), ("utf-8", "a → b?")])
def test_a_line_is_told_whatever_the_encoding(encoding: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding))
    Reporter(3).say("a → b\udce9")
    say("a → b\udce9")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        assert stream.buffer.getvalue().decode(encoding) == f"{told}\n"  # type: ignore[attr-defined]
        assert stream.errors == "strict"

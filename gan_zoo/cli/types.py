"""What arguments of several commands are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg

PLAIN = (FlagCreatePairsOff,)
"""How flags are made: no `--no-json` beside `--json`."""

RunFolder = Annotated[
    Path,
    arg(
        metavar="RUN",
        help="A run folder, one of its checkpoints, an exported model, or one on the Hugging Face Hub: hf://org/name, "
        "hf://org/name@revision.",
    ),
]
RunFolders = Annotated[
    tuple[Path, ...], arg(metavar="RUN [RUN ...]", help="Run folders, checkpoints, exported models, or hf://org/name.")
]

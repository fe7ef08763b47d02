"""Exported models on the Hugging Face Hub, through `huggingface_hub` (the extra `hub`).

That library's own settings apply: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gan_zoo.errors import InputError, cut
from gan_zoo.extras import require
from gan_zoo.training.exported import DESCRIPTION, WEIGHTS

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
NAME = re.compile(f"{_PART}/{_PART}")
_REVISION = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}"
_ADDRESS = re.compile(f"hf://({_PART}/{_PART})(?:@({_REVISION}))?")


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub: `org/name`, and a branch, tag or commit; by default the main branch."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def title(self) -> str:
        """Its name without the owner."""
        return self.name.partition("/")[2]


def hub_model(source: Path | str) -> HubModel | None:
    """The model of `hf://org/name` or `hf://org/name@revision`; None for other sources.

    Raises:
        InputError: If the source begins with hf:// but has another form.
    """
    address = written(source)
    match = _ADDRESS.fullmatch(address)
    if match is None and address.startswith("hf://"):
        raise InputError(
            f"{cut(address)!r} is not the address of a model; accepted: hf://org/name, hf://org/name@revision"
        )
    return HubModel(match[1], match[2]) if match else None


def written(source: Path | str) -> str:
    """A source as it was typed: Path turns the two slashes of an address into one."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]+):/+", r"\1://", str(source))


def check_is_path(out: Path) -> None:
    """Raise an InputError if an output is an address, on the Hub or anywhere else."""
    address = written(out)
    if "://" in address:
        remedy = "choose one on this machine, and copy the files afterwards"
        if address.startswith("hf://"):
            remedy = "gan-zoo export --push org/name uploads a model"
        raise InputError(f"--out {address} is not a path; {remedy}")


def is_name(source: Path | str) -> bool:
    """Whether `source` can only be a model's name on the Hub: `org/name`, and no folder `org` exists."""
    return isinstance(source, str) and bool(NAME.fullmatch(source)) and not Path(source).parent.exists()


def download(model: HubModel, *, endpoint: str | None = None) -> Path:
    """Download a model's description and weights, and nothing else; returns their local folder.

    Args:
        model: The model.
        endpoint: The Hub's address; by default that of `huggingface_hub`.

    Raises:
        InputError: If there is no such model, it is not an exported one, or the Hub cannot be reached.
    """
    require("huggingface_hub", "hub", str(model))
    from huggingface_hub import snapshot_download

    with hub_errors(f"cannot download {model}"):
        folder = snapshot_download(
            model.name, revision=model.revision, allow_patterns=[DESCRIPTION, WEIGHTS], endpoint=endpoint
        )
    if not (Path(folder) / DESCRIPTION).is_file():
        raise InputError(f"{model} has no {DESCRIPTION}: it is not a model that gan-zoo export wrote")
    return Path(folder)


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """A context that turns the errors of the library and its connection into one line that begins with `what`."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except RevisionNotFoundError:
        raise InputError(f"{what}: there is no such revision") from None
    except RepositoryNotFoundError:
        raise InputError(f"{what}: there is no such model, or it is private; `hf auth login` logs in") from None
    except Exception as error:  # also its HTTP client's, which differ between versions
        raise InputError(f"{what}: {cut(' '.join(str(error).split()) or type(error).__name__, 300)}") from None

"""Exported models on the Hugging Face Hub, through `huggingface_hub` (the extra `hub`).

Where the Hub is, who asks and what is kept on this machine follow that library's own settings (HF_ENDPOINT, HF_TOKEN,
HF_HOME, HF_HUB_OFFLINE).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from gan_zoo.errors import InputError
from gan_zoo.training.exported import DESCRIPTION, WEIGHTS

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(f"{_PART}/{_PART}")


def is_name(source: Path | str) -> bool:
    """Whether `source` can only be a model's name on the Hub: `org/name`, where there is neither such a path nor a
    folder `org` that it could be a slip in.
    """
    if not isinstance(source, str) or not _NAME.fullmatch(source):
        return False
    return not Path(source).exists() and not Path(source).parent.exists()


def check_pushable(name: str) -> None:
    """Refuse a name that nothing can be uploaded under.

    Raises:
        InputError: If it is not org/name, or the library is not installed.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--push {name!r} is not a name on the Hub: org/name, of letters, digits, '-', '_' and '.'")
    _check_installed("--push")


def download(name: str, *, endpoint: str | None = None) -> Path:
    """The folder on this machine that a model's description and weights were loaded into; nothing else is loaded.

    Args:
        name: `org/name`.
        endpoint: The Hub's address; by default what `huggingface_hub` takes.

    Raises:
        InputError: If there is no such model, or the Hub cannot be reached.
    """
    _check_installed(name)
    from huggingface_hub import snapshot_download

    with _told(f"{name} is no folder here, and cannot be had from the Hub"):
        folder = snapshot_download(name, allow_patterns=[DESCRIPTION, WEIGHTS], endpoint=endpoint)
    return Path(folder)


def push(folder: Path, name: str, *, private: bool = False, endpoint: str | None = None) -> str:
    """Upload an exported model; the repository is made if there is none.

    Args:
        folder: What `gan-zoo export` wrote.
        name: `org/name`.
        private: Whether a repository that is made is private.
        endpoint: The Hub's address; by default what `huggingface_hub` takes.

    Returns:
        Where it can be seen.

    Raises:
        InputError: If the Hub refuses or cannot be reached.
    """
    check_pushable(name)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    with _told(f"{folder} is whole, but was not uploaded to {name}"):
        where = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="gan-zoo export")
    return str(where)


def _check_installed(what: str) -> None:
    if find_spec("huggingface_hub") is None:
        raise InputError(f"{what}: the Hub needs the extra: pip install 'gan-zoo[hub]'")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Within, what the library and its connection raise becomes one line that begins with `what`."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise InputError(f"{what}: there is no such model, or it is private; `hf auth login` logs in") from None
    except Exception as error:  # the library lets through what its HTTP client raises, which changes with its version
        raise InputError(f"{what}: {_first_words(error)}") from None


def _first_words(error: Exception, most: int = 300) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"

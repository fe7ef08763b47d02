"""Upload an exported model to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from gan_zoo.errors import InputError
from gan_zoo.extras import require
from gan_zoo.training.hub_download import NAME, hub_errors


def check_pushable(name: str) -> None:
    """Check the name of a Hub repository.

    Raises:
        InputError: If it is not org/name, or the library is not installed.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"--push {name!r} is not a name on the Hub: org/name, of letters, digits, '-', '_' and '.'")
    require("huggingface_hub", "hub", "--push")


def push(folder: Path, name: str, *, private: bool = False, endpoint: str | None = None) -> str:
    """Upload an exported model; the repository is created if it does not exist.

    Args:
        folder: A folder written by `gan-zoo export`.
        name: `org/name`.
        private: Whether a new repository is private.
        endpoint: The Hub's address; defaults to `huggingface_hub`'s.

    Returns:
        The repository's URL.

    Raises:
        InputError: If the Hub refuses or cannot be reached.
    """
    check_pushable(name)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    with hub_errors(f"{folder} is complete but was not uploaded (retry: gan-zoo export {folder} --push {name})"):
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="gan-zoo export")
    return str(url)

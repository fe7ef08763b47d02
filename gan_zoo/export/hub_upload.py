"""Uploading an exported model to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from gan_zoo.errors import InputError
from gan_zoo.extras import require
from gan_zoo.training.hub_download import NAME, hub_errors


def check_pushable(name: str) -> None:
    """Refuse a name that nothing can be uploaded under.

    Raises:
        InputError: If it is not org/name, or the library is not installed.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"--push {name!r} is not a name on the Hub: org/name, of letters, digits, '-', '_' and '.'")
    require("huggingface_hub", "hub", "--push")


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
    with hub_errors(f"{folder} is whole, but was not uploaded (again: gan-zoo export {folder} --push {name})"):
        where = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="gan-zoo export")
    return str(where)

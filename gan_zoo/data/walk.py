"""The images below a folder, without outputs of gan-zoo, hidden files, and links that are not followed."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gan_zoo.data.bounds import listed
from gan_zoo.data.folder_layout import METADATA, composed
from gan_zoo.data.pixels import SUFFIXES
from gan_zoo.errors import InputError
from gan_zoo.files import slug
from gan_zoo.images import MAKER, is_made_here
from gan_zoo.registry import datasets

NAMED = 3
"""Maximum number of skipped files that a line names."""

_BESIDE = {"environment.json", "metrics.jsonl", "checkpoints"}
"""A run folder has at least one of these beside its config.toml."""
_TREE = re.compile(r"^model\s*=", re.MULTILINE)
_LONGEST = 2**18


@dataclass
class Listing:
    """The contents of a folder, as paths below it.

    Attributes:
        names: The images, in the same order on every machine.
        outputs: Folders and pictures that gan-zoo wrote, with the number of pictures in each.
        links_out: Links that lead out of the folder and are not followed.
        links_inside: Links to folders that are listed anyway.
        metadata: A metadata file of the layout `imagefolder`, if there is one.
    """

    names: list[str] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)
    links_out: list[str] = field(default_factory=list)
    links_inside: list[str] = field(default_factory=list)
    metadata: str = ""

    def notes(self) -> list[str]:
        """Lines for the user about what was skipped."""
        hint = "; data.follow_links = true follows them"
        skipped = (
            (f"{sum(self.outputs.values()):,} pictures that gan-zoo wrote", [*self.outputs], ""),
            (f"{len(self.links_out):,} links that lead out of the folder", self.links_out, hint),
            (f"{len(self.links_inside):,} links to folders inside the folder", self.links_inside, ""),
        )
        return [f"skipped {what} ({listed(names, NAMED)}){remedy}" for what, names, remedy in skipped if names]


def list_images(root: Path, *, follow_links: bool) -> Listing:
    """List the images below `root`, a resolved path.

    Hidden files and folders, and folders whose names begin with two underscores, are skipped. Each folder is read once,
    however many links lead to it.

    Args:
        root: The folder.
        follow_links: Whether links that lead out of it are followed.

    Raises:
        InputError: If a folder cannot be listed.
    """
    listing, seen = Listing(), set[str]()
    waiting = deque([""])
    while waiting:  # links to folders come last, so that folders below `root` keep their own names
        top = waiting.popleft()
        for where, folders, files in os.walk(root / top, onerror=_unlisted):
            below = os.path.relpath(where, root).replace(os.sep, "/")
            if (real := os.path.realpath(where)) in seen:
                listing.links_inside.append(below)
                folders.clear()
                continue
            seen.add(real)
            prefix = "" if below == "." else f"{below}/"
            if _is_output(where, folders, files):
                if count := sum(_is_image(name) for _, _, names in os.walk(where) for name in names):
                    listing.outputs[below] = count
                folders.clear()
                continue
            folders[:] = _in_order(name for name in folders if not name.startswith((".", "__")))
            for name in [name for name in folders if os.path.islink(os.path.join(where, name))]:
                folders.remove(name)
                _sort_link(prefix + name, root, listing, waiting, follow_links=follow_links)
            for name in filter(_is_image, _in_order(files)):  # as text: a path object for each of 50,000 takes a second
                path = os.path.join(where, name)
                if not follow_links and os.path.islink(path) and _leads_out(Path(path), root):
                    listing.links_out.append(prefix + name)
                elif _is_picture(path, root):
                    listing.outputs[prefix + name] = 1
                else:
                    listing.names.append(prefix + name)
            listing.metadata = listing.metadata or next((prefix + name for name in METADATA if name in files), "")
    if follow_links:
        listing.names.sort(key=_walk_order)
    return listing


def _sort_link(name: str, root: Path, listing: Listing, waiting: deque[str], *, follow_links: bool) -> None:
    """Queue a link to a folder that is to be followed, or record it as skipped."""
    if not _leads_out(root / name, root):
        listing.links_inside.append(name)
    elif follow_links:
        waiting.append(name)
    else:
        listing.links_out.append(name)


def _in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of their composed characters, so that a copy on another system has the same order."""
    return sorted(sorted(names), key=composed)


def _walk_order(name: str) -> tuple[tuple[bool, str], ...]:
    """Sort key for the order of a walk: in every folder its files first."""
    *folders, file = composed(name).split("/")
    return (*((True, folder) for folder in folders), (False, file))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _leads_out(link: Path, root: Path) -> bool:
    try:
        return not link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links, which is reported as an image that cannot be read
        return False


def _unlisted(error: OSError) -> None:
    raise InputError(f"folder {error.filename!r} cannot be listed: {error.strerror}") from error


def _is_output(where: str, folders: list[str], files: list[str]) -> bool:
    """Whether a folder is a run or an export."""
    if "config.toml" in files and not _BESIDE.isdisjoint((*folders, *files)):
        return bool(_TREE.search(_text(os.path.join(where, "config.toml"))))
    if "config.json" in files and "model.safetensors" in files:
        return f'"{MAKER}"' in _text(os.path.join(where, "config.json"))
    return False


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST)
    except OSError:
        return ""


def _is_picture(path: str, root: Path) -> bool:
    """Whether gan-zoo wrote a file: by its mark, or by the name of a dataset's pictures, which had no mark once."""
    stem, ending = os.path.splitext(os.path.basename(path))
    named = {f"dataset-{name}" for name in ("", slug(root.name), *map(slug, datasets.entries))}
    return (ending == ".png" and stem in named) or is_made_here(Path(path))

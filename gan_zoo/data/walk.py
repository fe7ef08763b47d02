"""The images below a folder: those that are data, and those that are left out, with the reason."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gan_zoo.data.bounds import listed
from gan_zoo.data.folder_layout import METADATA
from gan_zoo.data.pixels import SUFFIXES
from gan_zoo.errors import InputError
from gan_zoo.files import slug
from gan_zoo.images import MAKER, is_made_here
from gan_zoo.registry import datasets

NAMED = 3
"""How many of the things that are left out a line names."""

_BESIDE = {"environment.json", "metrics.jsonl", "checkpoints"}
"""What lies beside the config.toml of a run, any of it."""
_TREE = re.compile(r"^model\s*=", re.MULTILINE)
_LONGEST = 2**18


@dataclass
class Listing:
    """What lies below a folder; all names are paths below it.

    Attributes:
        names: The images, in the same order on every machine.
        made: What gan-zoo wrote: folders and pictures, and how many pictures each is.
        away: Links that lead out of the folder and are not followed.
        twice: Links to folders that lie in it, or that another link leads to.
        metadata: A file that the layout `imagefolder` reads, if there is one.
    """

    names: list[str] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    away: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    metadata: str = ""

    def notes(self) -> Iterator[str]:
        """What was left out and why, a line each."""
        if self.made:
            yield f"{sum(self.made.values()):,} left out, pictures that gan-zoo wrote ({listed([*self.made], NAMED)})"
        if self.away:
            yield (
                f"{len(self.away):,} left out, links that lead out of the folder ({listed(self.away, NAMED)}); "
                "data.follow_links = true follows them"
            )
        if self.twice:
            yield f"{len(self.twice):,} left out, links to folders inside it ({listed(self.twice, NAMED)})"


def list_images(root: Path, *, follow_links: bool) -> Listing:
    """The images below `root`, a resolved path.

    Hidden files and folders are passed over, and folders whose names begin with two underscores. Each folder is
    read once, whatever links lead to it.

    Args:
        root: The folder.
        follow_links: Whether links that lead out of it are followed.

    Raises:
        InputError: If a folder cannot be listed.
    """
    found, seen = Listing(), set[str]()
    waiting = deque([""])
    while waiting:  # links to folders come last, so that what lies below `root` itself has its own name
        top = waiting.popleft()
        for where, folders, files in os.walk(root / top, onerror=_unlisted):
            below = os.path.relpath(where, root).replace(os.sep, "/")
            if (real := os.path.realpath(where)) in seen:
                found.twice.append(below)
                folders.clear()
                continue
            seen.add(real)
            prefix = "" if below == "." else f"{below}/"
            if _is_output(where, folders, files):
                if count := sum(_is_image(name) for _, _, names in os.walk(where) for name in names):
                    found.made[below] = count
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            for name in [name for name in folders if os.path.islink(os.path.join(where, name))]:
                folders.remove(name)
                _sort_link(prefix + name, root, found, waiting, follow_links=follow_links)
            for name in filter(_is_image, sorted(files)):  # as text: a path object for each of 50,000 takes a second
                path = os.path.join(where, name)
                if not follow_links and os.path.islink(path) and _leads_out(Path(path), root):
                    found.away.append(prefix + name)
                elif _is_picture(path, root):
                    found.made[prefix + name] = 1
                else:
                    found.names.append(prefix + name)
            found.metadata = found.metadata or next((prefix + name for name in METADATA if name in files), "")
    if follow_links:
        found.names.sort(key=_place)
    return found


def _sort_link(name: str, root: Path, found: Listing, waiting: deque[str], *, follow_links: bool) -> None:
    """Where a link to a folder belongs: among those to be followed, or to be told."""
    if not _leads_out(root / name, root):
        found.twice.append(name)
    elif follow_links:
        waiting.append(name)
    else:
        found.away.append(name)


def _place(name: str) -> tuple[tuple[bool, str], ...]:
    """By which names are sorted as a walk finds them: in every folder its files first."""
    *folders, file = name.split("/")
    return (*((True, folder) for folder in folders), (False, file))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _leads_out(link: Path, root: Path) -> bool:
    try:
        return not link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # it leads round in a circle: to be told as an image that cannot be read
        return False


def _unlisted(error: OSError) -> None:
    raise InputError(f"folder {error.filename!r} cannot be listed: {error.strerror}") from error


def _is_output(where: str, folders: list[str], files: list[str]) -> bool:
    """Whether a folder is a run, or an export."""
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
    """Whether a file is a picture that gan-zoo wrote; those of a set had names of their own before they were marked."""
    stem, ending = os.path.splitext(os.path.basename(path))
    named = {f"dataset-{name}" for name in ("", slug(root.name), *map(slug, datasets.entries))}
    return (ending == ".png" and stem in named) or is_made_here(Path(path))

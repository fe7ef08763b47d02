"""A cache of decoded images on the disk, addressed by content.

An entry is a folder `images/SHA-256`, named by what decides the pixels: the encoded images' bytes in their order, the
shape, and the decoder's version. A look-up reads all bytes again, a small part of the cost of decoding, so that every
change of a file is noticed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import PIL
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_zoo.config import Fit
from gan_zoo.data.dataset import EncodedImages
from gan_zoo.data.pixels import DECODER
from gan_zoo.errors import first_line
from gan_zoo.files import atomic_file, cache_folder, make_folder, remove_partial, utf8_name
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import say, with_progress

WORTH_IMAGES, WORTH_BYTES = 2000, 2**25
"""Datasets of as many images or encoded bytes are cached: decoding them takes about a second or more."""

PIXELS, LOCK = "pixels.safetensors", ".lock"


def decoded_once(
    parts: Sequence[EncodedImages], shape: ImageShape, how: Fit, decode: Callable[[], list[Tensor]], *, where: str
) -> list[Tensor]:
    """The decoded images of each part, uint8 [n, C, R, R]: from the cache, or decoded now and cached.

    If several processes begin at once, one decodes and the others wait for it. Cached images are memory-mapped, so that
    processes share them. A damaged entry is replaced. If the cache cannot be written, a line on stderr reports it.

    Args:
        parts: The images of each split.
        shape: What they are decoded into.
        how: How images that are not square are fitted into it.
        decode: Decodes all of them.
        where: The dataset, for messages.

    Raises:
        InputError: Whatever `decode` raises.
    """
    try:
        content, size = _content(parts, where)
    except Exception:  # an image cannot be read: `decode` names it
        return decode()
    total = sum(map(len, parts))
    if total < WORTH_IMAGES and size < WORTH_BYTES:
        return decode()
    with ExitStack() as stack:
        try:
            folder = cache_folder() / "images" / _key(content, shape, how)
            shapes = [(len(part), shape.channels, shape.resolution, shape.resolution) for part in parts]
            if (cached := read_entry(folder / PIXELS, shapes)) is not None:
                return cached
            stack.enter_context(_locked(folder, f"waiting for another process that decodes {where}"))
            if (cached := read_entry(folder / PIXELS, shapes)) is not None:
                return cached
        except (OSError, RuntimeError) as error:
            say(f"decoding {total:,} images of {where}; they cannot be cached: {first_line(error)}")
            return decode()
        if (folder / PIXELS).is_file():
            say(f"{folder / PIXELS} is damaged and will be replaced")
        say(f"decoding {total:,} images of {where} once, to {folder}")
        pixels = decode()
        try:
            if _content(parts, where)[0] != content:
                say(f"{where} changed while it was decoded, so it is not cached")
            else:
                write_entry(folder / PIXELS, pixels)
        except (OSError, SafetensorError, ValueError) as error:  # the disk is full, or an image is gone
            say(f"the decoded images could not be cached: {first_line(error)}")
        return pixels


def read_entry(file: Path, shapes: Sequence[tuple[int, ...]]) -> list[Tensor] | None:
    """The images of an entry, memory-mapped; None if it is missing or damaged."""
    try:
        with utf8_name(file) as called, safe_open(called, framework="pt") as opened:
            sums = opened.metadata() or {}
            images = [opened.get_tensor(str(number)) for number in range(len(shapes))]
    except (OSError, SafetensorError):
        return None
    intact = all(
        pixels.dtype == torch.uint8 and pixels.shape == shape and _sum(pixels) == sums.get(str(number))
        for number, (pixels, shape) in enumerate(zip(images, shapes, strict=True))
    )
    return images if intact else None


def write_entry(file: Path, images: Sequence[Tensor]) -> None:
    """Write an entry with the images' checksums, atomically."""
    named = {str(number): pixels for number, pixels in enumerate(images)}
    remove_partial(file.parent)
    with atomic_file(file) as partial:
        save_file(named, partial, {name: _sum(pixels) for name, pixels in named.items()})


def _content(parts: Sequence[EncodedImages], where: str) -> tuple[str, int]:
    """A digest of the images' bytes in their order, and their number."""
    total, size = hashlib.sha256(), 0
    for part in parts:
        total.update(f"{len(part)} images".encode())
        for index in with_progress(range(len(part)), len(part), f"reading {where}"):
            with part.read(index) as file:
                total.update(hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]  # BinaryIO lacks `readinto`
                size += file.seek(0, os.SEEK_END)
    return total.hexdigest(), size


def _key(content: str, shape: ImageShape, how: Fit) -> str:
    facts = f"{content}/{shape.channels}x{shape.resolution}/decoder {DECODER}/Pillow {PIL.__version__}"
    facts += "" if how == "crop" else f"/{how}"  # entries of releases that only cropped stay valid
    return hashlib.sha256(facts.encode()).hexdigest()


def _sum(images: Tensor) -> str:
    return hashlib.sha256(images.numpy().data).hexdigest()


@contextmanager
def _locked(folder: Path, waiting: str) -> Iterator[None]:
    """Keep other processes from making the entry in `folder`; the lock ends with the process, however that ends.

    If no entry was made, the folder is removed; a process that waits for the lock makes it again.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"{waiting} ({folder / LOCK})")
        while not lock.is_locked:
            make_folder(folder)
            with suppress(FileNotFoundError):  # the other process made no entry and removed the folder
                lock.acquire()
    try:
        yield
    finally:
        if not (folder / PIXELS).exists():
            with suppress(OSError):  # another process makes it again, or Windows keeps open files
                (folder / LOCK).unlink()
                folder.rmdir()
        lock.release()

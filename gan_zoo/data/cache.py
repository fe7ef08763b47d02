"""Decoded images, kept from one run to the next and known by their content.

An entry is a folder of the cache, `images/SHA-256`, named by what decides the pixels: the encoded images' bytes in
their order, the shape, and the version of the decoder. It is found by reading all the bytes again, which costs a small
part of decoding them, so that no change of a file is ever overlooked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import PIL
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_zoo.data.pixels import DECODER
from gan_zoo.errors import first_line
from gan_zoo.files import atomic_file, cache_folder, make_folder, remove_partial, utf8_name
from gan_zoo.shapes import ImageShape
from gan_zoo.terminal import say, with_progress

WORTH_IMAGES, WORTH_BYTES = 2000, 2**25
"""Sets of so many images, or of so many encoded bytes, are kept: they take about a second to decode, or more."""

PIXELS, LOCK = "pixels.safetensors", ".lock"
_PIECE = 2**16


class Readable(Protocol):
    """Encoded images, each of which can be read."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> BinaryIO:
        """The bytes of image `index`, opened; to be closed by who asks."""
        ...


def decoded_once(
    parts: Sequence[Readable], shape: ImageShape, decode: Callable[[], list[Tensor]], *, where: str
) -> list[Tensor]:
    """What `decode` makes of the parts, uint8 [n, C, R, R] each: kept from an earlier time, or made now and kept.

    Of several processes that begin at once, one decodes and the others wait for it. What is kept is mapped, not read:
    processes share its memory. A damaged entry is made anew. A cache that cannot be written is told and done without.

    Args:
        parts: The images.
        shape: What they are decoded into.
        decode: Decodes all of them.
        where: The set, for messages.

    Raises:
        InputError: What `decode` raises.
    """
    try:
        content, size = _content(parts, where)
    except Exception:  # of an image that cannot be read, which `decode` names
        return decode()
    total = sum(map(len, parts))
    if total < WORTH_IMAGES and size < WORTH_BYTES:
        return decode()
    with ExitStack() as stack:
        try:
            folder = cache_folder() / "images" / _key(content, shape)
            entry = Entry(folder / PIXELS, [(len(part), shape.channels, *[shape.resolution] * 2) for part in parts])
            if (held := entry.read()) is not None:
                return held
            stack.enter_context(_alone(folder, f"{where} is being decoded by another process, which is waited for"))
            if (held := entry.read()) is not None:
                return held
        except (OSError, RuntimeError) as error:
            say(f"decoding {total:,} images of {where}, which cannot be kept: {first_line(error)}")
            return decode()
        say(f"decoding {total:,} images of {where} once, to {folder}")
        made = decode()
        try:
            if _content(parts, where)[0] != content:
                say(f"{where} changed while it was decoded, so that nothing is kept")
            else:
                entry.write(made)
        except (OSError, SafetensorError, ValueError) as error:  # of the place, or of an image that is gone by now
            say(f"the decoded images could not be kept: {first_line(error)}")
        return made


class Entry:
    """A file of decoded images, whose sums are checked whenever it is read.

    Args:
        file: Where it is, or will be.
        shapes: Of the tensors that it holds.
    """

    def __init__(self, file: Path, shapes: Sequence[tuple[int, ...]]) -> None:
        self.file = file
        self._damaged: tuple[int, ...] | None = None
        self.shapes = {str(number): shape for number, shape in enumerate(shapes)}

    def read(self) -> list[Tensor] | None:
        """The images, mapped; none if they are not there, or damaged, which is found and told once for a file."""
        if not self.file.is_file():
            return None
        found = self.file.stat()
        version = found.st_ino, found.st_mtime_ns, found.st_size
        if version == self._damaged:
            return None
        try:
            with utf8_name(self.file) as called, safe_open(called, framework="pt") as opened:
                sums = opened.metadata() or {}
                held = {name: opened.get_tensor(name) for name in self.shapes}
        except (OSError, SafetensorError):
            held, sums = {}, {}
        for name, shape in self.shapes.items():
            images = held.get(name)
            if images is None or images.dtype != torch.uint8 or images.shape != shape or _sum(images) != sums.get(name):
                self._damaged = version
                say(f"{self.file} is damaged and made anew")
                return None
        return list(held.values())

    def write(self, images: Sequence[Tensor]) -> None:
        """Write the images, whole or not at all."""
        named = dict(zip(self.shapes, images, strict=True))
        remove_partial(self.file.parent)
        with atomic_file(self.file) as beside:
            save_file(named, beside, {name: _sum(tensor) for name, tensor in named.items()})


def _content(parts: Sequence[Readable], where: str) -> tuple[str, int]:
    """A digest of the images' bytes, in their order, and how many bytes they are."""
    total, size = hashlib.sha256(), 0
    for part in parts:
        total.update(f"{len(part)} images".encode())
        for index in with_progress(range(len(part)), len(part), f"reading {where}"):
            one = hashlib.sha256()
            with part.read(index) as file:
                while piece := file.read(_PIECE):
                    one.update(piece)
                    size += len(piece)
            total.update(one.digest())
    return total.hexdigest(), size


def _key(content: str, shape: ImageShape) -> str:
    facts = f"{content}/{shape.channels}x{shape.resolution}/decoder {DECODER}/Pillow {PIL.__version__}"
    return hashlib.sha256(facts.encode()).hexdigest()


def _sum(images: Tensor) -> str:
    return hashlib.sha256(images.numpy().data).hexdigest()


@contextmanager
def _alone(folder: Path, waiting: str) -> Iterator[None]:
    """Within, no other process makes the entry in `folder`; the lock ends with the process, however that ends.

    A folder in which nothing was made is removed; who waits for its lock makes it anew.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"{waiting} ({folder / LOCK})")
        while not lock.is_locked:
            make_folder(folder)
            with suppress(FileNotFoundError):  # of a folder that went with the process that made nothing
                lock.acquire()
    try:
        yield
    finally:
        if not (folder / PIXELS).exists():
            with suppress(OSError):  # another process makes it anew already, or the system keeps what is open
                (folder / LOCK).unlink()
                folder.rmdir()
        lock.release()

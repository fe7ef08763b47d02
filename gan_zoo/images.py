"""Pictures from tensors."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from io import SEEK_END, BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor

from gan_zoo.errors import InputError
from gan_zoo.files import atomic_file, atomic_folder

MOST_PIXELS = 89_478_485
"""Largest picture that is written; Pillow suspects a decompression bomb in larger ones."""
CELL = 64
"""Least side in pixels at which an image is shown; a smaller one is enlarged by a whole factor."""
MOST_ENLARGED = 4096
"""Largest side in pixels of a grid whose images are enlarged; of more images, each is enlarged less."""
GAP = 2
"""White pixels between the images of a grid."""
ANIMATED = (".webp", ".gif")
ENDINGS = (".png", ".jpg", ".jpeg", *ANIMATED, ".pdf", ".tiff")
MAKER = "gan-zoo"
"""Written into every picture: as the software in EXIF, or in a GIF's comment."""

_SOFTWARE = 0x0131
_HEAD, _TAIL = 1024, 64


def check_ending(path: Path) -> None:
    """Check that a file name ends like a picture's.

    Raises:
        InputError: If it does not.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: the name of a picture must end in {', '.join(ENDINGS)}")


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes in 0…255, on the CPU; any shape."""
    return images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def cell_side(side: int) -> int:
    """Side at which pictures show an image: a whole multiple or fraction from 64 to 127; 84 for 28, 64 for 32."""
    return side * -(-CELL // side) if side < CELL else side // (side // CELL)


def grid(images: Tensor, columns: int, *, gap: int = GAP) -> Image.Image:
    """A picture of images [n, C, H, W] in [-1, 1], row by row, with `gap` white pixels between them.

    Images of less than 64 pixels are enlarged to `cell_side` without smoothing, as far as the picture keeps within
    4096 pixels on a side.
    """
    return mosaic([images], len(images), columns, gap=gap)


def mosaic(batches: Iterable[Tensor], n: int, columns: int, *, gap: int = GAP) -> Image.Image:
    """The `grid` of n images in batches [m, C, H, W], with one batch in memory at a time."""
    canvas, row, rows, factor = np.zeros(0, np.uint8), 0, -(-n // columns), 1
    for images in batches:
        _, channels, height, width = images.shape
        if not row:
            room = (MOST_ENLARGED // max(rows, columns) - gap) // height
            factor = max(1, min(cell_side(height) // height, room))
            size = rows * (height * factor + gap) - gap, columns * (width * factor + gap) - gap, channels
            canvas = np.full(size, 255, np.uint8)
        pixels = repeat(to_uint8(images), "n ch h w -> n (h a) (w b) ch", a=factor, b=factor).numpy()
        for image in pixels:
            top, left = row // columns * (len(image) + gap), row % columns * (image.shape[1] + gap)
            canvas[top : top + len(image), left : left + image.shape[1]] = image
            row += 1
    return Image.fromarray(canvas.squeeze(-1) if canvas.shape[-1] == 1 else canvas)


def most_images(side: int, *, gap: int = GAP) -> int:
    """The number of images of `side` pixels in a square `grid` of `MOST_PIXELS`."""
    return ((math.isqrt(MOST_PIXELS) + gap) // (side + gap)) ** 2


def png(image: Image.Image) -> bytes:
    """The bytes of a picture's PNG file."""
    file = BytesIO()
    image.save(file, "PNG", **_marks(".png"))
    return file.getvalue()


def inline(content: bytes) -> str:
    """A data URL of a PNG file, for pages that refer to no other file."""
    return f"data:image/png;base64,{b64encode(content).decode()}"


def save_image(
    image: Image.Image,
    path: Path,
    *,
    append: Sequence[Image.Image] = (),
    milliseconds: int = 100,
    lossless: bool = False,
) -> Path:
    """Write a picture atomically; the suffix decides the format.

    Args:
        image: The picture, or the first frame.
        path: The file.
        append: Further frames of an animation, which repeats endlessly.
        milliseconds: Duration of a frame.
        lossless: Whether an animation in WebP keeps every pixel; of enlarged grey images, it is smaller.

    Raises:
        OSError: If `path` cannot be written; nothing is left behind.
    """
    frames: dict[str, Any] = {"append_images": append, "duration": milliseconds, "loop": 0, "lossless": lossless}
    with atomic_file(path) as partial:
        image.save(partial, save_all=bool(append), **(frames if append else {}), **_marks(path.suffix))
    return path


def save_each(batches: Iterable[Tensor], n: int, folder: Path) -> Path:
    """Write n images of batches [m, C, H, W] in [-1, 1] as img00000.png, … into a new folder, completely or not at all.

    They are not enlarged.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    digits = max(5, len(str(n - 1)))
    with atomic_folder(folder) as partial:
        for index, pixels in enumerate(chain.from_iterable(map(to_uint8, batches))):
            image = Image.fromarray(rearrange(pixels, "ch h w -> h w ch").numpy().squeeze())
            (partial / f"img{index:0{digits}}.png").write_bytes(png(image))
    return folder


def is_made_here(path: Path) -> bool:
    """Whether gan-zoo wrote a picture, by its first and last bytes; BMP has no room for the mark."""
    try:
        if not path.is_file():  # a pipe may never end
            return False
        with path.open("rb") as file:
            ends = file.read(_HEAD)
            file.seek(-min(_TAIL, file.seek(0, SEEK_END)), SEEK_END)
            return MAKER.encode() in ends + file.read()
    except OSError:
        return False


def _marks(ending: str) -> dict[str, Any]:
    """Arguments for Pillow's `save` that mark a picture for `is_made_here`."""
    if ending.lower() == ".gif":
        return {"comment": MAKER}
    exif = Image.Exif()
    exif[_SOFTWARE] = MAKER
    return {"exif": exif.tobytes()}

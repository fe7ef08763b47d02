"""Fit images into one shape: cropped, padded or stretched to a square, antialiased bicubic resize, grey or colour.

Arrays are resized by torch and files by Pillow, with the same filter and the same luma weights.

Letters in shapes: n images, c channels and h by w pixels before, C channels and R by R pixels after.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from einops import einsum, repeat
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from gan_zoo.config import Fit
from gan_zoo.data.png import laid_on_white, stored
from gan_zoo.shapes import ImageShape

FORMATS = (
    "PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "AVIF", "QOI", "DIB", "PCX", "SGI",
)  # fmt: skip
"""What Pillow may decode; formats that run another program (EPS, WMF) are excluded."""
SUFFIXES = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k", ".avif", ".qoi", ".pcx", ".sgi",
))  # fmt: skip
"""Endings of image files, in lower case."""
MAX_PIXELS = 89_478_485
"""Larger images are refused undecoded; Pillow suspects a decompression bomb from here on."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), as in Pillow."""

DECODER = 2
"""Version of `decode`; increased when its pixels change, which invalidates the cache."""

_CHUNK = 2**24


def side_of(size: Sequence[int], how: Fit) -> int:
    """The side of the square that an image of `size` becomes without resizing: its longer one if it gets bars."""
    return max(size) if how == "pad" else min(size)


def inner_size(size: Sequence[int], side: int, how: Fit) -> tuple[int, ...]:
    """The size, with sides in the order of `size`, that an image takes in a square of `side` pixels."""
    if how != "pad":
        return (side, side)
    return tuple(max(1, round(length * side / max(size))) for length in size)


def fit(images: Tensor, shape: ImageShape, how: Fit = "crop") -> Tensor:
    """Fit uint8 images [n, c, h, w], c in {1, 3}, into `shape`: uint8 [n, C, R, R]."""
    if how == "crop":
        side = min(images.shape[-2:])
        top, left = ((size - side) // 2 for size in images.shape[-2:])
        images = images[..., top : top + side, left : left + side]
    square = (shape.channels, shape.resolution, shape.resolution)
    if images.shape[1:] == square:
        return images.contiguous()
    height, width = inner_size(images.shape[-2:], shape.resolution, how)
    top, left = (shape.resolution - height) // 2, (shape.resolution - width) // 2
    count = max(1, _CHUNK // max(3 * images.shape[-2] * images.shape[-1], shape.pixels))
    fitted = torch.zeros(len(images), *square, dtype=torch.uint8)
    for chunk, place in zip(images.split(count), fitted.split(count), strict=True):
        resized = _resize(_recolour(chunk, shape.channels), (height, width))
        place[..., top : top + height, left : left + width] = resized
    return fitted


def _recolour(images: Tensor, channels: int) -> Tensor:
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return repeat(images, "n 1 h w -> n c h w", c=3)
    grey = einsum(images.float(), torch.tensor(LUMA), "n c h w, c -> n h w")
    return grey.round_().to(torch.uint8)[:, None]


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    resized = interpolate(images.float(), size, mode="bicubic", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def fit_note(sizes: Sequence[Sequence[int]], how: Fit, count: int) -> list[str]:
    """A line on what `how` does to those of some images that are not square; none if all are.

    Args:
        sizes: Height and width of images, or width and height.
        how: How they are fitted.
        count: Number of images of the dataset.
    """
    odd = [min(size) / max(size) for size in sizes if size[0] != size[1]]
    if not odd:
        return []
    effect = {
        "crop": f"cuts {1 - sum(odd) / len(odd):.0%} of their area; a model trained with pad or stretch keeps it",
        "pad": "adds black bars",
        "stretch": "changes their proportions",
    }[how]
    looked_at = " looked at" if len(sizes) < count else ""
    return [f"{len(odd):,} of {len(sizes):,} images{looked_at} are not square: data.fit = {how} {effect}"]


def open_file(path: Path) -> BinaryIO:
    """Open a file of an encoded image.

    Raises:
        ValueError: If it is not a regular file, as a pipe may never end.
        OSError: If it cannot be opened.
    """
    if not path.is_file():
        raise ValueError("not a regular file" if path.exists() else "no such file")
    return path.open("rb")


def open_image(file: BinaryIO) -> Image.Image:
    """Open an encoded image without decoding its pixels; `file` must stay open until they are decoded.

    Raises:
        ValueError: If it has more than `MAX_PIXELS` pixels.
        Exception: Of any type, if Pillow cannot read the file.
    """
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}×{image.height}"
        image.close()
        raise ValueError(f"{size} pixels, more than {MAX_PIXELS:,}")
    return image


def channels_of(image: Image.Image) -> int:
    """1 if the image is stored as grey of any depth, with or without alpha, else 3."""
    return 1 if stored(image) == "LA;16B" or (image.mode[0] in "1LIF" and image.mode != "LAB") else 3


def decode(image: Image.Image, shape: ImageShape, how: Fit = "crop") -> Tensor:
    """Decode an opened image into uint8 [C, R, R].

    The first frame is used; EXIF's rotation is applied; transparent parts become white; 16-bit grey is scaled to
    8 bits; floating-point grey must lie in [0, 1].

    Raises:
        ValueError: If floating-point values lie outside [0, 1].
        Exception: Of any type, if Pillow cannot read the file.
    """
    image.draft(None, (2 * shape.resolution, 2 * shape.resolution))
    image = _eight_bits(ImageOps.exif_transpose(laid_on_white(image))).convert("L" if shape.channels == 1 else "RGB")
    if how == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))  # first, or the resize filter reads beyond the square
    width, height = inner_size(image.size, shape.resolution, how)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    if how == "pad":
        square = Image.new(image.mode, (shape.resolution, shape.resolution))
        square.paste(image, ((shape.resolution - width) // 2, (shape.resolution - height) // 2))
        image = square
    array = np.array(image, dtype=np.uint8).reshape(shape.resolution, shape.resolution, shape.channels)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("L" if channels_of(image) == 1 else "RGB")
    if image.mode[0] == "I":
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"floating-point values from {values.min():g} to {values.max():g}; accepted: 0 to 1")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    return image.convert("L" if channels_of(image) == 1 else "RGB")

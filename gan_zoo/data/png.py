"""PNG features that Pillow drops: the lower byte of 16-bit channels, a transparent colour at depths other than 8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

_ORIENTATION = 0x0112
_STEP = {"L;2": 85, "L;4": 17}
"""Step between adjacent greys in 8 bits, for 4 and 16 levels."""
_LOWER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""Raw modes by which Pillow decodes the lower bytes instead of the upper ones."""


def stored(image: Image.Image) -> str:
    """Pillow's raw mode of an undecoded image, such as ``LA;16B``; empty if it is not a PNG."""
    return str(image.tile[0].args) if isinstance(image, PngImageFile) and image.tile else ""


def laid_on_white(image: Image.Image) -> Image.Image:
    """A PNG with 16-bit channels and alpha, colours or a transparent grey as 8-bit L or RGB on white.

    Other images are returned as they are, after Pillow's value of the transparent grey is corrected at 2 and 4 bits.
    """
    kind, key = stored(image), image.info.get("transparency")
    if key is not None and kind in _STEP:
        image.info["transparency"] = key * _STEP[kind]
    if not isinstance(image, PngImageFile) or not kind.endswith(";16B") or (kind == "I;16B" and key is None):
        return image
    values = _values(image, kind)
    if kind in ("RGBA;16B", "LA;16B"):
        values, opaque = values[..., :-1], values[..., -1:].astype(np.uint32)
    else:
        seen = np.ones(image.size[::-1], bool) if key is None else (values != key).any(-1)
        opaque = seen[..., None] * np.uint32(65535)
    dark = (65535 - values) * opaque // 65535  # the product is below 2 ** 32
    eight = (255 - (dark + 128) // 257).astype(np.uint8)
    flat = Image.fromarray(eight[..., 0] if eight.shape[-1] == 1 else eight)
    flat.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return flat


def _values(image: PngImageFile, kind: str) -> NDArray[np.uint16]:
    """The 16-bit values of each channel, [H, W, C]."""
    if kind == "I;16B":
        return np.asarray(image).astype(np.uint16)[..., None]
    if kind == "LA;16B":  # four bytes per pixel
        return _bytes(image, "RGBA").view(">u2").astype(np.uint16)
    file = image.fp
    upper = _bytes(image, kind).astype(np.uint16)
    assert file is not None
    file.seek(0)
    again = PngImageFile(file)
    return upper * np.uint16(256) + _bytes(again, _LOWER[kind])


def _bytes(image: PngImageFile, kind: str) -> NDArray[np.uint8]:
    """The bytes that Pillow decodes by the raw mode `kind`."""
    image.tile = [tile._replace(args=kind) for tile in image.tile]
    return np.array(image)

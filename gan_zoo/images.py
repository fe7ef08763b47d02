"""Pictures from tensors."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from gan_zoo.files import whole

MAKER = "gan-zoo"
"""Stands in every picture that is written here, as the software of its EXIF or in a GIF's comment."""

_SOFTWARE = 0x0131
_HEAD, _TAIL = 1024, 64


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes in 0…255, on the CPU; any shape."""
    return images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def grid(images: Tensor, columns: int, *, gap: int = 2) -> Image.Image:
    """A picture of images [n, C, H, W] in [-1, 1], row after row, with `gap` white pixels between them."""
    missing = -len(images) % columns
    framed = torch.nn.functional.pad(images.detach().float().cpu(), (0, gap, 0, gap), value=1.0)
    framed = torch.cat([framed, framed.new_ones(missing, *framed.shape[1:])])
    pixels = rearrange(to_uint8(framed), "(r c) ch h w -> (r h) (c w) ch", c=columns)
    pixels = pixels[: -gap or None, : -gap or None]
    return Image.fromarray(pixels.squeeze(-1).numpy())


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = BytesIO()
    image.save(file, "PNG", **_marks(".png"))
    return file.getvalue()


def inline(content: bytes) -> str:
    """The bytes of a PNG file as an address that holds them: a page with it asks for no file."""
    return f"data:image/png;base64,{b64encode(content).decode()}"


def save_image(image: Image.Image, path: Path, *, append: Sequence[Image.Image] = (), milliseconds: int = 100) -> Path:
    """Write a picture, whole or not at all; the format follows the name.

    Args:
        image: The picture, or the first frame.
        path: Where to.
        append: The further frames of an animation, which then runs for ever.
        milliseconds: How long each frame stands.

    Raises:
        OSError: If the place cannot be written; nothing is left behind.
    """
    frames: dict[str, Any] = {"append_images": append, "duration": milliseconds, "loop": 0}
    with whole(path) as beside:
        image.save(beside, save_all=bool(append), **(frames if append else {}), **_marks(path.suffix))
    return path


def is_made_here(path: Path) -> bool:
    """Whether a file is a picture that gan-zoo wrote, by what its first and last bytes say; BMP cannot say it."""
    try:
        if not path.is_file():  # which may have no end
            return False
        with path.open("rb") as file:
            ends = file.read(_HEAD)
            file.seek(-min(_TAIL, file.seek(0, SEEK_END)), SEEK_END)
            return MAKER.encode() in ends + file.read()
    except OSError:
        return False


def _marks(ending: str) -> dict[str, Any]:
    """What Pillow is to write into a picture, so that `is_made_here` knows it."""
    if ending.lower() == ".gif":
        return {"comment": MAKER}
    exif = Image.Exif()
    exif[_SOFTWARE] = MAKER
    return {"exif": exif.tobytes()}

"""Every kind of PNG against the format's definition: colour type × bit depth × transparency, interlaced or not."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan_zoo.data.pixels import channels_of, decode, open_image
from gan_zoo.shapes import ImageShape

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), COLOUR: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), COLOUR_ALPHA: (8, 16)}
KINDS = [
    (colour, depth, transparent)
    for colour, depths in DEPTHS.items()
    for depth in depths
    for transparent in (False, True)[: 1 if colour in (GREY_ALPHA, COLOUR_ALPHA) else 2]
]
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""First row and column of each part of an interlaced image, and the steps to the next ones."""
SIDE = 8


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def rows(values: NDArray[Any], depth: int) -> bytes:
    """Samples [h, w, c] as rows without a filter."""
    if depth >= 8:
        return b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in values)
    bits = np.unpackbits(values.astype(np.uint8), axis=-1)[..., -depth:].reshape(len(values), -1)
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=-1))


def png(values: NDArray[Any], colour: int, depth: int, *, interlaced: bool = False, before: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, interlaced)
    parts = [values[top::down, left::right] for top, left, down, right in PASSES] if interlaced else [values]
    pixels = zlib.compress(b"".join(rows(part, depth) for part in parts))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def read(data: bytes) -> tuple[int, NDArray[Any]]:
    """Channels as the survey finds them, and the pixels [h, w, c]."""
    with open_image(io.BytesIO(data)) as image:
        channels = channels_of(image)
        return channels, decode(image, ImageShape(channels, SIDE)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth", "transparent"), KINDS)
def test_pixels_are_what_the_format_defines(colour: int, depth: int, transparent: bool, interlaced: bool) -> None:
    random = np.random.default_rng(colour * 100 + depth)
    top = 2**depth - 1
    values = random.integers(0, top, (SIDE, SIDE, CHANNELS[colour]), endpoint=True)
    values[0, 0], values[0, 1] = 0, top
    before, seen = b"", np.ones((SIDE, SIDE, 1))
    if colour == PALETTE:
        palette, opaque = random.integers(0, 256, (top + 1, 3)), np.full(top + 1, 255)
        before = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        if transparent:
            opaque[: top // 2 + 1] = random.integers(0, 256, top // 2 + 1)
            before += chunk(b"tRNS", opaque[: top // 2 + 1].astype(np.uint8).tobytes())
        shades, seen = palette[values[..., 0]] / 255, opaque[values] / 255
    elif colour in (GREY_ALPHA, COLOUR_ALPHA):
        shades, seen = values[..., :-1] / top, values[..., -1:] / top
    else:
        if transparent:
            key = np.minimum(values[3, 3], top - 1)  # not white, which would tell nothing
            values[4, 4] = key
            if depth == 16:  # the same upper byte, and one that ends like it
                values[5, 5], values[5, 6] = key ^ 1, key ^ 256
            before = chunk(b"tRNS", key.astype(">u2").tobytes())
            seen = 1.0 - (values == key).all(-1, keepdims=True)
        shades = values / top
    expected = (shades * seen + 1 - seen) * 255
    channels, found = read(png(values, colour, depth, interlaced=interlaced, before=before))
    assert channels == (1 if colour in (GREY, GREY_ALPHA) else 3)
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("depth", [2, 4])
def test_every_transparent_grey_of_few_is_found(depth: int) -> None:
    values = np.arange(SIDE * SIDE).reshape(SIDE, SIDE, 1) % 2**depth
    for key in range(2**depth - 1):
        _, found = read(png(values, GREY, depth, before=chunk(b"tRNS", struct.pack(">H", key))))
        expected = np.where(values == key, 255, values * (255 // (2**depth - 1)))
        assert (found == expected).all(), key


def test_sixteen_bits_of_grey_with_a_transparent_one_keep_their_ramp() -> None:
    values = np.tile(np.linspace(0, 65535, SIDE).astype(int), (SIDE, 1))[..., None]
    _, found = read(png(values, GREY, 16, before=chunk(b"tRNS", b"\0\0")))
    assert found[0, :, 0].tolist() == [255, 36, 73, 109, 146, 182, 219, 255]


@pytest.mark.parametrize("colour", [GREY_ALPHA, COLOUR, COLOUR_ALPHA])
def test_rotation_is_applied_to_sixteen_bits(colour: int) -> None:
    values = np.full((SIDE, SIDE, CHANNELS[colour]), 65535)
    values[:, : SIDE // 2, : 1 if colour == GREY_ALPHA else 3] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    _, found = read(png(values, colour, 16, before=chunk(b"eXIf", exif.tobytes()[6:])))
    assert found[0].max() == 0 and found[-1].min() == 255, "the left half is shown as the upper one"

"""Images that somebody brings to a trained model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

REACH = 1.5
"""How far values of images in [-1, 1] may lie from 0: interpolation overshoots, other scales reach further."""


def given_images(images: Any, image: ImageShape) -> Tensor:
    """Images [n, C, H, W] in [-1, 1] of a model's shape, from a tensor or a numpy array of floats.

    Values that seem to lie in [0, 1] are warned of.

    Raises:
        InputError: If they are of another shape or type, or do not lie in [-1, 1].
    """
    channels, side = image.channels, image.resolution
    wanted = f"the images are floats [n, {channels}, {side}, {side}] in [-1, 1]"
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        images = torch.from_numpy(np.array(images, np.float32))
    if not isinstance(images, Tensor | np.ndarray):
        raise InputError(f"{wanted}, not a {type(images).__name__}")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1:] != (channels, side, side):
        hint = ": images[None] adds the first axis" if shape == (channels, side, side) else ""
        hint = ": channels come before height and width" if shape[-3:] == (side, side, channels) else hint
        raise InputError(f"{wanted}, not {list(shape)}{hint}")
    if not isinstance(images, Tensor) or not images.is_floating_point():
        hint = ": images / 127.5 - 1 makes them so" if str(images.dtype).endswith("uint8") else ""
        raise InputError(f"{wanted}, not {images.dtype}{hint}")
    if not torch.compiler.is_exporting() and len(images):
        low, high = (bound.item() for bound in images.aminmax())
        if not -REACH <= low <= high <= REACH:
            raise InputError(f"{wanted}, not values from {low:g} to {high:g}; images / 127.5 - 1 scales 0 to 255")
        if 0 <= low < high:  # of images in [-1, 1] hardly one is as bright throughout
            seen = f"those from {low:g} to {high:g} seem to lie in [0, 1]"
            warnings.warn(f"{wanted}; {seen}: 2 * images - 1", stacklevel=4)
    return images

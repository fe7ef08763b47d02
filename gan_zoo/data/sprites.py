"""Sprites: white shapes on black, with the factors and counts of dSprites (Matthey et al., 2017), drawn on request.

Lengths are fractions of the image's side. Letters in shapes: n images, R the resolution.
"""

from __future__ import annotations

from functools import partial
from math import pi, sqrt

import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data.assemble import settle_labels, settle_shape
from gan_zoo.data.dataset import Dataset, LazyImages, Split
from gan_zoo.data.factors import Factors

FACTORS = Factors(("shape", "scale", "orientation", "x", "y"), (3, 6, 40, 32, 32))
SQUARE, ELLIPSE, HEART = range(3)
RESOLUTION = 64

SCALES = torch.linspace(0.5, 1, 6, dtype=torch.float64)
ANGLES = torch.linspace(0, 2 * pi, 40, dtype=torch.float64)
POSITIONS = torch.linspace(0, 1, 32, dtype=torch.float64)

REACH = 0.24
"""Largest distance from the centre of a sprite of scale 1 to a point of it."""
AREA = 2 * REACH**2
"""Area of every sprite of scale 1, in all shapes."""
SPAN = 31 / 64
"""Range of the centres: one pixel a step at 64 pixels, with every sprite inside the image."""

_HALF_SIDE = sqrt(AREA) / 2
_AXES = REACH, AREA / (pi * REACH)
# The heart is a square on its corner and a half-disc on each of its upper sides.
_HEART_SIDE = sqrt(AREA / (1 + pi / 4))
_HEART_HALF_DIAGONAL = _HEART_SIDE / sqrt(2)
_LOBES = AREA - _HEART_SIDE**2
_LOBE_CENTROID = _HEART_HALF_DIAGONAL / 2 + sqrt(2) * _HEART_SIDE / (3 * pi)
_HEART_CENTROID = _LOBES * _LOBE_CENTROID / AREA  # above the square's centre


def draw(shape: Tensor, scale: Tensor, angle: Tensor, x: Tensor, y: Tensor, resolution: int) -> Tensor:
    """Sprites with a soft edge one pixel wide, uint8 [n, 1, R, R]; x and y give their centres of mass.

    Args:
        shape: int64 [n]: 0 a square, 1 an ellipse, 2 a heart.
        scale: [n] in (0, 1]; the area grows with its square.
        angle: [n], anticlockwise in radians; 0 has the square upright, the ellipse wide and the heart on its tip.
        x: [n] in [0, 1], from left to right.
        y: [n] in [0, 1], from top to bottom.
        resolution: R.
    """
    pixels = torch.empty(len(shape), resolution, resolution, dtype=torch.uint8)
    grid = torch.arange(resolution) + 0.5
    size = scale.float()[:, None, None] * resolution
    right = grid - _centre(x, resolution)
    up = _centre(y, resolution) - grid
    cos, sin = (f(angle.double()).float()[:, None] for f in (torch.cos, torch.sin))
    across = (right * cos)[:, None, :], (up * sin)[:, :, None]
    along = (right * -sin)[:, None, :], (up * cos)[:, :, None]
    for kind, distance in enumerate((_to_square, _to_ellipse, _to_heart)):
        (rows,) = torch.where(shape == kind)
        if len(rows):
            u, v = (one[rows] + other[rows] for one, other in (across, along))
            pixels[rows] = distance(u, v, size[rows]).sub_(0.5).mul_(-255).round_().clamp_(0, 255).to(torch.uint8)
    return pixels[:, None]


def _centre(position: Tensor, resolution: int) -> Tensor:
    """Positions [n] in [0, 1] to centres [n, 1] in pixels."""
    return ((0.5 + SPAN * (position.double() - 0.5)) * resolution).float()[:, None]


# Signed distances in pixels from a shape's outline, negative inside; accurate near the outline. u points to the shape's
# right, v to its top, both from its centre of mass. They overwrite u and v.


def _to_square(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    return torch.maximum(u.abs_(), v.abs_()).sub_(_HALF_SIDE * size)


def _to_ellipse(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    """f / ‖∇f‖ of f = u²/a² + v²/b² - 1: the first-order approximation."""
    a, b = (axis * size for axis in _AXES)
    u.div_(a)
    v.div_(b)
    slope = (u / a).square_().add_((v / b).square_()).sqrt_().mul_(2)
    return u.square_().add_(v.square_()).sub_(1).div_(slope.clamp_(min=1e-6))


def _to_heart(u: Tensor, v: Tensor, size: Tensor) -> Tensor:
    half, side = _HEART_HALF_DIAGONAL * size, _HEART_SIDE * size
    u.abs_()
    v.add_(_HEART_CENTROID * size)
    square = v.abs().add_(u).sub_(half).mul_(1 / sqrt(2))
    lobe = u.sub_(half / 2).square_().add_(v.sub_(half / 2).square_()).sqrt_().sub_(side / 2)
    return torch.minimum(square, lobe)


def _drawn(resolution: int, indices: Tensor) -> Tensor:
    """Sprites `indices` (int64 [n]) of the dataset, uint8 [n, 1, R, R]."""
    shape, scale, angle, x, y = FACTORS.values(indices).unbind(1)
    return draw(shape, SCALES[scale], ANGLES[angle], POSITIONS[x], POSITIONS[y], resolution)


def sprites(settings: Data) -> Dataset:
    """737,280 grey sprites of 64×64 pixels or of `settings.resolution`: every combination of `FACTORS` once.

    Scales are 0.5 to 1, angles 0 to 2π, x and y 0 to 1, all in even steps with both ends included (the first and the
    last angle coincide, as in dSprites). The label is the shape. There is no test split: the set is the population.
    """
    where = "data 'sprites'"
    shape = settle_shape(settings, sides=(RESOLUTION, RESOLUTION), channels=1, where=where)
    every = torch.arange(FACTORS.count)
    labels = settle_labels(settings, FACTORS.values(every)[:, 0], classes=FACTORS.sizes[0], where=where)
    images = LazyImages(partial(_drawn, shape.resolution), shape, every, needs_workers=False)
    return Dataset(settings.name, shape, labels.classes, Split(images, labels.splits[0]), factors=FACTORS)

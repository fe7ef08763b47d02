"""The codes of a pair of images: one is shared, the others differ (Lin et al., 2020, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_zoo.draws import Draws
from gan_zoo.models.gan.codes import Code


def couple(
    first: Tensor, second: Tensor, shared: Tensor, codes: Sequence[Code], *, gap: float, random: Draws
) -> tuple[Tensor, Tensor]:
    """Two independent draws of codes as the codes of a pair.

    Both members have the first draw's value of the code `shared`. Other categorical and bernoulli codes differ, and
    continuous ones are at least `gap` apart.

    Args:
        first: Codes drawn from the prior [n, number of codes].
        second: The same, drawn independently.
        shared: The index of the code that each pair shares, int64 [n].
        codes: The codes of the columns.
        gap: The minimal distance of continuous codes that are not shared, 0 to 2.
        random: Draws the other value of a categorical code; pair i is made from rows 2i and 2i + 1.

    Returns:
        The codes of both members, [n, number of codes] each.
    """
    columns = []
    for index, code in enumerate(codes):
        a, b = first[:, index], second[:, index]
        match code.kind:
            case "categorical":
                offset = 1 + random.integers(2 * len(a), code.classes - 1)[::2]
                pair = a, (a + offset) % code.classes
            case "bernoulli":
                pair = a, 1 - a
            case "uniform":
                pair = part_uniform(a, b, gap)
            case "gaussian":
                pair = part_gaussian(a, b, gap)
        is_shared = shared == index
        columns.append((torch.where(is_shared, a, pair[0]), torch.where(is_shared, a, pair[1])))
    one, other = zip(*columns, strict=True)
    return torch.stack(one, 1), torch.stack(other, 1)


def part_uniform(a: Tensor, b: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Map independent a, b ~ U(-1, 1) to a pair that is uniform on {|a - b| ≥ gap} within the square.

    The square is scaled to side 2 - gap and cut along a = b; moving its halves apart by gap gives the two triangles of
    that set.
    """
    away = torch.where(a >= b, gap / 2, -gap / 2)
    return a * (1 - gap / 2) + away, b * (1 - gap / 2) - away


def part_gaussian(a: Tensor, b: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Map independent a, b ~ N(0, 1) to a pair with their joint density, conditioned on |a - b| ≥ gap.

    The sum is independent of the difference and stays. The difference is N(0, 2), so erfc(|a - b| / 2), the probability
    of a larger one, is uniform; it is scaled by the tail's probability erfc(gap / 2) and inverted.
    """
    if gap == 0:
        return a, b
    middle, difference = (a + b).double() / 2, (a - b).double()
    beyond = torch.erfc(difference.abs() / 2) * math.erfc(gap / 2)
    half = torch.erfinv(1 - beyond.clamp_min(2.0**-52)).copysign(difference)
    return (middle + half).to(a), (middle - half).to(b)

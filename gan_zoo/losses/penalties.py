"""Gradient penalties, which bound the gradient of D with respect to images.

Both return unweighted float32 scalars that can be differentiated once more with respect to D's weights; the caller
multiplies by λ or γ. Gradients and norms are computed in float32 under any autocast (float64 stays float64). The
gradient of the *sum* of logits consists of each image's gradient unless images mix in D, as with batch norm; there the
penalty is the usual approximation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ = ε x + (1 − ε) G(z): Gulrajani et al., 2017, eq. 3, without its λ (10).

    D runs in float32 here, under any autocast. Where ∇D = 0, the penalty is 1 and its gradient 0.

    Args:
        discriminate: Images [n, C, R, R] to logits [n] or [n, 1].
        real: Images [n, C, R, R].
        fake: As many generated images; no gradient flows into them.
        mix: ε, uniform in [0, 1), [n, 1, 1, 1].
    """
    real, fake, mix = (_full(x.detach()) for x in (real, fake, mix))
    with torch.autocast(real.device.type, enabled=False):
        between = torch.lerp(fake, real, mix.to(real.dtype)).requires_grad_()
        slope = _slope(discriminate(between), between)
        steepness: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
        return (steepness - 1).square().mean()


def zero_centred_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """½ E[‖∇D(x)‖₂²]: Mescheder et al., 2018, without its γ; R1 (eq. 9) on reals, R2 (eq. 10) on fakes.

    Compute that pass in float32 if possible: differentiated twice, bfloat16 rounds and float16 overflows.

    Args:
        logits: D(images), [n] or [n, 1], from a pass with ``images.requires_grad``.
        images: [n, C, R, R].
    """
    with torch.autocast(images.device.type, enabled=False):
        return 0.5 * _slope(logits, images).flatten(1).square().sum(1).mean()


def _slope(logits: Tensor, images: Tensor) -> Tensor:
    """∇D at each image, [n, C, R, R], itself differentiable."""
    (slope,) = torch.autograd.grad(_full(logits).sum(), images, create_graph=True)
    return _full(slope)


def _full(x: Tensor) -> Tensor:
    """`x` in float32, or float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

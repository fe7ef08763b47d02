"""Self-augmented information maximisation (Hu et al., 2017, arXiv:1702.08720): the warp of images, and the term.

As in `functional`, arguments are checked here, once, and passed to the chosen implementation. What the kernels do not
cover, a warp that needs a gradient or a large batch of codes, goes to plain torch whatever implementation is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import fused, reference_consistency, reference_warp
from .dispatch import Implementation, implementation_for
from .functional import check_floating
from .layout import Layout
from .reference import compute_dtype
from .reference_warp import WarpSteps


def random_warp(
    images: Tensor,
    normals: Tensor | None,
    values: Tensor | None,
    steps: WarpSteps,
    *,
    implementation: Implementation | None = None,
) -> Tensor:
    """Mirror, scale, stretch, slant, turn, move and bend each image by its own draws, in one bilinear resampling.

    `reference_warp.warp` is the definition of the steps, and `WarpSteps` of what each draws. What comes in from outside
    continues the image's edge.

    Args:
        images: [n, c, h, w] floating-point, contiguous, channels-last or any view.
        normals: [n, steps.normals] from N(0, 1), float32. May be None where `steps.normals` is 0.
        values: [n, steps.values], float32, drawn uniformly or otherwise. May be None where `steps.values` is 0.
        steps: Which steps there are.

    The fused path is one launch. It takes images of at most 4 channels that need no gradient; all others are
    warped by plain torch, which is differentiable twice in the images.

    Returns: [n, c, h, w] in the images' dtype; the fused path keeps their memory format.
    Raises: ValueError for shapes or devices, TypeError for dtypes.
    """
    check_floating(images=images)
    if images.ndim != 4:
        raise ValueError(f"images must be [n, c, h, w], not {list(images.shape)}")
    _check_draws("normals", normals, steps.normals, images)
    _check_draws("values", values, steps.values, images)
    choice = implementation_for(images.device, implementation, dtype=compute_dtype(images))
    needs_gradient = images.requires_grad and torch.is_grad_enabled()
    if choice.path == "triton" and not needs_gradient and 1 <= images.shape[1] <= 4:
        return fused.random_warp.random_warp(images, normals, values, steps)
    return reference_warp.random_warp(images, normals, values, steps)


def consistency(
    parameters: Tensor,
    warped: Tensor,
    layout: Layout,
    *,
    spread: float,
    log_priors: Sequence[Tensor] | None = None,
    over_ranks: Callable[[Tensor], Tensor] | None = None,
    implementation: Implementation | None = None,
) -> Tensor:
    """E[CE(Q(c | x), Q(c | T(x)))] + spread · KL(E[Q(c | x)] ‖ P(c)), summed over the categorical codes, in nats.

    A real image and its warped copy T(x) are to get the same code, and all images together are to use its values as
    often as the prior does (Krause et al., 2010, section 3). Under a uniform prior the second is log K less the entropy
    of the mean code; there the constant log K is left out of the value.

    The paper holds Q(c | x) fixed in the first (its R_SAT) and rewards certainty, -H(c | x), by a summand of its own.
    Here both sides are trained: CE(p, q) = KL(p ‖ q) + H(p), so that certainty is asked for with weight 1.

    Args:
        parameters: Of Q(c | x) [n, layout.width], floating-point.
        warped: Of Q(c | T(x)) of all images, or of the first m of them, [m, layout.width], floating-point.
        layout: Which columns parametrise which code.
        spread: Weight of the divergence of the mean code from the prior.
        log_priors: log P(c) [K] of each categorical code in the order of the layout; None where all are uniform.
        over_ranks: Gives the mean of all ranks' tensors, differentiably, where each has images of its own; the mean
            code is then that of all of them.

    The fused path takes n up to 1,024 (fewer for codes of more than 128 classes), constant log_priors and one rank;
    anything else goes to plain torch.

    Returns: a scalar, float32 (float64 if an input is float64); 0 if no code is categorical.
    Raises: ValueError for shapes or devices, TypeError for dtypes.
    """
    check_floating(parameters=parameters, warped=warped)
    n, m = len(parameters), len(warped)
    if parameters.shape != (n, layout.width) or warped.shape != (m, layout.width) or m > n:
        shapes = f"{list(parameters.shape)} and {list(warped.shape)}"
        raise ValueError(f"parameters and warped must be [n, {layout.width}] and [m ≤ n, {layout.width}], not {shapes}")
    if warped.device != parameters.device:
        raise ValueError(f"parameters are on {parameters.device}, warped on {warped.device}")
    columns = reference_consistency.categorical_columns(layout)
    sizes = [at.stop - at.start for at in columns]
    if log_priors is not None and [p.shape for p in log_priors] != [(size,) for size in sizes]:
        raise ValueError(f"log_priors must have {sizes} values, not {[list(p.shape) for p in log_priors]}")
    dtype = compute_dtype(parameters, warped, *(log_priors or ()))
    choice = implementation_for(parameters.device, implementation, dtype=dtype)
    fits = columns and m > 0 and over_ranks is None and not any(p.requires_grad for p in log_priors or ())
    if choice.path == "triton" and fits and fused.consistency.covers(n, layout):
        return fused.consistency.consistency(parameters, warped, layout, float(spread), log_priors)
    return reference_consistency.consistency(parameters, warped, layout, spread, log_priors, over_ranks)


def _check_draws(name: str, draws: Tensor | None, columns: int, images: Tensor) -> None:
    if draws is None:
        if columns:
            raise ValueError(f"{name} [{len(images)}, {columns}] must be given for these steps")
        return
    if draws.shape != (len(images), columns):
        raise ValueError(f"{name} must be [{len(images)}, {columns}], not {list(draws.shape)}")
    if draws.dtype != torch.float32 and not draws.dtype == images.dtype == torch.float64:
        raise TypeError(f"{name} must be float32, not {draws.dtype}")
    if draws.device != images.device:
        raise ValueError(f"images are on {images.device}, {name} on {draws.device}")

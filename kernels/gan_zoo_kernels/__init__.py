"""Fused kernels for the information term of InfoGAN, and the plain torch that defines them."""

from .dispatch import Choice, Implementation, implementation_for
from .functional import Reduction, cross_entropy, gaussian_nll, q_head_nll, sample_latents
from .layout import Kind, Layout, PriorCode, PriorLayout, Segment
from .reference_warp import WarpSteps
from .self_augmentation import consistency, random_warp

__all__ = [
    "Choice",
    "Implementation",
    "Kind",
    "Layout",
    "PriorCode",
    "PriorLayout",
    "Reduction",
    "Segment",
    "WarpSteps",
    "consistency",
    "cross_entropy",
    "gaussian_nll",
    "implementation_for",
    "q_head_nll",
    "random_warp",
    "sample_latents",
]

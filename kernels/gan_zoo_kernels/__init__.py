"""Fused kernels for the information term of InfoGAN, and the plain torch that defines them."""

from .dispatch import Choice, Implementation, implementation_for
from .functional import Reduction, cross_entropy, gaussian_nll, q_head_nll, sample_latents
from .layout import Kind, Layout, PriorCode, PriorLayout, Segment
from .norms import batch_norm, leaky_relu

__all__ = [
    "Choice",
    "Implementation",
    "Kind",
    "Layout",
    "PriorCode",
    "PriorLayout",
    "Reduction",
    "Segment",
    "batch_norm",
    "cross_entropy",
    "gaussian_nll",
    "implementation_for",
    "leaky_relu",
    "q_head_nll",
    "sample_latents",
]

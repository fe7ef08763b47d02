"""Fused kernels for the information term of InfoGAN, and the plain torch that defines them."""

from .adam import adam_step
from .binary_cross_entropy import binary_cross_entropy
from .dispatch import Choice, Implementation, implementation_for
from .functional import Reduction, cross_entropy, gaussian_nll, q_head_nll, sample_latents
from .information_objective import (
    QHeadTensors,
    at_variances,
    fuses_information,
    information_term,
    record_variances,
)
from .layout import Layout
from .norms import batch_norm, leaky_relu
from .reference_warp import WarpSteps
from .self_augmentation import consistency, random_warp

__all__ = [
    "Choice",
    "Implementation",
    "Layout",
    "QHeadTensors",
    "Reduction",
    "WarpSteps",
    "adam_step",
    "at_variances",
    "batch_norm",
    "binary_cross_entropy",
    "consistency",
    "cross_entropy",
    "fuses_information",
    "gaussian_nll",
    "implementation_for",
    "information_term",
    "leaky_relu",
    "q_head_nll",
    "random_warp",
    "record_variances",
    "sample_latents",
]

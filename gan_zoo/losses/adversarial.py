"""Adversarial losses on logits, one function for each formula.

Logits are D's outputs before any sigmoid, [n] or [n, 1], of any floating dtype; D(x) = σ(logit) in formulas with
probabilities. Losses are means over the batch, computed and returned as float32 scalars, and finite wherever the
formula is: −log σ(t) is computed as softplus(−t). Both networks minimise. On GPUs the cross-entropies are fused
and differentiable once; `GAN_ZOO_KERNELS=reference` uses plain torch, which has second derivatives.

`real` are the logits of real images, `fake` those of generated ones. Only the relativistic losses pair the two and
need equal numbers of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gan_zoo_kernels import binary_cross_entropy
from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(Protocol):
    """A loss on the logits of reals and fakes."""

    def __call__(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """The mean over the batch, a float32 scalar."""


@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of the two players. Only the relativistic generator reads the logits of reals."""

    discriminator: Loss
    generator: Loss


def cross_entropy_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))]: Goodfellow et al., 2014, eq. 1, negated. 2 log 2 at equilibrium."""
    return binary_cross_entropy(ones=real, zeros=fake)


def saturating_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """E[log(1 − D(G(z)))]: Goodfellow et al., 2014, eq. 1. Its gradient vanishes for fakes that D detects."""
    return -binary_cross_entropy(zeros=fake)


def non_saturating_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """−E[log D(G(z))]: Goodfellow et al., 2014, end of section 3."""
    return binary_cross_entropy(ones=fake)


def least_squares_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """½ E[(D(x) − 1)²] + ½ E[D(G(z))²]: Mao et al., 2017, eq. 9, where D is the logit."""
    return 0.5 * (_flat(real) - 1).square().mean() + 0.5 * _flat(fake).square().mean()


def least_squares_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """½ E[(D(G(z)) − 1)²]: Mao et al., 2017, eq. 9."""
    return 0.5 * (_flat(fake) - 1).square().mean()


def hinge_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))]: Lim & Ye, 2017; Miyato et al., 2018, eq. 16, negated."""
    return relu(1 - _flat(real)).mean() + relu(1 + _flat(fake)).mean()


def wasserstein_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] − E[D(x)]: Arjovsky et al., 2017, eq. 2, negated. A penalty must keep D Lipschitz."""
    return _flat(fake).mean() - _flat(real).mean()


def critic_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """−E[D(G(z))]: Arjovsky et al., 2017, algorithm 1; Miyato et al., 2018, eq. 17, for the hinge game."""
    return -_flat(fake).mean()


def relativistic_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """−E[log σ(D(x) − D(G(z)))], the i-th real with the i-th fake. log 2 at equilibrium.

    Jolicoeur-Martineau, 2019, relativistic standard GAN; Huang et al., 2024 (R3GAN), eq. 2, where
    f(t) = −log(1 + e⁻ᵗ).
    """
    return softplus(_flat(fake) - _flat(real)).mean()


def relativistic_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """−E[log σ(D(G(z)) − D(x))]: with the roles exchanged, Huang et al., 2024, eq. 2."""
    return softplus(_flat(real) - _flat(fake)).mean()


def _flat(logits: Tensor) -> Tensor:
    """[n] or [n, 1] of any dtype to float32 [n], so that pairing cannot broadcast to [n, n]."""
    return logits.float().flatten()


NON_SATURATING = AdversarialLoss(cross_entropy_discriminator, non_saturating_generator)
SATURATING = AdversarialLoss(cross_entropy_discriminator, saturating_generator)
LEAST_SQUARES = AdversarialLoss(least_squares_discriminator, least_squares_generator)
HINGE = AdversarialLoss(hinge_discriminator, critic_generator)
WASSERSTEIN = AdversarialLoss(wasserstein_discriminator, critic_generator)
RELATIVISTIC = AdversarialLoss(relativistic_discriminator, relativistic_generator)

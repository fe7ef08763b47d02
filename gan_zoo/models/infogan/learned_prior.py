"""A prior whose categorical codes learn their probabilities (Ojha et al., 2020, Elastic-InfoGAN, arXiv:1910.01112)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gan_zoo_kernels import Layout
from torch import Tensor, nn

from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import Mean, alone
from gan_zoo.models.gan.prior import Prior, one_hot

LEAST = 2.0**-25
"""Half the distance between the uniforms that the kernels draw, which may be 0."""


class LearnedPrior(nn.Module, Prior):
    """P(z) P(c), where each categorical code learns P(c) = (1 - floor) softmax(logits) + floor / K, uniform at first.

    A draw is a function of (seed, step, row) and the logits: in the columns of a categorical code stand K uniforms,
    which become Gumbel noise.

    Args:
        noise: Width of the noise.
        distribution: Of the noise.
        codes: Those that are not categorical are as in any prior.
        floor: Share of the uniform distribution in P(c), in (0, 1).
        temperature: See `straight_through`.
    """

    def __init__(
        self,
        noise: int,
        distribution: Literal["normal", "uniform"],
        codes: Sequence[Code],
        *,
        floor: float,
        temperature: float,
    ) -> None:
        nn.Module.__init__(self)
        Prior.__init__(self, noise, distribution, codes)
        self.floor, self.temperature = floor, temperature
        self.logits = nn.ParameterDict(
            {code.name: nn.Parameter(torch.zeros(code.classes)) for code in self.codes if code.kind == "categorical"}
        )
        terms = [f"uniform(0,1):1x{c.classes}" if c.kind == "categorical" else c.spec for c in self.codes]
        self.drawn = Layout("|".join([f"noise({distribution}):{noise}", *terms]))

    def probabilities(self) -> dict[str, Tensor]:
        """P(c) [K] of each categorical code, by its name."""
        return {
            name: (1 - self.floor) * logits.softmax(0) + self.floor / len(logits)
            for name, logits in self.logits.items()
        }

    def log_probabilities(self) -> list[Tensor]:
        """log P(c) [K] of each categorical code, in order."""
        return [p.log() for p in self.probabilities().values()]

    def entropies(self, fixed: Tensor) -> Tensor:
        """H(c) in nats, [number of codes]: -Σ π log π of categorical codes, and `fixed`'s of the others."""
        learned = {name: -(p * p.log()).sum() for name, p in self.probabilities().items()}
        return torch.stack([learned.get(code.name, h) for code, h in zip(self.codes, fixed.unbind(), strict=True)])

    def score(self, parameters: Tensor, codes: Tensor, layout: Layout, over_ranks: Mean = alone) -> Tensor:
        """0 by code, with the gradient of E_{c ~ P(c)}[log Q(c | x)] in the prior's logits, Q being constant.

        The score function's estimate E[(log Q(c | x) - its mean) ∇log P(c)] (Williams, 1992) makes values rarer that Q
        does not recognise. L_I's hard targets alone have no such gradient.

        Args:
            parameters: Of Q(c | x) [n, layout.width].
            codes: The codes that x was generated from, [n, number of codes].
            layout: The columns of each code.
            over_ranks: The mean over the ranks.
        """
        learned = self.probabilities()
        scores = []
        for code, columns, value in zip(self.codes, layout.columns, codes.unbind(1), strict=True):
            estimate = codes.new_zeros(())
            if code.name in learned:
                index = value.long()
                log_q = parameters[:, columns].float().detach().log_softmax(1).gather(1, index[:, None])[:, 0]
                estimate = ((log_q - over_ranks(log_q.mean())) * learned[code.name].log()[index]).mean()
            scores.append(estimate - estimate.detach())  # the value 0, the gradient of the estimate
        return torch.stack(scores)

    def from_drawn(self, drawn: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Categorical codes from uniforms; the input is differentiable with respect to the logits, the codes are not.

        `values` holds single uniforms of those codes and is not used.
        """
        learned = self.probabilities()
        noise, *blocks = drawn.split([self.noise, *(code.width for code in self.codes)], 1)
        columns, codes = [noise], []
        for code, block in zip(self.codes, blocks, strict=True):
            if code.name in learned:
                gumbel = -(-block.clamp_min(LEAST).log()).log()
                block = straight_through(learned[code.name].log().to(block) + gumbel, self.temperature)
                codes.append(block.detach().argmax(1).float())
            else:
                codes.append(block[:, 0])
            columns.append(block)
        return torch.cat(columns, 1), torch.stack(codes, 1)


def straight_through(scores: Tensor, temperature: float) -> Tensor:
    """The one-hot of the greatest score, [n, K], with the slope of softmax(scores / temperature).

    With scores log π + Gumbel noise the one-hot is a draw from π (Maddison et al., 2017, arXiv:1611.00712), and the
    slope is that of the relaxed draw (Jang et al., 2017, arXiv:1611.01144, section 2.2): biased, of finite variance.
    """
    hard = one_hot(scores.argmax(1), scores.shape[1]).to(scores)
    if not scores.requires_grad:
        return hard
    soft = (scores / temperature).softmax(1)
    return hard + (soft - soft.detach())
